"""Large arrays go to disk past HDF5: it says where their chunks lie, and we put them there.

HDF5 copies each chunk, computes its checksum and writes it, one after the other and with all other
Python threads waiting. Here nothing is copied that lies as it is to be written, and one thread
computes checksums while another writes. What is in the file is the same.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import h5py
import numpy as np
from h5py._objects import phil  # h5py's one lock: HDF5 lets in one thread at a time
from numpy.typing import NDArray

from tensorview_insitu.run import checksum
from tensorview_insitu.run.spool import Spool

_TOGETHER_BYTES = 1 << 20  # in one call to the system


class Values(Protocol):
    """Consecutive rows: an array, or what becomes one when it is written."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: slice, /) -> Any: ...

    def __array__(self) -> NDArray[Any]: ...


class Chunk(NamedTuple):  # there are many: a dataclass takes twice the time to make
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

    def content(self) -> NDArray[Any] | bytes:
        """Its values; or all that is written to its place, where that lies in another file already."""
        first = self.parts[0]
        copy = first.chunk(self.shape, self.dtype) if isinstance(first, Stored) else None
        return self._values() if copy is None else copy

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


def bytes_of(chunk: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """How many bytes of the file a chunk takes, its checksum among them."""
    return math.prod(chunk) * dtype.itemsize + checksum.SIZE


def placed(
    places: Sequence[int], values: Sequence[Values], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> list[Chunk]:
    """The chunks of a dataset, which HDF5 made room for.

    Args:
        places: of its chunks.
        values: its rows, part after part.
        shape: of a chunk.
        dtype: of the dataset.
    """
    size = bytes_of(shape, dtype)
    pieces = _split(values, shape[0])
    return [Chunk(place, size, parts, shape, dtype) for place, parts in zip(places, pieces, strict=True)]


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

    Two threads do it: while one writes, the other computes checksums.

    Raises:
        OSError: the disk is full, or gone.
    """
    if not chunks:
        return
    spool.allocate()
    waiting = deque(_stretches(chunks))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while (stretch := _taken_from(waiting)) is not None:
                _write_stretch(spool, stretch)
        except BaseException as error:
            waiting.clear()
            errors.append(error)

    helper = threading.Thread(target=work, name="tensorview-insitu chunks", daemon=True)
    with contextlib.suppress(RuntimeError):  # the interpreter is ending, or there are too many threads
        helper.start()
    work()
    while helper.is_alive():  # it must not outlive the file, not even after Ctrl-C
        try:
            helper.join()
        except BaseException as error:
            waiting.clear()
            errors.append(error)
    if errors:
        raise errors[0]


def _taken_from(waiting: deque[list[Chunk]]) -> list[Chunk] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _write_stretch(spool: Spool, stretch: Sequence[Chunk]) -> None:
    found = [chunk.content() for chunk in stretch]
    checksums = iter(checksum.fletcher32_of_each([each for each in found if isinstance(each, np.ndarray)]))
    data: list[Any] = []
    for each in found:
        data += [each] if isinstance(each, bytes) else [each, next(checksums)]
    spool.put(data, stretch[0].place, sum(chunk.size for chunk in stretch))


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
