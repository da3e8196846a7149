"""Nothing stops the training, and nothing of the run is lost: signals, disks, forks."""

import os
import resource
import signal
import subprocess
import time

import numpy as np
import pytest
from children import start, wait_for_run
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder, Kernels, Metrics

from tensorview_insitu.run import writer
from tensorview_insitu.run.reader import Run


def trained_so_far(run):
    return len(run.scalars("epoch")) >= 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_process_told_to_end_ends_as_it_would_and_its_run_is_whole(number, code, tmp_path):
    folder = tmp_path / "run"
    process = start(f"fit(network(), [InSituRecorder({str(folder)!r})], epochs=100000)")
    wait_for_run(process, folder, trained_so_far)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors[-2000:]
    run = Run.open(folder)
    assert run.status == "interrupted"
    steps = run.steps()["step"]
    assert list(steps) == list(range(1, len(steps) + 1))
    assert len(run.gradient_norms()) == len(steps) == len(run.scalars("batch"))


def test_a_handler_of_the_users_own_is_called_and_the_training_goes_on(tmp_path):
    folder = tmp_path / "run"
    process = start(f"""
        class Stop(keras.callbacks.Callback):
            asked = False
            def on_epoch_end(self, epoch, logs=None):
                self.model.stop_training = Stop.asked
        def stop(number, frame):
            Stop.asked = True
            print("asked to stop", flush=True)
        signal.signal(signal.SIGTERM, stop)
        fit(network(), [Stop(), InSituRecorder({str(folder)!r})], epochs=100000)
        assert signal.getsignal(signal.SIGTERM) is stop
        print("ended", flush=True)
    """)
    wait_for_run(process, folder, trained_so_far)
    process.send_signal(signal.SIGTERM)
    answer, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors[-2000:]
    assert answer.split("\n")[:2] == ["asked to stop", "ended"]
    assert Run.open(folder).status == "finished"


def test_the_handler_is_gone_when_the_training_is_over(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    fit(network(), [InSituRecorder(tmp_path / "run")], epochs=1)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_process_forked_by_a_data_loader_never_writes_the_run(tmp_path):
    folder = tmp_path / "run"
    process = start(f"""
        class Fork(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                child = os.fork()
                if not child:  # ends as multiprocessing's pools end theirs, after it tried to record
                    recorder.on_train_batch_begin(0)
                    recorder.on_epoch_end(0, {{"loss": -1.0}})
                    recorder.close()
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(30)
                _, status = os.waitpid(child, 0)
                assert os.WTERMSIG(status) == signal.SIGTERM, status
        recorder = InSituRecorder({str(folder)!r})
        fit(network(), [recorder, Fork()], epochs=3)
    """)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-2000:]
    run = Run.open(folder)
    assert run.status == "finished" and not run.identity["missing"]
    assert len(run.scalars("epoch")) == 3 and (run.scalars("epoch")["loss"] > 0).all()


def limited_child(folder, limit):
    return f"""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        model = network()
        history = fit(model, [InSituRecorder({str(folder)!r}, [Metrics(), Kernels("batch")])], epochs=6)
        print(repr(history.history["loss"]), flush=True)
    """


def test_a_disk_that_takes_no_more_costs_one_warning_and_no_result(tmp_path):
    """A limit on the size of a file: what a full disk is to a recorder, without the rights to make one."""
    folder = tmp_path / "run"
    process = start(limited_child(folder, 15_000))
    answer, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-2000:]
    assert errors.count("The training goes on") == 1 and "File too large" in errors
    assert answer.strip() == repr(fit(network(), [], epochs=6).history["loss"])
    run = Run.open(folder)
    assert run.status == "finished" and "could not be written" in run.identity["missing"][0]
    batches = run.scalars("batch")
    assert list(batches["step"]) == list(range(1, len(batches) + 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_costs_one_warning_and_no_result(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("this machine does not allow to mount a disk")
    try:
        process = start(limited_child(disk / "run", resource.RLIM_INFINITY))
        answer, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-2000:]
        assert errors.count("The training goes on") == 1 and "No space left" in errors
        assert answer.strip() == repr(fit(network(), [], epochs=6).history["loss"])
        steps = Run.open(disk / "run").scalars("batch")["step"]
        assert list(steps) == list(range(1, len(steps) + 1))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_goes_away_in_the_midst_costs_one_warning(tmp_path):
    folder = tmp_path / "run"
    process = start(f"""
        import shutil
        class Remove(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 2:
                    shutil.rmtree({str(folder)!r})
        history = fit(network(), [InSituRecorder({str(folder)!r}), Remove()], epochs=6)
        print(len(history.history["loss"]))
    """)
    answer, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-2000:]
    assert answer.strip() == "6" and errors.count("The training goes on") == 1


def test_a_slow_disk_never_makes_the_training_wait(tmp_path, monkeypatch):
    """200 ms for every file: the time that training spends in the recorder's hooks stays small."""
    publish = writer.publish

    def slow(*args, **options):
        time.sleep(0.2)
        publish(*args, **options)

    monkeypatch.setattr(writer, "publish", slow)
    inside = []
    write = writer.RunWriter.write

    def timed(self, *args, **options):
        start = time.perf_counter()
        write(self, *args, **options)
        inside.append(time.perf_counter() - start)

    monkeypatch.setattr(writer.RunWriter, "write", timed)
    fit(network(), [InSituRecorder(tmp_path / "run", [Metrics(), Kernels("batch")])], epochs=10)
    assert len(inside) >= 10 and np.median(inside) < 0.002 and sum(inside) < 0.2
    run = Run.open(tmp_path / "run")
    assert len(run.scalars("batch")) == 130 and not run.identity["missing"]


def test_what_is_dropped_for_want_of_room_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_QUEUE_BYTES", 30_000)
    publish = writer.publish

    def slow(path, *args, **options):
        if path.suffix == ".h5":
            time.sleep(0.5)
        publish(path, *args, **options)

    monkeypatch.setattr(writer, "publish", slow)
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Kernels("batch")])
    with pytest.warns(RuntimeWarning, match="the disk does not keep up"):
        fit(network(), [recorder], epochs=8)
    recorder.close()  # waits for what goes on in the background
    run = Run.open(tmp_path / "run")
    assert len(run.scalars("batch")) == 104
    kept = len(run.variable("conv1", "kernel"))
    assert kept + run.identity["dropped_rows"]["layers/conv1/kernel"] == 105
