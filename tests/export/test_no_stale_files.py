"""An export into a folder that held another one equals an export into an empty folder."""

import itertools
import os
import shutil

import numpy as np
import pytest
from exhaustive import one_in
from tensorview_insitu.paraview_states.states import write_states

from tensorview_insitu.cli.main import main
from tensorview_insitu.export.comparison import export_comparison
from tensorview_insitu.export.manifest import BEGUN_FILE, MANIFEST_FILE
from tensorview_insitu.export.run import export_run
from tensorview_insitu.run import writer as writer_module
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST_FILE and "states" not in path.parts
    }


def check_equals_fresh(folder, run, tmp_path, **options):
    fresh = export_run(run, tmp_path / "fresh", **options).parent
    export_run(run, folder, **options)
    held, expected = contents(folder), contents(fresh)
    assert held.keys() == expected.keys()
    assert [name for name in held if held[name] != expected[name]] == []


OPTIONS = [{}, {"layers": ["conv2"]}, {"layers": ["conv1", "norm"], "every": 2}, {"every": 3}]


@pytest.mark.parametrize(("before", "then"), one_in(3, itertools.permutations(range(len(OPTIONS)), 2)))
def test_other_options_leave_nothing_of_the_export_before(before, then, run, tmp_path):
    export_run(run, tmp_path / "export", **OPTIONS[before])
    check_equals_fresh(tmp_path / "export", run, tmp_path, **OPTIONS[then])


