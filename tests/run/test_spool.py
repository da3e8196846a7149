"""A spool: HDF5 writes through it, whatever the disk does."""

import io
import os

import h5py
import numpy as np
import pytest
from full_disk import fill_up

from tensorview_insitu.run import spool as spool_module
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.spool import Spool

VALUES = np.random.default_rng(0).random((64, 1000)).astype(np.float32)


def fill(spool):
    with h5py.File(spool, "w") as file:
        file.create_dataset("values", data=VALUES, chunks=(1, 1000), fletcher32=True)


@pytest.mark.parametrize("room", [1 << 20, 100_000, 0])
def test_a_file_that_leaves_memory_early_or_never_is_the_same(tmp_path, monkeypatch, room):
    monkeypatch.setattr(spool_module, "_MEMORY_BYTES", room)
    publish(tmp_path / "spooled.h5", fill)
    whole = io.BytesIO()
    fill(whole)
    with h5py.File(tmp_path / "spooled.h5") as file:
        np.testing.assert_array_equal(file["values"][:], VALUES)
    assert (tmp_path / "spooled.h5").stat().st_size == len(whole.getvalue())


@pytest.mark.parametrize("works", [0, 1, 20])
def test_hdf5_never_hears_of_a_full_disk_and_publish_raises_it(tmp_path, monkeypatch, works):
    monkeypatch.setattr(spool_module, "_MEMORY_BYTES", 10_000)
    calls = fill_up(monkeypatch, "pwrite", works)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path / "spooled.h5", fill)
    assert list(tmp_path.iterdir()) == [] and len(calls) == works + 1


def test_what_was_written_can_be_read_while_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "_MEMORY_BYTES", 4)
    with io.FileIO(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        spool.write(b"abcdef")
        spool.seek(2)
        assert spool.read(3) == b"cde" and spool.tell() == 5
        spool.seek(-1, os.SEEK_END)
        spool.write(b"FG")
        spool.truncate(8)
        spool.finish()
    assert (tmp_path / "file").read_bytes() == b"abcdeFG\0"


def test_what_is_written_after_the_disk_was_full_can_be_read_and_takes_no_more_memory_than_itself(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(spool_module, "_MEMORY_BYTES", 4)
    with io.FileIO(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        spool.write(b"abcdefgh")

        fill_up(monkeypatch, "pwrite", 0)
        spool.seek(2)
        spool.write(b"XYZ")
        spool.seek(1 << 40)
        spool.write(b"far away")
        spool.seek(0)
        assert spool.read(8) == b"abXYZfgh"
        spool.seek((1 << 40) + 4)
        assert spool.read(100) == b"away"
        spool.seek(100)
        assert spool.read(3) == bytes(3)
        with pytest.raises(OSError, match="No space left"):
            spool.put([b"more"], 50, 4)
        with pytest.raises(OSError, match="No space left"):
            spool.finish()


def test_a_file_that_hdf5_makes_longer_than_it_wrote_is_as_long(tmp_path):
    with io.FileIO(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        spool.write(b"abc")
        spool.truncate(10)
        spool.finish()
    assert (tmp_path / "file").read_bytes() == b"abc" + bytes(7)
