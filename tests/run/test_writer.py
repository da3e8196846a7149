"""The writer: what is published when, and what a reader sees meanwhile."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from written import block

from tensorview_insitu.run import writer as writer_module
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.parts import segments
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.writer import RunWriter


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_rows_are_readable_a_second_after_they_were_written(tmp_path):
    writer = RunWriter(tmp_path / "run")
    writer.write(block(1, 10))
    run = Run.open(tmp_path / "run")
    wait_for(lambda: len(run.steps()) == 10, seconds=5)
    assert run.status == "running"
    assert (tmp_path / "run/segments/tail.h5").exists()
    writer.finish("finished")
    assert run.status == "finished" and len(run.steps()) == 10


def test_an_epoch_end_becomes_a_segment(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_SEGMENT_SECONDS", 0.0)
    writer = RunWriter(tmp_path / "run")
    for epoch in range(3):
        writer.write(block(10 * epoch + 1, 10 * epoch + 10, epoch + 1), epoch_end=True)
        wait_for(lambda n=epoch: len(segments(tmp_path / "run")) == n + 1)
    names = sorted(p.name for p in (tmp_path / "run/segments").glob("0*.h5"))
    assert names == [f"{i:06d}-{i:06d}.h5" for i in range(3)]
    assert list(Run.open(tmp_path / "run").steps()["step"]) == list(range(1, 31))
    writer.finish("finished")


def test_many_small_segments_are_merged_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_SEGMENT_SECONDS", 0.0)
    writer = RunWriter(tmp_path / "run")
    for i in range(70):
        writer.write(block(i + 1, i + 1, i + 1), epoch_end=True)
        wait_for(lambda: not writer._pending and not writer._queue)
    run = Run.open(tmp_path / "run")
    assert len(segments(tmp_path / "run")) < 16 + 70 / 16
    assert list(run.steps()["step"]) == list(range(1, 71))
    kernel = run.variable("conv", "kernel")
    assert list(kernel.values[:, 1, 1]) == list(range(1, 71))
    assert np.isnan(kernel.values[0, 0, 0])
    writer.finish("finished")


def test_a_reader_never_fails_and_never_sees_less_while_a_writer_works(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_SEGMENT_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "_TAIL_SECONDS", 0.0)
    writer = RunWriter(tmp_path / "run")
    done = threading.Event()

    def work():
        for i in range(200):
            writer.write(block(i + 1, i + 1), epoch_end=i % 3 == 0)
            time.sleep(0.005)
        writer.finish("finished")
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    run, seen, polls = Run.open(tmp_path / "run"), 0, 0
    while not done.is_set():
        steps = run.steps()["step"]
        assert list(steps) == list(range(1, len(steps) + 1))
        assert len(steps) >= seen
        seen, polls = len(steps), polls + 1
    thread.join()
    assert len(run.steps()) == 200 and polls > 20


def test_packing_again_after_more_rows_keeps_all(tmp_path):
    writer = RunWriter(tmp_path / "run")
    writer.write(block(1, 5))
    writer.finish("finished")
    writer.write(block(6, 9))
    writer.finish("finished")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["run.h5", "run.json"]
    assert list(Run.open(tmp_path / "run").steps()["step"]) == list(range(1, 10))


def test_segments_that_survived_packing_are_not_read_twice(tmp_path):
    writer = RunWriter(tmp_path / "run")
    writer.write(block(1, 5))
    writer.flush()
    kept = (tmp_path / "run/segments/000000-000000.h5").read_bytes()
    pack(tmp_path / "run")
    (tmp_path / "run/segments").mkdir()
    (tmp_path / "run/segments/000000-000000.h5").write_bytes(kept)
    assert len(Run.open(tmp_path / "run").steps()) == 5


def test_packing_without_room_leaves_the_run_as_it_is(tmp_path, monkeypatch):
    writer = RunWriter(tmp_path / "run")
    writer.write(block(1, 5))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    writer.finish("finished")
    assert "could not be packed" in json.loads((tmp_path / "run/run.json").read_text())["missing"][0]
    monkeypatch.undo()
    assert len(Run.open(tmp_path / "run").steps()) == 5


def test_arrays_that_wait_cost_no_row_of_a_table(tmp_path, monkeypatch):
    """A row of arrays that is larger than all the room there is goes in; what tables say meanwhile stays."""
    monkeypatch.setattr(writer_module, "_QUEUE_BYTES", 10_000)
    real, goes_on = writer_module.publish, threading.Event()

    def hanging(path, content, durable=False):
        if path.suffix == ".h5":
            goes_on.wait()
        real(path, content, durable=durable)

    monkeypatch.setattr(writer_module, "publish", hanging)
    writer = RunWriter(tmp_path / "run")
    first = block(1, 1)
    kernel = first["layers/conv/kernel"]
    large = np.broadcast_to(kernel.values[:, :1, :1], (1, 200, 200)).copy()
    writer.write({**first, "layers/large/kernel": replace(kernel, values=large)}, epoch_end=True)
    for step in range(2, 62):
        writer.write(block(step, step))
    goes_on.set()
    writer.finish("finished")
    run = Run.open(tmp_path / "run")
    assert len(run.steps()) == len(run.scalars("batch")) == 61
    assert run.identity["dropped_rows"] == {"layers/conv/kernel": 60}
    assert any("does not keep up" in problem for problem in run.identity["missing"])


def test_writing_goes_on_when_a_full_disk_has_room_again(tmp_path, monkeypatch):
    writer = RunWriter(tmp_path / "run")
    real, full = writer_module.publish, True

    def sometimes(path, content, durable=False):
        if full:
            raise OSError(28, "No space left on device", str(path))
        real(path, content, durable=durable)

    monkeypatch.setattr(writer_module, "publish", sometimes)
    writer.write(block(1, 5), epoch_end=True)
    wait_for(lambda: bool(writer.problems))
    full = False
    writer.write(block(6, 9))
    writer.finish("finished")
    assert list(Run.open(tmp_path / "run").steps()["step"]) == list(range(1, 10))
    assert "No space left" in writer.problems[0]


@pytest.mark.parametrize("rows", [1, 1000])
def test_values_come_back_as_they_were_written(tmp_path, rows):
    writer = RunWriter(tmp_path / "run")
    written = block(1, rows)
    writer.write(written)
    writer.finish("finished")
    run = Run.open(tmp_path / "run")
    np.testing.assert_array_equal(run.variable("conv", "kernel").values, written["layers/conv/kernel"].values)
    np.testing.assert_array_equal(run.scalars("batch")["loss"], written["scalars/batch"].values[:, 0])


def test_tables_are_saved_where_arrays_have_no_room(tmp_path, monkeypatch):
    real = writer_module.publish

    def small_disk(path, content, durable=False):
        real(path, content, durable=durable)
        if path.stat().st_size > 30_000:
            path.unlink()
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(writer_module, "publish", small_disk)
    writer = RunWriter(tmp_path / "run")
    rows = block(1, 20)
    kernel = rows["layers/conv/kernel"]
    wide = np.broadcast_to(kernel.values[:, :1, :1], (20, 40, 30)).copy()
    writer.write({**rows, "layers/conv/kernel": replace(kernel, values=wide)})
    writer.finish("finished")
    run = Run.open(tmp_path / "run")
    assert list(run.steps()["step"]) == list(range(1, 21)) and run.variables() == []
    assert run.identity["dropped_rows"] == {"layers/conv/kernel": 20}
    assert "No space left" in run.identity["missing"][0]


def test_what_a_full_disk_lost_at_the_end_is_counted_tables_too(tmp_path, monkeypatch):
    def full(path, content, durable=False):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(writer_module, "publish", full)
    writer = RunWriter(tmp_path / "run")
    writer.write(block(1, 20))
    writer.finish("finished")
    lost = json.loads((tmp_path / "run/run.json").read_text())["dropped_rows"]
    assert lost == dict.fromkeys(block(1, 20), 20)
    monkeypatch.undo()
    writer.write(block(21, 25))  # there is room again
    writer.finish("finished")
    run = Run.open(tmp_path / "run")
    assert list(run.steps()["step"]) == list(range(21, 26))
    assert run.identity["dropped_rows"] == lost


def test_what_is_larger_than_all_the_room_is_recorded_where_nothing_else_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_QUEUE_BYTES", 10)
    writer = RunWriter(tmp_path / "run")
    for i in range(3):
        writer.write(block(5 * i + 1, 5 * i + 5))
        writer.flush(seconds=30)
    writer.finish("finished")
    assert list(Run.open(tmp_path / "run").variable("conv", "kernel").steps) == list(range(1, 16))
    assert not writer.problems
