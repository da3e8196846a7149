"""Rows go into files and come back as they were, whatever their size, the disk, and who else uses HDF5."""

import io
import subprocess
import sys
import threading
import tracemalloc

import h5py
import numpy as np
import pytest
from full_disk import fill_up

from tensorview_insitu.run import datasets
from tensorview_insitu.run import pack as pack_module
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.segment import content, read_all
from tensorview_insitu.run.writer import RunWriter

RANDOM = np.random.default_rng(0)
ABOUT = {"dims": ["snapshot", "row", "filter"], "filter_axis": 2}


def segment_of(folder, *values, first=1):
    blocks = []
    for each in values:
        blocks.append({"layers/a/kernel": Rows(np.arange(first, first + len(each)), each, ABOUT)})
        first += len(each)
    publish(folder / "segment.h5", content(blocks, "run", 0, 0))
    return folder / "segment.h5"


@pytest.mark.parametrize("shape", [(1, 160, 128), (3, 160, 128), (1, 64, 40), (10, 64, 40), (70, 64, 40)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64"])
def test_large_rows_read_back_as_they_were_given(tmp_path, shape, dtype):
    given = [(RANDOM.random(shape) * 3).round().astype(dtype) for _ in range(7)]
    back = read_all(segment_of(tmp_path, *given))["layers/a/kernel"]
    np.testing.assert_array_equal(back.values, np.concatenate(given))
    np.testing.assert_array_equal(back.steps, np.arange(1, 7 * shape[0] + 1))
    assert back.attributes == ABOUT and back.values.dtype == dtype


def test_rows_that_lie_otherwise_in_memory_or_change_their_precision_are_written_right(tmp_path):
    whole = RANDOM.random((2, 160, 128)).astype(np.float32)
    given = [whole, np.asfortranarray(whole), whole[:, ::-1], whole.astype(np.float16)]
    back = read_all(segment_of(tmp_path, *given))["layers/a/kernel"].values
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, np.concatenate(given))


@pytest.mark.parametrize("rows", [1, 3, 10])
@pytest.mark.parametrize("lengths", [[1] * 25, [2, 30, 1, 7], [40], [10, 20], [9, 1, 2, 8, 3], [0, 4, 0], []])
def test_whole_chunks_are_given_in_order_and_a_long_part_is_not_copied(rows, lengths):
    whole = np.arange(sum(lengths))
    parts = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    pieces = list(datasets.whole_chunks(parts, rows))
    assert np.array_equal(np.concatenate([*pieces, whole[:0]]), whole)
    assert all(len(piece) % rows == 0 for piece in pieces[:-1]) and all(map(len, pieces))
    for piece in pieces:
        assert len(piece) < 2 * rows or np.shares_memory(piece, whole)


def test_every_array_is_chunked_and_carries_a_checksum_and_has_no_date(tmp_path):
    given = RANDOM.random((5, 300, 256)), RANDOM.random((3, 300, 256))
    with h5py.File(segment_of(tmp_path, *given)) as file:
        for name, chunks in (("layers/a/kernel", (1, 300, 256)), ("layers/a/kernel_steps", (8,))):
            assert file[name].chunks == chunks and file[name].fletcher32
            assert file[name].id.get_create_plist().get_nfilters() == 1
            assert not file[name].id.get_create_plist().get_obj_track_times()


def test_a_long_part_of_whole_chunks_is_written_at_once():
    assert [len(piece) for piece in datasets.whole_chunks([np.arange(40), np.arange(25)], 10)] == [40, 20, 5]


@pytest.mark.parametrize(
    ("shape", "about"),
    [((3, 0), ABOUT), ((0, 4), ABOUT), ((0, 0), ABOUT), ((0,), ABOUT), ((3, 0), {"columns": []})],
)
def test_rows_without_a_value_are_written_and_read(tmp_path, shape, about):
    rows = Rows(np.arange(shape[0]), np.zeros(shape, np.float32), about)
    publish(tmp_path / "segment.h5", content([{"a": rows}, {"a": rows}], "run", 0, 0))
    back = read_all(tmp_path / "segment.h5")["a"]
    assert len(back.steps) == 2 * shape[0] and back.values.shape == (2 * shape[0], *shape[1:])


def test_texts_say_that_they_are_utf_8(tmp_path):
    rows = Rows(np.arange(2), np.zeros((2, 1)), {"columns": ["Größe"], "units": "µm"})
    publish(tmp_path / "segment.h5", content([{"a": rows}], "run", 0, 0))
    with h5py.File(tmp_path / "segment.h5") as file:
        for name in ("columns", "units"):
            kind = file["a"].attrs.get_id(name).get_type()
            assert kind.get_cset() == h5py.h5t.CSET_UTF8 and not kind.is_variable_str()
    assert read_all(tmp_path / "segment.h5")["a"].attributes == rows.attributes


def test_the_same_rows_make_the_same_bytes(tmp_path):
    values = RANDOM.random((5, 300, 256))
    one = segment_of(tmp_path, values).read_bytes()
    assert segment_of(tmp_path, values[:2], values[2:]).read_bytes() == one


def test_a_flipped_bit_in_a_large_row_is_found_by_any_hdf5(tmp_path):
    values = RANDOM.normal(size=(2, 300, 256)).astype(np.float32)
    path = segment_of(tmp_path, values)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(values[1].tobytes()) + 1000] ^= 4
    path.write_bytes(damaged)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["layers/a/kernel"][0], values[0])
        with pytest.raises(OSError, match="filter returned failure"):
            file["layers/a/kernel"][1]


