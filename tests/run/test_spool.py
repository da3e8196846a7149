"""A spool: HDF5 writes through it, whatever the disk does."""

import io
import os

import h5py
import numpy as np
import pytest

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
    real, calls = os.pwrite, []

    def full(descriptor, data, place):
        calls.append(place)
        if len(calls) > works:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", full)
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
