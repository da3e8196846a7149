"""A training never waits for the disk of its run, whatever the disk does."""

import sys
import threading

import keras
import numpy as np
import pytest
from fits import fit, network
from tensorview_insitu.callbacks import Budget, InSituRecorder, Kernels, Metrics
from written import block

from tensorview_insitu.run import identity, writer
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.writer import RunWriter

LONGEST = 60  # seconds after which something is held to hang


class HungDisk:
    """Files are published only when it is let go."""

    def __init__(self, monkeypatch):
        self.hangs = threading.Event()  # something has come to the disk, and waits
        self.goes_on = threading.Event()
        real = identity.publish

        def publish(*args, **options):
            self.hangs.set()
            assert self.goes_on.wait(LONGEST), "nobody let the disk go on"
            real(*args, **options)

        monkeypatch.setattr(identity, "publish", publish)
        monkeypatch.setattr(writer, "publish", publish)


def test_what_is_handed_over_while_run_json_hangs_on_its_way_to_the_disk_waits_for_nothing(
    tmp_path, monkeypatch
):
    run = RunWriter(tmp_path / "run")
    disk = HungDisk(monkeypatch)
    run.describe(thinned=["nothing"])
    assert disk.hangs.wait(LONGEST)
    handed_over = threading.Event()

    def train():
        for i in range(20):
            run.write(block(5 * i + 1, 5 * i + 5), epoch_end=i % 5 == 0)
            run.describe(epoch=i)
            run.note(f"problem {i}")
            run.distrust("scalars/batch", f"column {i}", "a reason")
        handed_over.set()

    threading.Thread(target=train, daemon=True).start()
    assert handed_over.wait(LONGEST), "the training waits for the disk"
    assert not disk.goes_on.is_set()
    disk.goes_on.set()
    run.finish("finished")
    back = Run.open(tmp_path / "run")
    assert list(back.steps()["step"]) == list(range(1, 101))
    assert len(back.identity["missing"]) == 40 and back.identity["epoch"] == 19
    assert len(back.identity["untrusted"]["scalars/batch"]) == 20


class At(keras.callbacks.Callback):
    """Does something in one hook."""

    def __init__(self, hook, do):
        super().__init__()
        setattr(self, hook, lambda *_, **__: do())


def test_a_whole_training_goes_by_while_the_disk_hangs(tmp_path, monkeypatch):
    disks = []
    hang = At("on_train_begin", lambda: disks.append(HungDisk(monkeypatch)))
    go_on = At("on_train_end", lambda: disks[0].goes_on.set())
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Kernels("batch")], budget=Budget())
    model = network()
    history = fit(model, [hang, go_on, recorder])
    assert disks[0].hangs.is_set()
    assert fit(network(), []).history == history.history
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    assert len(run.scalars("batch")) == 26


def test_a_recorder_that_gives_up_in_the_midst_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    from tensorview_insitu.callbacks import recorder as module

    disks = []
    hang = At("on_train_begin", lambda: disks.append(HungDisk(monkeypatch)))
    go_on = At("on_train_end", lambda: disks[0].goes_on.set())
    monkeypatch.setattr(module, "drained_rows", lambda *_, **__: 1 / 0)
    recorder = InSituRecorder(tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="recording stopped: ZeroDivisionError"):
        fit(network(), [hang, go_on, recorder])
    recorder.close()
    assert Run.open(tmp_path / "run").identity["missing"]


def test_the_end_of_a_training_waits_only_so_long_for_a_disk_that_hangs(tmp_path, monkeypatch):
    run = RunWriter(tmp_path / "run")
    run.write(block(1, 5))
    disk = HungDisk(monkeypatch)
    run.finish("finished", seconds=0.01)
    assert "could not be finished: its disk took more than" in run.problems[0]
    assert run.busy  # no other recorder may take the folder
    disk.goes_on.set()
    assert run.wait(LONGEST)
    assert list(Run.open(tmp_path / "run").steps()["step"]) == [1, 2, 3, 4, 5]


_opened: list[tuple[str, str]] = []
_watched = threading.Event()


def _listen(event, arguments):
    if _watched.is_set() and threading.current_thread() is threading.main_thread():
        _opened.extend((event, str(each)) for each in arguments if isinstance(each, str))


def test_the_thread_that_trains_touches_no_file_of_the_run(tmp_path):
    """Python tells of every file and folder that is opened, listed, made or renamed."""
    sys.addaudithook(_listen)
    begin, end = At("on_train_begin", _watched.set), At("on_train_end", _watched.clear)
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Kernels("batch")], budget=Budget())
    fit(network(), [recorder, begin, end])
    fit(network(), [recorder, begin, end])
    assert not [one for one in _opened if str(tmp_path) in one[1]]
    _watched.set()
    np.save(tmp_path / "seen.npy", np.zeros(1))  # it would have been seen
    _watched.clear()
    assert [one for one in _opened if str(tmp_path) in one[1]]
