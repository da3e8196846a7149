"""`render` makes pictures and movies, `open` a window; ParaView is found or said to be missing."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from exhaustive import one_in
from PIL import Image
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.cli.main import main
from tensorview_insitu.cli.paraview_process import NoParaViewError, display, find


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def colours(path):
    return len(np.unique(pixels(path).reshape(-1, 3), axis=0))


def test_render_makes_the_last_picture_of_every_view(pvpython, copied_run, capsys):
    assert main(["render", str(copied_run.folder), "--size", "640x360"]) == 0
    images = copied_run.folder / "paraview/images"
    assert capsys.readouterr().out.split() == [
        str(images / f"{view}.png")
        for view in sorted(VIEWS)
        if view != "compare"  # it takes two runs
    ]
    for path in images.glob("*.png"):
        assert pixels(path).shape == (360, 640, 3) and colours(path) > 50, path


def test_render_splits_frames_over_processes_and_makes_a_movie(pvpython, copied_run, capsys):
    folder = str(copied_run.folder)
    view = ["--view", "training_curve_3d", "--size", "640x360"]
    assert main(["render", folder, *view, "--jobs", "2", "--movie"]) == 0
    made = capsys.readouterr().out.split()
    images = copied_run.folder / "paraview/images"
    frames = sorted((images / "training_curve_3d").glob("*.png"))
    assert [p.name for p in frames] == [f"{i:04d}.png" for i in range(4)]
    assert len({p.read_bytes() for p in frames}) == 4, "the marker moves"
    assert pixels(frames[0]).shape == (360, 640, 3)
    movie = next(p for p in made if p.endswith((".mp4", ".ogv", ".avi")))
    head = Path(movie).read_bytes()[:12]
    assert head[:4] in (b"OggS", b"RIFF") or head[4:8] == b"ftyp"


def test_a_moved_folder_renders_from_its_new_place(pvpython, copied_run, tmp_path):
    assert main(["export", str(copied_run.folder)]) == 0
    state = copied_run.folder / "paraview/states/training_curve_3d.pvsm"
    state.write_text(state.read_text().replace("epoch, loss and accuracy", "mine: loss, accuracy"))
    moved = tmp_path / "else where é"
    shutil.move(copied_run.folder, moved)
    assert main(["render", str(moved), "--view", "training_curve_3d"]) == 0
    assert colours(moved / "paraview/images/training_curve_3d.png") > 300
    assert "mine: loss, accuracy" in (moved / "paraview/states/training_curve_3d.pvsm").read_text()


def test_a_script_finds_its_data_wherever_the_folder_is(pvpython, exported, tmp_path):
    moved = shutil.copytree(exported, tmp_path / "moved")
    with display() as environment:
        command = [find("pvpython"), str(moved / "states/training_curves.py"), str(tmp_path / "a.png")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert colours(tmp_path / "a.png") > 20


def test_pvpython_that_fails_is_told_in_a_line(pvpython, copied_run, monkeypatch, tmp_path, capsys):
    broken = tmp_path / "pvpython"
    broken.write_text("#!/bin/sh\necho 'no licence for pictures'\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PVPYTHON", str(broken))
    assert main(["render", str(copied_run.folder)]) == 1
    told = capsys.readouterr().err
    assert told == "tensorview-insitu: pvpython ended with code 3: no licence for pictures\n"


def test_a_missing_paraview_is_told_with_the_way_to_get_it(monkeypatch, copied_run, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("PVPYTHON", raising=False)
    assert main(["render", str(copied_run.folder)]) == 1
    told = capsys.readouterr().err
    assert "ParaView's pvpython was not found" in told and "apt install paraview python3-paraview" in told
    assert told.count("\n") == 1


def test_a_missing_display_and_xvfb_is_told(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoParaViewError, match="apt install xvfb"), display():
        pass


def test_open_without_a_display_says_what_to_do(pvpython, monkeypatch, copied_run, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["open", str(copied_run.folder)]) == 1
    assert "There is no display to open a window on. `tensorview-insitu render" in capsys.readouterr().err


def test_open_starts_the_paraview_window_on_the_state(pvpython, copied_run):
    """The real window, on a virtual display; closed again when its process reads the state."""
    state = copied_run.folder / "paraview/states/training_curves.pvsm"
    with display() as environment:
        opened = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tensorview_insitu",
                "open",
                str(copied_run.folder),
                "--view",
                "training_curves",
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wanted = f"--state={state.resolve()}"
            end = time.monotonic() + 60
            while wanted not in _command_lines(opened.pid):
                assert opened.poll() is None and time.monotonic() < end
                time.sleep(0.2)
            time.sleep(3)
            assert opened.poll() is None, "the window closed by itself"
        finally:
            subprocess.run(["kill", "--", f"-{opened.pid}"], check=False)
            opened.wait(timeout=30)


def _command_lines(pid):
    """The arguments of the processes that `pid` started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return " ".join(Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in children)


@pytest.mark.parametrize("view", one_in(4, VIEWS))
def test_paraview_alone_finds_the_files_of_a_moved_folder(view, pvpython, exported, compared, tmp_path):
    """What the README tells a person who has only ParaView: search files under the folder."""
    moved = shutil.copytree(compared if view == "compare" else exported, tmp_path / "copied")
    pvpython("load_moved.py", moved / f"states/{view}.pvsm", moved, tmp_path / "files.json")
    files = json.loads((tmp_path / "files.json").read_text())
    assert files and all(file.startswith(str(moved)) and Path(file).is_file() for file in files)
