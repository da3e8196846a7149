"""States that run code really do, where nobody looks at them first; through our commands they do not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tensorview_insitu.cli.main import main
from tensorview_insitu.cli.paraview_process import display, find

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "loading"))

from hostile_states import RUNNING  # noqa: E402


@pytest.mark.parametrize("harm", RUNNING, ids=lambda harm: harm.__name__)
def test_code_in_a_state_runs_in_paraview_and_not_through_the_door(
    harm, pvpython, exported, tmp_path, capsys, monkeypatch
):
    folder = Path(shutil.copytree(exported, tmp_path / "export"))
    state, canary = folder / "states/training_curve_3d.pvsm", tmp_path / "canary"
    state.write_text(harm(state.read_text(), str(canary)))
    for command in ("render", "open"):
        # A window would stay open: the command has to end before it starts one.
        monkeypatch.setenv("DISPLAY", ":0") if command == "open" else None
        assert main([command, str(folder), "--view", "training_curve_3d"]) == 2
        assert "could run code" in capsys.readouterr().err
    assert not canary.exists()
    monkeypatch.delenv("DISPLAY")
    with display() as environment:
        subprocess.run(
            [find("pvpython"), str(HERE / "load_state.py"), str(state)],
            env=environment,
            capture_output=True,
            check=False,
        )
    assert canary.exists(), "the state is harmless: this test shows nothing"


def test_a_state_that_paraview_saved_with_many_more_filters_and_views_opens(
    pvpython, exported, tmp_path, capsys
):
    folder = Path(shutil.copytree(exported, tmp_path / "export"))
    state = folder / "states/dashboard.pvsm"
    pvpython("edit_state.py", state)
    assert state.stat().st_size > 1_000_000 and "PlotMatrixView" in state.read_text()
    assert main(["render", str(folder), "--view", "dashboard", "--size", "640x360"]) == 0
    assert capsys.readouterr().out.split() == [str(folder.resolve() / "images/dashboard.png")]


def test_no_proxy_that_is_allowed_is_python_or_reads_a_file_by_another_property(pvpython, tmp_path):
    import json

    from tensorview_insitu.paraview_states.allowed import ALLOWED, READERS

    (tmp_path / "kinds.json").write_text(json.dumps(sorted(ALLOWED)))
    pvpython("inspect_allowed.py", tmp_path / "kinds.json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    known = {kind for _, kind, *_ in found}
    assert len(known) > 0.9 * len({kind for _, kind in ALLOWED})  # the others are of other versions
    for group, kind, held_by, files in found:
        assert "Python" not in held_by and "." not in held_by and "Runner" not in held_by, (group, kind)
        assert set(files) <= ({"FileName"} if kind in READERS else set()), (group, kind)
