"""Spool: what HDF5 writes goes to disk without HDF5 ever owning a file there."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

from tensorview_insitu.libc import allocate

_MEMORY_BYTES = 8 << 20


class Spool(io.RawIOBase):
    """A file that HDF5 may write anywhere: held in memory while small, then straight on disk.

    HDF5 is never told of a full disk, which would crash the interpreter: from the first failure on
    what it writes is kept in memory, `finish` raises, and so does `put`.

    Args:
        file: an empty one, open for reading and writing; it stays open.
    """

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file
        self._memory: io.BytesIO | None = io.BytesIO()
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []
        self._at = self._size = 0
        self._reserving: tuple[int, list[int]] | None = None

    def finish(self) -> None:
        """Have all of it on disk.

        Raises:
            OSError: that was not possible at some moment.
        """
        self._spill()
        if self._error is not None:
            raise self._error
        if os.fstat(self._file.fileno()).st_size < self._size:
            self._file.truncate(self._size)

    @contextlib.contextmanager
    def reserving(self, size: int) -> Iterator[list[int]]:
        """What HDF5 writes meanwhile of that size, all zeros, only tells where: the caller `put`s it there.

        Yields:
            Those places in the file, in bytes.
        """
        self._spill()
        places: list[int] = []
        self._reserving = size, places
        try:
            yield places
        finally:
            self._reserving = None

    def write(self, data: Any) -> int:
        """Write bytes; all of them."""
        size = len(data)
        # HDF5's own structures begin with letters.
        if self._reserving is not None and size == self._reserving[0] and not data[0]:
            self._reserving[1].append(self._at)
        else:
            if self._at + size > _MEMORY_BYTES:
                self._spill()
            if self._memory is not None:
                self._memory.seek(self._at)
                self._memory.write(data)
            else:
                self._write_through(data, self._at)
        self._at += size
        if self._at > self._size:
            self._size = self._at
        return size

    def allocate(self) -> None:
        """Ask the disk for room for all of it at once."""
        allocate(self._file.fileno(), self._size)

    def put(self, data: Sequence[Any], place: int, size: int) -> None:
        """Write buffers, one after the other, to a reserved place, once HDF5 has closed the file.

        Args:
            data: the buffers.
            place: in bytes.
            size: of all of them, in bytes.

        Raises:
            OSError: the disk is full, or gone, or was so before.
        """
        if self._error is not None:
            raise self._error
        count = os.pwritev(self._file.fileno(), data, place)
        if count < size:  # a nearly full disk takes less than it was given
            write_at(self._file, b"".join(data)[count:], place + count)

    def _spill(self) -> None:
        if self._memory is not None:
            content, self._memory = self._memory.getvalue(), None
            self._write_through(content, 0)

    def _write_through(self, data: Any, place: int) -> None:
        if self._error is None:
            try:
                write_at(self._file, data, place)
                return
            except OSError as error:
                self._error = error
        self._kept.append((place, bytes(data)))

    def readinto(self, buffer: Any) -> int:
        """Read what was written."""
        count = max(0, min(len(buffer), self._size - self._at))
        if self._memory is not None:
            self._memory.seek(self._at)
            data = bytearray(self._memory.read(count))
        else:
            data = bytearray(os.pread(self._file.fileno(), count, self._at))
        data.extend(bytes(count - len(data)))
        for place, kept in self._kept:
            first, last = max(place, self._at), min(place + len(kept), self._at + count)
            if first < last:
                data[first - self._at : last - self._at] = kept[first - place : last - place]
        buffer[:count] = data
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        if whence != os.SEEK_SET:
            offset += self._at if whence == os.SEEK_CUR else self._size
        self._at = offset
        return offset

    def tell(self) -> int:
        """The place."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Make it as long as that; what is new is zero."""
        size = self._at if size is None else size
        if self._memory is not None:
            self._memory.truncate(size)
        elif self._error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self._error = error
        self._size = size
        return size

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is."""
        return True


def write_at(file: io.FileIO, data: Any, place: int) -> None:
    """Write all of `data` there.

    Raises:
        OSError: the disk is full, or gone.
    """
    rest = memoryview(data).cast("B")
    while rest:  # a nearly full disk takes less than it was given
        count = os.pwrite(file.fileno(), rest, place)
        place += count
        rest = rest[count:]
