"""Spool: what HDF5 writes goes to disk without HDF5 ever owning a file there."""

from __future__ import annotations

import io
import os
from typing import Any

_MEMORY_BYTES = 1 << 20


class Spool(io.RawIOBase):
    """A file that HDF5 may write anywhere: held in memory while small, then straight on disk.

    HDF5 is never told of a full disk, which would crash the interpreter: from the first failure on
    what it writes is kept in memory, and `check` and `finish` raise. Whoever writes much calls `check`
    now and then, so that little is kept.

    Args:
        file: an empty one, open for reading and writing; it stays open.
    """

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file
        self._memory: io.BytesIO | None = io.BytesIO()
        self._error: BaseException | None = None
        self._kept: list[tuple[int, bytes]] = []
        self._at = self._size = 0

    def check(self) -> None:
        """Raise what went wrong, if something did.

        Raises:
            OSError: the disk is full, or gone.
        """
        if self._error is not None:
            raise self._error

    def fail(self, error: BaseException) -> None:
        """From now on nothing goes to disk any more, and `check` raises this error."""
        if self._error is None:
            # Without its frames: they hold views of memory that HDF5 frees.
            self._error = error.with_traceback(None)

    def finish(self) -> None:
        """Have all of it on disk.

        Raises:
            OSError: that was not possible at some moment.
        """
        self._spill()
        self.check()
        if os.fstat(self._file.fileno()).st_size < self._size:
            self._file.truncate(self._size)

    # ---- what HDF5 calls: nothing in here may raise

    def write(self, data: Any) -> int:
        """Write bytes; all of them."""
        size = len(data)
        if self._at + size > _MEMORY_BYTES:
            self._spill()
        if self._memory is not None:
            self._memory.seek(self._at)
            self._memory.write(data)
        else:
            self._write_through(data, self._at)
        self._at += size
        self._size = max(self._size, self._at)
        return size

    def _spill(self) -> None:
        if self._memory is not None:
            content, self._memory = self._memory.getvalue(), None
            self._write_through(content, 0)

    def _write_through(self, data: Any, place: int) -> None:
        if self._error is None:
            try:
                write_at(self._file, data, place)
                return
            except Exception as error:
                self.fail(error)
        self._kept.append((place, bytes(data)))

    def readinto(self, buffer: Any) -> int:
        """Read what was written."""
        count = max(0, min(len(buffer), self._size - self._at))
        data = bytearray(self._stored(count))
        data.extend(bytes(count - len(data)))
        for place, kept in self._kept:
            first, last = max(place, self._at), min(place + len(kept), self._at + count)
            if first < last:
                data[first - self._at : last - self._at] = kept[first - place : last - place]
        buffer[:count] = data
        self._at += count
        return count

    def _stored(self, count: int) -> bytes:
        """What is stored of the next bytes: fewer, where the file ends."""
        if self._memory is not None:
            self._memory.seek(self._at)
            return self._memory.read(count)
        try:
            self._file.seek(self._at)
            return self._file.read(count) or b""
        except Exception as error:
            self.fail(error)
            return b""

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
            except Exception as error:
                self.fail(error)
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
    file.seek(place)
    with memoryview(data) as whole, whole.cast("B") as view:
        written = 0
        while written < len(view):  # a nearly full disk takes less than it was given
            written += file.write(view[written:])
