"""Reading: live, crashed, finished, damaged, and what is no run."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tensorview_insitu.cli.main import main
from tensorview_insitu.run.errors import NotARunError, NotInRunError
from tensorview_insitu.run.identity import write_identity
from tensorview_insitu.run.reader import Run

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The run of a real training that was killed with SIGKILL in its midst."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    program = f"""
        import sys
        sys.path.insert(0, {str(TESTS)!r})
        from fits import fit, network
        from tensorview_insitu.callbacks import InSituRecorder
        fit(network(), [InSituRecorder({str(folder)!r})], epochs=100000)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            time.sleep(0.1)
            if (folder / "run.json").exists() and len(Run.open(folder).scalars("epoch")) >= 5:
                break
        live = Run.open(folder)
        assert live.status == "running"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return folder


def test_a_killed_training_is_a_crashed_run_that_opens(killed):
    run = Run.open(killed)
    assert run.status == "crashed"
    epochs, steps = run.scalars("epoch"), run.steps()["step"]
    assert len(epochs) >= 5
    assert list(steps) == list(range(1, len(steps) + 1))
    assert len(run.variable("conv1", "kernel")) == len(epochs) + 1
    assert np.isfinite(run.scalars("batch")["loss"]).all()


def test_a_crashed_run_is_exported_and_packed_from_the_command_line(killed, capsys):
    rows = len(Run.open(killed).steps())
    assert main(["export", str(killed), "--layer", "conv1"]) == 0
    assert main(["pack", str(killed)]) == 0
    assert capsys.readouterr().out.strip().endswith("run.h5")
    run = Run.open(killed)
    assert run.status == "crashed" and len(run.steps()) == rows
    assert not (killed / "segments").exists()


def test_run_h5_is_plain_hdf5_with_checksums(run):
    with h5py.File(run.folder / "run.h5", "r") as file:
        tables = {"gradient_norms", "update_norms", "weight_norms", "dead_filters"}
        expected = {
            "layers",
            "scalars",
            "activations",
            "explanations",
            "quantities",
            "steps",
            *tables,
            *(f"{name}_steps" for name in tables),
        }
        assert set(file) == expected
        kernel = file["layers/conv1/kernel"]
        assert kernel.dtype == np.float32 and kernel.fletcher32 and kernel.compression is None
        assert json.loads(kernel.attrs["dims"]) == ["snapshot", "row", "column", "channel", "filter"]
        assert kernel.attrs["filter_axis"] == 4
        np.testing.assert_array_equal(file["layers/conv1/kernel_steps"], [0, 13, 26, 39, 52])


def test_a_run_opens_by_its_packed_file_too(run):
    assert Run.open(run.folder / "run.h5").folder == run.folder


def test_pieces_make_up_the_whole(run):
    whole = run.variable("conv1", "kernel")
    pieces = list(run.pieces("conv1", "kernel", most_bytes=2 * whole.values[0].nbytes))
    assert pieces == [(0, 2), (2, 2), (4, 1)]
    parts = [run.variable("conv1", "kernel", first=first, count=count) for first, count in pieces]
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts]), whole.values)


def test_a_flipped_bit_is_told_with_the_dataset_it_hit(copied_run):
    whole = copied_run.variable("conv1", "kernel").values.tobytes()
    file = copied_run.folder / "run.h5"
    data = bytearray(file.read_bytes())
    at = data.index(whole[:64]) + 17
    data[at] ^= 4
    file.write_bytes(data)
    with pytest.raises(NotARunError, match="Dataset /layers/conv1/kernel of .* is damaged"):
        copied_run.variable("conv1", "kernel")
    assert len(copied_run.scalars("batch")) == 52


def test_an_unknown_layer_or_variable_is_told_with_those_there_are(run):
    with pytest.raises(
        NotInRunError, match='No layer "conv9" in this run. It holds: conv1, norm, conv2, classes.'
    ):
        run.variable("conv9", "kernel")
    with pytest.raises(
        NotInRunError, match='No "gamma" of layer "conv1" in this run. It holds: kernel, bias'
    ):
        run.variable("conv1", "gamma")


def test_a_rhythm_that_is_none_is_told(run):
    with pytest.raises(ValueError, match='Expected rhythm to be "batch" or "epoch". Received: \'step\''):
        run.scalars("step")


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="No run at .*: there is no such folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(NotARunError, match="holds no run.json"):
        Run.open(tmp_path)
    (tmp_path / "notes.txt").write_text("no run")
    with pytest.raises(NotARunError, match="Expected the folder of a run. Received a file"):
        Run.open(tmp_path / "notes.txt")
    for text, message in (
        ("{", "is damaged"),
        ("[]", "was not written by InSituRecorder"),
        ('{"format": "tensorview-insitu run", "version": 99}', "Install a newer one"),
    ):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(NotARunError, match=message):
            Run.open(tmp_path)


def test_a_file_of_something_else_in_the_place_of_run_h5_is_told(copied_run):
    with h5py.File(copied_run.folder / "run.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(NotARunError, match="Expected an HDF5 file written by InSituRecorder"):
        copied_run.steps()
    (copied_run.folder / "run.h5").write_bytes(b"text")
    with pytest.raises(NotARunError, match="Expected an HDF5 file of a run"):
        copied_run.steps()


def test_a_process_number_used_again_does_not_revive_a_run(copied_run):
    identity = copied_run.identity
    identity |= {"status": "running", "pid": os.getpid(), "process_start": "1"}
    write_identity(copied_run.folder, identity)
    assert copied_run.status == "crashed"
