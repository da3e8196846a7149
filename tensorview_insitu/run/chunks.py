"""Large arrays go to disk past HDF5: it says where their chunks lie, and we put them there.

HDF5 copies each chunk, computes its checksum and writes it, one after the other and with all other
Python threads waiting. Here nothing is copied that lies as it is to be written, and one thread
computes checksums while another writes. What is in the file is the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import h5py
import numpy as np
from h5py._objects import phil  # h5py's one lock: HDF5 lets in one thread at a time
from numpy.typing import NDArray

from tensorview_insitu.run import checksum
from tensorview_insitu.run.spool import Spool

_TOGETHER_BYTES = 1 << 20  # in one call to the system
_AHEAD_BYTES = 16 << 20  # so much waits in memory to be written


class Values(Protocol):
    """Consecutive rows: an array, or what becomes one when it is written."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: slice, /) -> Any: ...

    def __array__(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Chunk:
    """A chunk that has its place.

    Args:
        place: in the file, in bytes.
        size: its bytes there, the checksum among them.
        parts: the rows that are in it, one part after the other; zeros where they are too few.
        shape: of the chunk.
        dtype: of its values in the file.
    """

    place: int
    size: int
    parts: Sequence[Values]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def content(self) -> list[Any]:
        """What is written to its place: its values and their checksum."""
        first = self.parts[0]
        if isinstance(first, Stored) and (copy := first.chunk(self.shape, self.dtype)):
            return [copy]
        data = self._values().reshape(-1).view(np.uint8)
        return [data, checksum.fletcher32(data)]

    def _values(self) -> NDArray[Any]:
        first = np.asarray(self.parts[0])
        if first.shape == self.shape and first.dtype == self.dtype and first.flags.c_contiguous:
            return first
        whole = np.zeros(self.shape, self.dtype)
        start = 0
        for part in self.parts:
            whole[start : start + len(part)] = np.asarray(part)
            start += len(part)
        return whole


@dataclass(frozen=True)
class Stored:
    """Rows of another file, which is open until they are written: read only then.

    Args:
        dataset: that they are of.
        read: gives some of its rows, or raises what is wrong with them.
        rows: which ones.
    """

    dataset: h5py.Dataset
    read: Callable[[slice], NDArray[Any]]
    rows: range

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice) -> Stored:
        return replace(self, rows=self.rows[which])

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[Any]:
        return self.read(slice(self.rows.start, self.rows.stop))

    def chunk(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes | None:
        """The chunk that these rows are, as it lies in the file with its checksum.

        Returns:
            None where they are none like that, or it is damaged.
        """
        dataset, start = self.dataset, self.rows.start
        alike = dataset.chunks == shape and dataset.dtype == dtype and _is_plain(dataset)
        if not alike or start % shape[0] or len(self) != shape[0]:
            return None
        with phil:  # h5py takes it for all functions but the two of direct chunks
            skipped, data = dataset.id.read_direct_chunk((start, *(0 for _ in shape[1:])))
        values = np.frombuffer(data, np.uint8)[: -checksum.SIZE]
        intact = not skipped and checksum.fletcher32(values) == data[-checksum.SIZE :]
        return data if intact else None


def _is_plain(dataset: h5py.Dataset) -> bool:
    return bool(dataset.fletcher32) and dataset.id.get_create_plist().get_nfilters() == 1


def reserve(dataset: h5py.Dataset, spool: Spool, values: Sequence[Values]) -> list[Chunk]:
    """Have HDF5 make room for all chunks of a new dataset.

    Args:
        dataset: chunked, with fletcher32 and no other filter, in the file that `spool` takes.
        spool: where HDF5 writes.
        values: consecutive rows, part after part; together they fill the dataset.

    Returns:
        Its chunks, for `write` when the HDF5 file is closed.
    """
    shape, dtype, identifier = dataset.chunks, dataset.dtype, dataset.id
    placeholder = np.empty(math.prod(shape) * dtype.itemsize + checksum.SIZE, np.uint8)
    pieces = list(_split(values, shape[0]))
    origin = (0,) * (len(shape) - 1)
    with spool.reserving(placeholder) as places, phil:
        for number in range(len(pieces)):
            identifier.write_direct_chunk((number * shape[0], *origin), placeholder)
    return [
        Chunk(place, len(placeholder), parts, shape, dtype)
        for place, parts in zip(places, pieces, strict=True)
    ]


def _split(values: Sequence[Values], rows: int) -> Iterator[list[Values]]:
    """Consecutive rows, so many at a time; fewer at the end."""
    parts: list[Values] = []
    missing = rows
    for some in values:
        start = 0
        while start < len(some):
            part = some[start : start + missing]
            parts.append(part)
            start += len(part)
            missing -= len(part)
            if not missing:
                yield parts
                parts, missing = [], rows
    if parts:
        yield parts


def write(spool: Spool, chunks: Sequence[Chunk]) -> None:
    """Write chunks, each with its checksum, where they belong.

    Raises:
        OSError: the disk is full, or gone.
    """
    waiting: deque[tuple[list[Chunk], Future[list[Any]]]] = deque()

    def write_next() -> None:
        stretch, data = waiting.popleft()
        spool.put(data.result(), stretch[0].place)

    pool = ThreadPoolExecutor(1, "tensorview-insitu checksums")
    try:
        for stretch in _stretches(chunks):
            waiting.append((stretch, _start(pool, stretch)))
            while sum(chunk.size for some, _ in waiting for chunk in some) > _AHEAD_BYTES:
                write_next()
        while waiting:
            write_next()
    finally:
        pool.shutdown(cancel_futures=True)


def _stretches(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Chunks that lie side by side, about a megabyte of them at a time."""
    stretch: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if stretch and (size >= _TOGETHER_BYTES or chunk.place != stretch[0].place + size):
            yield stretch
            stretch, size = [], 0
        stretch.append(chunk)
        size += chunk.size
    if stretch:
        yield stretch


def _start(pool: ThreadPoolExecutor, stretch: list[Chunk]) -> Future[list[Any]]:
    try:
        return pool.submit(_fill, stretch)
    except RuntimeError:  # the interpreter is ending: no new threads
        done: Future[list[Any]] = Future()
        done.set_result(_fill(stretch))
        return done


def _fill(stretch: list[Chunk]) -> list[Any]:
    return [data for chunk in stretch for data in chunk.content()]
