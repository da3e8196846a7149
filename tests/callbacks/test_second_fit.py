"""A second `fit` with one recorder is recorded as the first: rows are on disk a second after they came."""

import signal
import threading

import keras
import pytest
from children import start, wait_for_run
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder
from tensorview_insitu.callbacks import recorder as recorder_module
from written import block

from tensorview_insitu.run import writer
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.verify import verify
from tensorview_insitu.run.writer import RunWriter


def test_rows_are_in_the_tail_though_packing_has_taken_the_folder_of_segments_away(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_TAIL_SECONDS", 0.0)
    run = RunWriter(tmp_path / "run")
    run.write(block(1, 5))
    run.finish("finished")
    assert not (tmp_path / "run/segments").exists()
    published = writer.publish
    seen = []

    def publish(path, *args, **options):
        published(path, *args, **options)
        seen.append(path.name)

    monkeypatch.setattr(writer, "publish", publish)
    with run._condition:
        run.resume()
        run.write(block(6, 9))
    while "tail.h5" not in seen and not run.problems:
        run._thread.join(0.01)
    assert not run.problems
    assert list(Run.open(tmp_path / "run").steps()["step"]) == list(range(1, 10))
    run.finish("finished")
    assert list(Run.open(tmp_path / "run").steps()["step"]) == list(range(1, 10))


class Reading(keras.callbacks.Callback):
    """Goes on with the first epoch only when some of its rows are on disk."""

    def __init__(self, folder, writer):
        super().__init__()
        self.folder, self.writer, self.rows = folder, writer, []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 8:
            while not (self.folder / "segments/tail.h5").exists() and not self.writer.problems:
                threading.Event().wait(0.01)
            self.rows.append(len(Run.open(self.folder).steps()))


@pytest.mark.parametrize("strict", [False, True])
def test_a_slow_second_fit_is_on_disk_before_its_first_epoch_ends(strict, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(writer, "_TAIL_SECONDS", 0.0)
    monkeypatch.setattr(recorder_module, "_DRAIN_SECONDS", -1.0)
    recorder = InSituRecorder(tmp_path / "run", strict=strict)
    model = network()
    fit(model, [recorder], epochs=1)
    reading = Reading(tmp_path / "run", recorder._writer)
    fit(model, [recorder, reading], epochs=1)
    assert 13 < reading.rows[0] < 26
    run = Run.open(tmp_path / "run")
    assert list(run.steps()["step"]) == list(range(1, 27)) and not run.identity["missing"]
    assert not [w for w in recwarn if w.category is RuntimeWarning]


def test_a_killed_second_fit_keeps_what_was_on_disk_a_second_before(tmp_path):
    folder = tmp_path / "run"
    process = start(f"""
        class Slow(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                time.sleep(0.4)
        model, recorder = network(), InSituRecorder({str(folder)!r})
        fit(model, [recorder], epochs=1)
        fit(model, [recorder, Slow()], epochs=1)
    """)
    # In the middle of an epoch: nothing but the tail can have it.
    wait_for_run(process, folder, lambda run: 13 < len(run.steps()) < 24)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run = Run.open(folder)
    steps = list(run.steps()["step"])
    assert 13 < len(steps) < 26 and steps == list(range(1, len(steps) + 1))
    assert run.status == "crashed" and not run.identity["missing"]
    assert not verify(folder).problems