@pytest.mark.parametrize("works", [0, 1, 2, 17])
def test_a_disk_that_fills_up_under_large_rows_is_an_oserror_and_leaves_nothing(tmp_path, monkeypatch, works):
    sizes = fill_up(monkeypatch, works)
    with pytest.raises(OSError, match="No space left"):
        segment_of(tmp_path, RANDOM.random((20, 160, 128)))
    assert list(tmp_path.iterdir()) == []
    assert len(sizes) == works + 1  # it is not tried again


def test_a_full_disk_does_not_gather_in_memory_what_it_does_not_take(tmp_path, monkeypatch):
    values = [RANDOM.random((2, 160, 1280)) for _ in range(20)]
    fill_up(monkeypatch, 0)
    tracemalloc.start()
    with pytest.raises(OSError, match="No space left"):
        segment_of(tmp_path, *values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * values[0].nbytes


def test_a_disk_that_takes_less_than_it_was_given_gets_the_rest(tmp_path, monkeypatch):
    class Little(io.FileIO):
        def write(self, data):
            return super().write(data[:100_000])

    monkeypatch.setattr(io, "FileIO", Little)
    values = RANDOM.random((20, 160, 128))
    np.testing.assert_array_equal(read_all(segment_of(tmp_path, values))["layers/a/kernel"].values, values)


def written(folder, *values):
    writer = RunWriter(folder)
    first = 1
    for each in values:
        steps = np.arange(first, first + len(each))
        writer.write({"layers/a/kernel": Rows(steps, each, ABOUT)})
        writer.flush(seconds=30)
        first += len(each)
    writer.finish("finished", packed=False)
    return folder


@pytest.mark.parametrize("piece_bytes", [1, 1 << 17, 32 << 20])
@pytest.mark.parametrize("shape", [(4, 300, 256), (4, 160, 128), (7, 160, 128), (1, 64, 40), (3000, 8)])
def test_packing_keeps_rows_to_the_bit_wherever_chunks_begin(tmp_path, shape, piece_bytes, monkeypatch):
    given = [RANDOM.normal(size=shape).astype(np.float32) for _ in range(3)]
    given[1] = given[1].astype(np.float16)
    monkeypatch.setattr(pack_module, "_PIECE_BYTES", piece_bytes)
    run = written(tmp_path / "run", *given)
    assert len(list((run / "segments").glob("*.h5"))) == 3
    pack(run)
    back = read_all(run / "run.h5")["layers/a/kernel"]
    np.testing.assert_array_equal(back.values, np.concatenate(given))
    np.testing.assert_array_equal(back.steps, np.arange(1, 3 * shape[0] + 1))


def test_packing_a_damaged_large_row_names_it_and_leaves_the_run(tmp_path):
    values = RANDOM.normal(size=(5, 300, 256)).astype(np.float32)
    run = written(tmp_path / "run", values)
    (segment,) = (run / "segments").glob("*.h5")
    damaged = bytearray(segment.read_bytes())
    damaged[damaged.index(values[3].tobytes()) + 7] ^= 1
    segment.write_bytes(damaged)
    with pytest.raises(NotARunError, match="/layers/a/kernel of .* is damaged"):
        pack(run)
    assert segment.read_bytes() == damaged and not (run / "run.h5").exists()


def test_packing_large_rows_with_damaged_steps_names_them_and_leaves_the_run(tmp_path):
    run = written(tmp_path / "run", RANDOM.normal(size=(5, 300, 256)).astype(np.float32))
    (segment,) = (run / "segments").glob("*.h5")
    damaged = bytearray(segment.read_bytes())
    damaged[damaged.index(np.arange(1, 6).tobytes()) + 9] ^= 1
    segment.write_bytes(damaged)
    with pytest.raises(NotARunError, match="^Dataset /layers/a/kernel of [^ ]* is damaged: [^/]*$"):
        pack(run)
    assert segment.read_bytes() == damaged and not (run / "run.h5").exists()


def test_an_interpreter_that_starts_no_threads_any_more_writes_all_the_same(tmp_path, monkeypatch):
    def start(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    values = RANDOM.random((20, 160, 128))
    np.testing.assert_array_equal(read_all(segment_of(tmp_path, values))["layers/a/kernel"].values, values)


# In a process of its own: an exception out of what HDF5 calls back ends it with a segmentation fault.
INTERRUPTED = """
import os, signal, sys
from pathlib import Path
import h5py, numpy as np
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.segment import content, read_all
from tensorview_insitu.run.spool import Spool

folder = Path(sys.argv[1])
values = np.random.default_rng(0).random((30, 64, 300))
block = {"layers/a/kernel": Rows(np.arange(30), values, {"dims": ["snapshot", "row", "filter"]})}
write, writes, interrupted = Spool.write, [], range(0)
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell in the background ignores it

def interrupt_and_write(spool, data):
    writes.append(len(data))
    try:
        if len(writes) in interrupted:
            os.kill(os.getpid(), signal.SIGINT)
        return write(spool, data)
    except BaseException as error:
        sys.exit(f"{error!r} went into HDF5")

Spool.write = interrupt_and_write
publish(folder / "segment.h5", content([block], "run", 0, 0))
whole = len(writes)
for first in range(1, whole + 1):
    for count in (1, 1000):
        writes.clear()
        interrupted = range(first, first + count)
        try:
            publish(folder / "segment.h5", content([block], "run", 0, 0))
        except KeyboardInterrupt:
            assert len(writes) <= whole
        else:
            raise AssertionError(f"the interrupt at {first} is lost")
        interrupted = range(0)
        assert np.array_equal(read_all(folder / "segment.h5")["layers/a/kernel"].values, values)
assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0, "HDF5 holds a file open"
"""


def test_an_interrupt_at_any_write_leaves_hdf5_and_the_file_whole(tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", INTERRUPTED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


# In a process of its own: two threads inside HDF5 at once end it with a segmentation fault.
MANY_THREADS = """
import sys, threading
from pathlib import Path
import h5py, numpy as np
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.segment import read_all
from tensorview_insitu.run.writer import RunWriter

folder, problems = Path(sys.argv[1]), []
values = np.random.default_rng(0).normal(size=(30, 64, 300)).astype(np.float32)
about = {"dims": ["snapshot", "row", "filter"], "filter_axis": 2}

def record(number):
    run = folder / f"run{number}"
    writer = RunWriter(run)
    for first in range(0, 300, 30):
        writer.write({"layers/a/kernel": Rows(np.arange(first, first + 30), values, about)})
        writer.flush(seconds=60)
    writer.finish("finished")
    problems.extend(writer.problems)
    whole = read_all(run / "run.h5")["layers/a/kernel"].values
    if not np.array_equal(whole, np.concatenate([values] * 10)):
        problems.append(f"{run} holds other values")

def use_hdf5():
    for number in range(200):
        with h5py.File(folder / "others.h5", "w") as file:
            file["values"] = values[:4]
            if not np.array_equal(file["values"][:], values[:4]):
                problems.append("a file of another's holds other values")

threads = [threading.Thread(target=record, args=(number,)) for number in range(3)]
threads.append(threading.Thread(target=use_hdf5))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(problems) or 0)
"""


def test_several_recorders_and_a_users_own_hdf5_go_on_side_by_side_in_one_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", MANY_THREADS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