@pytest.mark.parametrize("damage", ["empty", "gone", "truncated", "changed in place"])
def test_a_damaged_file_of_the_export_is_written_again(damage, run, tmp_path):
    folder = export_run(run, tmp_path / "export").parent
    for path in [path for path in folder.rglob("*") if path.is_file() and path.name != "index.json"][::3]:
        data = path.read_bytes()
        if damage == "gone":
            path.unlink()
        elif damage == "changed in place":
            path.write_bytes(bytes(255 - byte for byte in data))
        else:
            path.write_bytes(data[: len(data) // 2 if damage == "truncated" else 0])
    check_equals_fresh(folder, run, tmp_path)


def test_a_segment_that_was_gone_and_came_back_is_as_if_it_had_always_been_there(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_SEGMENT_SECONDS", 0.0)
    writer = RunWriter(tmp_path / "run")
    for epoch in range(4):
        values = np.random.default_rng(epoch).normal(size=(1, 3, 3, 1, 4)).astype(np.float32)
        dims = ["snapshot", "row", "column", "channel", "filter"]
        step = np.array([epoch + 1])
        clock = np.array([[epoch + 1, epoch + 1, 1, 0.5 * epoch]])
        rows = {
            "steps": Rows(step, clock, {"columns": ["step", "epoch", "batch", "wall_time"]}),
            "layers/conv/kernel": Rows(step, values, {"dims": dims, "filter_axis": 4}),
        }
        writer.write(rows, epoch_end=True)
        writer.flush(30)
    writer.describe(layers=[{"path": "conv", "class": "Conv2D", "variables": {"kernel": [3, 3, 1, 4]}}])
    writer.finish("interrupted", packed=False)
    first = tmp_path / "run/segments/000000-000000.h5"
    kept = first.read_bytes()
    first.unlink()
    folder = export_run(Run.open(tmp_path / "run", skip_damaged=True), tmp_path / "export").parent
    assert not (folder / "layers/conv/grids_0000001.vtp").exists()
    assert (folder / "layers/conv/grids_0000002.vtp").exists()
    first.write_bytes(kept)
    check_equals_fresh(folder, Run.open(tmp_path / "run"), tmp_path)


def test_what_a_killed_export_wrote_is_taken_away(run, tmp_path, monkeypatch):
    folder = export_run(run, tmp_path / "export", layers=["conv2"]).parent

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tensorview_insitu.export.run.write_index", die)
    with pytest.raises(KeyboardInterrupt):
        export_run(run, folder, layers=["conv1"])
    monkeypatch.undo()
    assert (folder / BEGUN_FILE).exists() and (folder / "layers/conv1").is_dir()
    check_equals_fresh(folder, run, tmp_path, layers=["norm"])
    assert not (folder / BEGUN_FILE).exists() and not (folder / "layers/conv1").exists()


def test_an_export_without_its_manifest_is_written_anew(run, tmp_path):
    folder = export_run(run, tmp_path / "export", layers=["conv2"]).parent
    (folder / MANIFEST_FILE).unlink()
    check_equals_fresh(folder, run, tmp_path, every=2)


def test_files_of_the_users_own_stay(run, tmp_path):
    folder = export_run(run, tmp_path / "export", layers=["conv2"]).parent
    own = [folder / "tables/mine.csv", folder / "notes.txt", folder / "layers/conv2/mine.vtp"]
    for path in own:
        path.write_text("mine")
    export_run(run, folder, layers=["conv1"])
    assert [path.read_text() for path in own] == ["mine"] * 3


@pytest.mark.parametrize("kind", ["xdmf", "vtkhdf"])
def test_no_file_beside_a_run_outlives_the_variable_that_it_shows(kind, copied_run, tmp_path):
    ending = {"xdmf": "xmf", "vtkhdf": "vtkhdf"}[kind]
    folder = tmp_path / "beside"
    beside = ["export", str(copied_run.folder), "-o", str(folder)]
    assert main(beside) == 0  # of another kind, in the same folder
    copied = contents(folder)
    (tmp_path / "beside" / f"mine.{ending}").write_text("mine")
    assert main([*beside, "--format", kind]) == 0
    assert (folder / f"conv1.kernel.{ending}").exists() and (folder / "states/conv1.kernel.py").exists()
    assert main([*beside, "--format", kind, "--layer", "conv2"]) == 0
    left = {path.name for path in folder.glob(f"*.{ending}")}
    assert left == {f"mine.{ending}", f"conv2.kernel.{ending}", f"conv2.bias.{ending}"}
    assert not [*(folder / "states").glob("conv1.*")] and (folder / "states/conv2.kernel.pvsm").exists()
    now = contents(folder)
    assert {name: now[name] for name in copied} == copied


def test_files_beside_a_run_that_was_overwritten_go_with_the_next_export(run, copied_run, compared):
    folder = copied_run.folder
    for kind in ("xdmf", "vtkhdf"):
        assert main(["export", str(folder), "--format", kind]) == 0
    assert main(["export", str(folder)]) == 0
    beside = {path for kind in ("xdmf", "vtkhdf") for path in (folder / "paraview" / kind).glob("conv1.*")}
    assert len(beside) == 4 and all(path.exists() for path in beside)  # of the same run they stay
    for path in (compared.parent / "other").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    assert main(["export", str(folder)]) == 0
    assert not any(path.exists() for path in beside)
    assert not [*(folder / "paraview").glob("*/states/conv1.*")]


def test_a_manifest_of_a_strangers_has_nothing_else_removed(run, tmp_path):
    folder = export_run(run, tmp_path / "export").parent
    write_states(folder)
    outside = tmp_path / "outside.csv"
    outside.write_text("mine")
    manifest = folder / MANIFEST_FILE
    for name in ("../outside.csv", "states/dashboard.pvsm", "/etc/hosts", "layers/../../outside.csv"):
        about = f'"{name}": {{"made_of": "", "bytes": 4, "changed": 1}}, '
        manifest.write_text(manifest.read_text().replace('"files": {', '"files": {' + about))
    export_run(run, folder)
    assert outside.read_text() == "mine" and (folder / "states/dashboard.pvsm").exists()


def test_a_comparison_leaves_nothing_of_the_one_before(run, compared, tmp_path):
    other = Run.open(compared.parent / "other")
    shutil.copytree(compared, tmp_path / "comparison")
    export_comparison([run, other], tmp_path / "comparison", layers=["conv2"])
    export_comparison([run, other], tmp_path / "fresh", layers=["conv2"])
    held, expected = contents(tmp_path / "comparison"), contents(tmp_path / "fresh")
    assert held == expected


@pytest.mark.parametrize("place", ["", "paraview", "elsewhere"])
def test_a_comparison_never_takes_the_place_of_a_run_or_its_export(
    place, copied_run, compared, tmp_path, capsys
):
    other = compared.parent / "other"
    export_run(copied_run, tmp_path / "copy/elsewhere")
    before = contents(tmp_path / "copy")
    place = tmp_path / "copy" / place
    assert main(["compare", str(tmp_path / "copy"), str(other), "-o", str(place)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(place) in error and "Expected" in error
    assert contents(tmp_path / "copy") == before


def test_an_export_does_not_go_into_the_folder_of_a_run(copied_run, capsys):
    folder = str(copied_run.folder)
    assert main(["export", folder, "-o", folder]) == 2
    assert "is the folder of a run" in capsys.readouterr().err
    assert not os.path.exists(f"{folder}/index.json")


def test_a_fingerprint_tells_dtypes_shapes_and_values_apart():
    from tensorview_insitu.export.manifest import fingerprint

    arrays = [np.zeros(4), np.zeros(4, np.float32), np.zeros((2, 2)), np.zeros(0), np.array([0, 0, 0, 1.0])]
    seen = {fingerprint(one) for one in arrays} | {fingerprint({"a": one}) for one in arrays}
    assert len(seen | {fingerprint("a", "b"), fingerprint("ab"), fingerprint(1), fingerprint("1")}) == 14
