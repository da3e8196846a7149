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
    sizes = fill_up(monkeypatch, works)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path / "spooled.h5", fill)
    assert list(tmp_path.iterdir()) == [] and len(sizes) == works + 1


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
    fill_up(monkeypatch, 1)
    with io.FileIO(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        spool.write(b"abcdefgh")
        spool.check()
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
            spool.check()
        with pytest.raises(OSError, match="No space left"):
            spool.finish()


def test_a_file_that_hdf5_makes_longer_than_it_wrote_is_as_long(tmp_path):
    with io.FileIO(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        spool.write(b"abc")
        spool.truncate(10)
        spool.seek(1)
        assert spool.read(100) == b"bc" + bytes(7)
        spool.finish()
    assert (tmp_path / "file").read_bytes() == b"abc" + bytes(7)


class Broken(io.FileIO):
    """A file whose disk went away."""

    def seek(self, *place):
        raise OSError(5, "Input/output error")

    read = truncate = seek


@pytest.mark.parametrize("do", ["read", "write", "truncate"])
def test_hdf5_never_hears_of_a_disk_that_went_away(tmp_path, monkeypatch, do):
    monkeypatch.setattr(spool_module, "_MEMORY_BYTES", 0)
    with Broken(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        spool._size = 10
        spool._spill()
        spool._error = None
        if do == "read":
            assert spool.read(4) == bytes(4) and spool.tell() == 4
        elif do == "write":
            assert spool.write(b"abcd") == 4 and spool.tell() == 4
        else:
            assert spool.truncate(5) == 5 and spool.seek(0, os.SEEK_END) == 5
        with pytest.raises(OSError, match="Input/output error"):
            spool.check()
        with pytest.raises(OSError, match="Input/output error"):
            spool.finish()


def test_the_first_error_is_told_and_nothing_goes_to_disk_after_it(tmp_path):
    with io.FileIO(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        spool.write(b"abc")
        spool.fail(KeyboardInterrupt("first"))
        spool.fail(OSError("second"))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt, match="first"):
                spool.finish()
        assert spool.seek(0) == 0 and spool.read(10) == b"abc"
    assert (tmp_path / "file").read_bytes() == b""


def test_a_file_is_as_long_as_what_was_written_farthest(tmp_path):
    with io.FileIO(tmp_path / "file", "w+") as file:
        spool = Spool(file)
        for place in (5, 0):
            spool.seek(place)
            spool.write(b"xy")
        assert spool.seek(0, os.SEEK_END) == 7 and spool.seek(-2, os.SEEK_CUR) == 5
        assert spool.read(10) == b"xy" and spool.read(10) == b""
        assert spool.seekable() and spool.readable() and spool.writable()
        spool.finish()
    assert (tmp_path / "file").read_bytes() == b"xy\0\0\0xy"
