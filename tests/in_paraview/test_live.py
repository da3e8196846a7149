"""A run is followed while another process trains it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensorview_insitu.cli.follow import grow_movie
from tensorview_insitu.index import read_index
from tensorview_insitu.run.reader import Run

TESTS = Path(__file__).parent.parent

TRAINING = f"""
import sys, time
sys.path.insert(0, {str(TESTS)!r})
import keras
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder, Render
class Slow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(float(sys.argv[3]))
render = Render(["dashboard"], every=2) if sys.argv[4] == "render" else None
recorder = InSituRecorder(sys.argv[1], render=render, resume=True)
fit(network(), [recorder, Slow()], initial_epoch=int(sys.argv[5]), epochs=int(sys.argv[2]))
print(sorted(p.name for p in __import__("pathlib").Path(sys.argv[1]).glob("paraview/live/dashboard/*.png")))
if render is not None:
    print(render.wait(120))
"""


def train(folder, epochs, seconds, render="", first=0):
    command = [sys.executable, "-c", TRAINING, str(folder), str(epochs), str(seconds), render, str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=300):  # the painter gets what the other tests leave of the cores
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def painter_of(live) -> int:
    """The process that draws for a `live`."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = f"PPid:\t{live.pid}\n" in status.read_text()
            if parent and b"live_frames.py" in (status.parent / "cmdline").read_bytes():
                return int(status.parent.name)
        except OSError:
            continue
    raise AssertionError("nobody draws")


def test_live_begins_before_the_run_and_goes_on_through_crash_and_resume(pvpython, tmp_path):
    folder, images = tmp_path / "run", tmp_path / "images"
    live = subprocess.Popen(
        [
            sys.executable, "-m", "tensorview_insitu", "live", str(folder), "--view", "training_curves",
            "--every", "0.5", "--images", str(images), "--wait", "300",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    training = train(folder, 1000, 1.0)
    try:
        wait_for(lambda: len(list(images.glob("training_curves/*.png"))) >= 2)
        # Nobody is harmed who kills the painter.
        os.kill(painter_of(live), signal.SIGKILL)
        training.send_signal(signal.SIGKILL)
        training.communicate()
        before = len(Run.open(folder).scalars("epoch"))
        after = train(folder, before + 2, 0.1, first=before)
        error = after.communicate(timeout=300)[1]
        assert after.returncode == 0, error
        said = live.communicate(timeout=300)[0]
    finally:
        live.kill()
        training.kill()
    assert live.returncode == 0 and "is finished" in said and "Traceback" not in said, said
    newest = np.asarray(Image.open(images / "training_curves.png").convert("RGB"))
    assert newest.shape == (720, 1280, 3) and (newest < 250).any(axis=2).mean() > 0.01
    assert (images / "training_curves.ogv").stat().st_size > 1000
    # What was drawn last is the whole run.
    assert read_index(folder / "paraview")["epochs"]["epochs"][-1] == before + 2
    assert os.path.exists(folder / "run.h5")


def test_pictures_of_every_second_epoch_come_while_the_training_runs(pvpython, tmp_path):
    training = train(tmp_path / "run", 8, 2.0, render="render")
    out, err = training.communicate(timeout=180)
    assert training.returncode == 0, err
    during, waited = out.strip().split("\n")
    assert "epoch_00002.png" in during and waited == "True"
    live = tmp_path / "run/paraview/live"
    assert (live / "dashboard/epoch_00008.png").is_file() and (live / "dashboard.png").is_file()
    log = (tmp_path / "run/render.log").read_text()
    assert "is finished" in log and "Traceback" not in log
    for epoch in (2, 4, 6, 8):
        drawn = (live / f"dashboard/epoch_{epoch:05d}.png").is_file()
        assert drawn or f"{epoch}" in log


def test_a_live_run_that_never_comes_is_told(tmp_path, capsys):
    from tensorview_insitu.cli.main import main

    assert main(["live", str(tmp_path / "run"), "--wait", "0.5"]) == 2
    assert "No run came to" in capsys.readouterr().err
    assert main(["live", str(tmp_path / "run"), "--every", "0"]) == 2
    assert "Expected --every to be a positive number of seconds" in capsys.readouterr().err


def test_a_movie_grows_with_its_pictures(tmp_path):
    folder = tmp_path / "view"
    folder.mkdir()
    sizes = []
    for number in range(6):
        Image.fromarray(np.full((90, 160, 3), 40 * number, np.uint8)).save(folder / f"step_{number:07d}.png")
        grow_movie(tmp_path, "view")
        movie = tmp_path / "view.ogv"
        sizes.append(movie.stat().st_size if movie.exists() else 0)
    assert sizes[0] == 0 and sizes[1] > 0 and sizes[5] > sizes[1]
    assert movie.read_bytes()[:4] == b"OggS"


@pytest.mark.parametrize("wrong", [{"views": []}, {"views": ["loss"]}, {"every": 0}, {"views": "dashboard"}])
def test_mistakes_of_render_are_told(wrong):
    from tensorview_insitu.callbacks import Render

    with pytest.raises(ValueError, match="Expected|No view"):
        Render(**wrong)


def test_without_paraview_the_run_says_that_no_pictures_are_made(tmp_path, monkeypatch):
    from fits import fit, network
    from tensorview_insitu.callbacks import InSituRecorder, Render

    monkeypatch.setenv("PVPYTHON", "/nowhere/pvpython")
    with pytest.warns(RuntimeWarning, match="no pictures are made: PVPYTHON=/nowhere/pvpython is no program"):
        fit(network(), [InSituRecorder(tmp_path / "run", render=Render())], epochs=1)
    assert len(Run.open(tmp_path / "run").scalars("epoch")) == 1


def test_the_live_window_reads_a_grown_export_and_follows_its_newest_time(pvpython, tmp_path, monkeypatch):
    from importlib import resources

    from fits import fit, network
    from tensorview_insitu.callbacks import InSituRecorder
    from tensorview_insitu.paraview_states.states import write_states

    from tensorview_insitu.export.run import export_run

    model, recorder = network(), InSituRecorder(tmp_path / "run")
    fit(model, [recorder], epochs=2)
    early, late = tmp_path / "early", tmp_path / "late"
    export_run(Run.open(tmp_path / "run"), early)
    write_states(early, ["dashboard"])
    fit(model, [recorder], epochs=3)
    export_run(Run.open(tmp_path / "run"), late)
    # `early` is what the window has open; the exporter writes over it.
    script = resources.files("tensorview_insitu.scripts") / "live_window.py"
    launcher = tmp_path / "launch.py"
    launcher.write_text(
        f"import os, sys\nos.environ['TENSORVIEW_INSITU_STATE'] = {str(early / 'states/dashboard.pvsm')!r}\n"
        f"os.environ['TENSORVIEW_INSITU_INDEX'] = {str(early / 'index.json')!r}\n"
        f"sys.argv = ['x', {str(script)!r}, {str(early)!r}, {str(late)!r}, {str(tmp_path / 'out.json')!r}]\n"
        f"exec(open({str(Path(__file__).parent / 'follow_window.py')!r}).read())\n"
    )
    pvpython(launcher)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found == [[2, 2], [2, 2], [5, 5], [5, 1]]
