"""What goes to disk past HDF5 is what HDF5 would have put there."""

import io
import os
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
from full_disk import fill_up

from tensorview_insitu.run import checksum
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.segment import content, read_all
from tensorview_insitu.run.writer import RunWriter

RANDOM = np.random.default_rng(0)
ABOUT = {"dims": ["snapshot", "row", "filter"], "filter_axis": 2}


def hdf5s_checksum(data):
    file = h5py.File(io.BytesIO(), "w")
    dataset = file.create_dataset("values", data=data, chunks=data.shape, fletcher32=True)
    return dataset.id.read_direct_chunk((0,))[1][-4:]


def by_hdf5_alone(path, values):
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, chunks=(1, *values.shape[1:]), fletcher32=True)


def segment_of(folder, *values, first=1):
    blocks = []
    for each in values:
        blocks.append({"layers/a/kernel": Rows(np.arange(first, first + len(each)), each, ABOUT)})
        first += len(each)
    publish(folder / "segment.h5", content(blocks, "run", 0, 0))
    return folder / "segment.h5"


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 65535, 131_070, 147_457, (1 << 20) + 3])
@pytest.mark.parametrize("kind", ["random", "zeros", "ones"])
def test_the_checksum_is_hdf5s_with_its_function_and_without(size, kind, monkeypatch):
    data = {
        "random": RANDOM.integers(0, 256, size, dtype=np.uint8),
        "zeros": np.zeros(size, np.uint8),
        "ones": np.full(size, 255, np.uint8),
    }[kind]
    expected = hdf5s_checksum(data)
    assert checksum.fletcher32(data) == expected
    monkeypatch.setattr(checksum, "_hdf5s", lambda: None)
    assert checksum.fletcher32(data) == expected


def test_this_hdf5_lends_its_function():
    assert checksum._hdf5s() is not None


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


def test_every_chunk_is_byte_for_byte_what_hdf5_writes(tmp_path):
    values = RANDOM.normal(size=(5, 300, 256)).astype(np.float32)
    by_hdf5_alone(tmp_path / "hdf5.h5", values)
    with h5py.File(segment_of(tmp_path, values)) as ours, h5py.File(tmp_path / "hdf5.h5") as theirs:
        mine, plain = ours["layers/a/kernel"].id, theirs["values"].id
        for row in range(5):
            assert mine.read_direct_chunk((row, 0, 0)) == plain.read_direct_chunk((row, 0, 0))


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


@pytest.mark.parametrize("works", [0, 1, 2])
def test_a_disk_that_fills_up_under_large_rows_is_an_oserror_and_leaves_nothing(tmp_path, monkeypatch, works):
    calls = fill_up(monkeypatch, "pwritev", works)
    with pytest.raises(OSError, match="No space left"):
        segment_of(tmp_path, RANDOM.random((20, 160, 128)))
    assert list(tmp_path.iterdir()) == []
    assert works + 1 <= len(calls) <= works + 2  # by two threads


def test_a_disk_that_takes_less_than_it_was_given_gets_the_rest(tmp_path, monkeypatch):
    real = os.pwritev

    def little(descriptor, data, place):
        return real(descriptor, [bytes(data[0][:100])], place)

    monkeypatch.setattr(os, "pwritev", little)
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


@pytest.mark.parametrize("shape", [(4, 300, 256), (4, 160, 128), (7, 160, 128), (1, 64, 40)])
def test_packing_keeps_large_rows_to_the_bit_wherever_chunks_begin(tmp_path, shape):
    given = [RANDOM.normal(size=shape).astype(np.float32) for _ in range(3)]
    given[1] = given[1].astype(np.float16)
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
