"""A run that was ended goes on: steps count on, nothing twice, nothing missing."""

import json
import os
import signal
import time

import keras
import numpy as np
import pytest
from children import start, wait_for_run
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder

from tensorview_insitu.export.run import export_run
from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.identity import write_identity
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.verify import verify


def test_a_training_in_two_processes_parts_is_recorded_as_one(tmp_path):
    whole = network()
    history = fit(whole, [InSituRecorder(tmp_path / "whole")], epochs=6, shuffle=False)
    first = network()
    fit(first, [InSituRecorder(tmp_path / "run")], epochs=3, shuffle=False)
    first.save(tmp_path / "model.keras")
    second = keras.saving.load_model(tmp_path / "model.keras")
    fit(second, [InSituRecorder(tmp_path / "run", resume=True)], epochs=6, initial_epoch=3, shuffle=False)

    run, other = Run.open(tmp_path / "run"), Run.open(tmp_path / "whole")
    assert run.status == "finished"
    assert list(run.steps()["step"]) == list(range(1, 79))
    assert list(run.steps()["epoch"]) == list(other.steps()["epoch"])
    assert list(run.scalars("epoch")["epoch"]) == [1, 2, 3, 4, 5, 6] and len(history.history["loss"]) == 6
    assert list(run.variable("conv1", "kernel").epochs) == [0, 1, 2, 3, 4, 5, 6]
    # Dropout draws anew in a new process; until then the two are the same.
    assert np.array_equal(run.scalars("batch")["loss"][:39], other.scalars("batch")["loss"][:39])
    (event,) = run.identity["resumed"]
    assert (event["after_step"], event["after_epoch"]) == (39, 3)
    assert not verify(run.folder).problems
    export_run(run)


def test_resume_begins_a_run_where_there_is_none(tmp_path):
    fit(network(), [InSituRecorder(tmp_path / "run", resume=True)], epochs=1)
    assert "resumed" not in Run.open(tmp_path / "run").identity


def test_a_killed_training_goes_on_from_its_checkpoint_and_time_never_falls(tmp_path):
    folder = tmp_path / "run"
    process = start(f"""
        class Slow(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                time.sleep(0.15)
        fit(network(), [InSituRecorder({str(folder)!r}), Slow()], epochs=100000)
    """)
    wait_for_run(process, folder, lambda run: len(run.scalars("epoch")) >= 1 and len(run.steps()) % 13)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = Run.open(folder)
    steps, epochs = len(before.steps()), len(before.scalars("epoch"))
    losses = before.scalars("batch")["loss"].to_numpy()
    with pytest.raises(RunExistsError, match="resume=True to go on with it"):
        InSituRecorder(folder)
    recorder = InSituRecorder(folder, resume=True)
    fit(network(), [recorder], initial_epoch=epochs, epochs=epochs + 2)

    run = Run.open(folder)
    assert list(run.steps()["step"]) == list(range(1, steps + 26 + 1))
    assert list(run.scalars("epoch")["epoch"]) == list(range(1, epochs + 3))
    assert np.array_equal(run.scalars("batch")["loss"][:steps], losses)
    times = run.epochs_at(run.steps()["step"].to_numpy())
    assert np.all(np.diff(times) > 0) and times[-1] == epochs + 2
    assert run.identity["resumed"][0]["after_step"] == steps
    assert not verify(folder).problems


def test_a_run_that_lives_on_another_host_is_refused_until_its_heart_stops(tmp_path):
    fit(network(), [InSituRecorder(tmp_path / "run")], epochs=1)
    run = Run.open(tmp_path / "run")
    identity = {**run.identity, "status": "running", "host": "another", "pid": 7}
    write_identity(run.folder, identity)
    with pytest.raises(RunExistsError, match="being written by process 7 on another"):
        InSituRecorder(run.folder, resume=True)
    hour_ago = (run.folder / "run.json").stat().st_mtime - 3600
    os.utime(run.folder / "run.json", (hour_ago, hour_ago))
    assert run.status == "crashed"
    fit(network(), [InSituRecorder(run.folder, resume=True)], epochs=1)
    assert json.loads((run.folder / "run.json").read_text())["status"] == "finished"
    assert len(run.steps()) == 26


def test_overwrite_and_resume_together_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected overwrite=True or resume=True. Received both"):
        InSituRecorder(tmp_path / "run", overwrite=True, resume=True)


def test_of_recorders_that_resume_a_run_in_the_same_instant_one_does(tmp_path):
    folder = tmp_path / "run"
    fit(network(), [InSituRecorder(folder)], epochs=1)
    gate = tmp_path / "go"
    code = f"""
        from pathlib import Path
        from tensorview_insitu.run.errors import RunExistsError
        from tensorview_insitu.run.writer import RunWriter
        from tensorview_insitu.run import writer
        read = writer.state_of
        def slowly(folder):  # so that both are in here at once
            time.sleep(0.5)
            return read(folder)
        writer.state_of = slowly
        Path({str(tmp_path)!r}, f"ready{{os.getpid()}}").touch()
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.001)
        try:
            RunWriter(Path({str(folder)!r}), resume=True)
            print("resumed", flush=True)
            time.sleep(3)
        except RunExistsError as error:
            print("refused", error, flush=True)
    """
    children = [start(code) for _ in range(3)]
    while len(list(tmp_path.glob("ready*"))) < len(children):
        assert all(child.poll() is None for child in children)
        time.sleep(0.01)
    gate.touch()
    answers = sorted(child.communicate(timeout=60)[0].split(maxsplit=1) for child in children)
    assert [words[0] for words in answers] == ["refused", "refused", "resumed"]
    assert all("is being written by process" in words[1] for words in answers[:2])
