"""Datasets and what they say of themselves, by h5py's low-level functions (https://api.h5py.org).

The high-level ones take four to eight times as long, and a training waits for Python's lock meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5p, h5s, h5t
from numpy.typing import NDArray


def create(
    file: h5py.File,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunk: tuple[int, ...] | None,
) -> h5d.DatasetID:
    """Make a dataset.

    Args:
        file: where.
        name: its path; groups are made on the way.
        shape: of the dataset.
        dtype: of its values.
        chunk: shape of its chunks, which carry fletcher32; None: it has none, and no checksum.

    Returns:
        It; write it with `write`.
    """
    how = h5p.create(h5p.DATASET_CREATE)
    how.set_obj_track_times(False)
    if chunk is not None:
        how.set_chunk(chunk)
        how.set_fletcher32()
    space = h5s.create_simple(shape)
    return h5d.create(file.id, name.encode(), h5t.py_create(dtype, logical=True), space, how, _links())


@cache
def _links() -> h5p.PropLCID:
    links = h5p.create(h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    links.set_char_encoding(h5t.CSET_UTF8)
    return links


def write(dataset: h5d.DatasetID, values: NDArray[Any]) -> None:
    """Write all values of a dataset."""
    if values.size:
        dataset.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(values))


def write_rows(dataset: h5d.DatasetID, parts: Iterable[NDArray[Any]], check: Callable[[], None]) -> None:
    """Write consecutive rows of a dataset, whole chunks at a time; those that lie together are not copied.

    Args:
        dataset: with chunks.
        parts: its rows, part after part; each is taken when the one before is written.
        check: called after each piece; raises if it is no use to go on.
    """
    place = dataset.get_space()
    written = 0
    for piece in whole_chunks(parts, dataset.get_create_plist().get_chunk()[0]):
        place.select_hyperslab((written, *(0 for _ in piece.shape[1:])), piece.shape)
        values = np.ascontiguousarray(piece, dataset.dtype)  # HDF5 would convert bit by bit
        dataset.write(h5s.create_simple(piece.shape), place, values)
        written += len(piece)
        check()


def whole_chunks(parts: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """Consecutive rows, in pieces of a multiple of so many; fewer at the end."""
    begun: list[NDArray[Any]] = []
    missing = rows
    for part in parts:
        start = 0
        while start < len(part):
            left = len(part) - start
            count = left - left % rows if not begun and left >= rows else min(missing, left)
            piece = part[start : start + count]
            start += count
            if count >= rows:
                yield piece
                continue
            begun.append(piece)
            missing -= count
            if not missing:
                yield np.concatenate(begun)
                begun, missing = [], rows
    if begun:
        yield np.concatenate(begun)


def describe(thing: h5f.FileID | h5d.DatasetID, attributes: Mapping[str, Any]) -> None:
    """Give a file or a dataset its attributes: texts, numbers; lists as JSON, as texts that look like it."""
    for key, value in attributes.items():
        text = json.dumps(value) if isinstance(value, list | tuple) or _is_odd(value) else value
        if isinstance(text, str):
            encoded = text.encode()
            # Of fixed length: h5py's own strings lie in a heap that has no checksum.
            data = np.array(encoded, f"S{max(1, len(encoded))}")
            kind = _text(data.dtype.itemsize)
        else:
            data = np.asarray(value)
            kind = h5t.py_create(data.dtype, logical=True)
        space = h5s.create_simple(data.shape) if data.shape else h5s.create(h5s.SCALAR)
        h5a.create(thing, key.encode(), kind, space).write(data, mtype=kind)


def _is_odd(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(("[", '"')) or not value.isprintable())


def _text(size: int) -> h5t.TypeStringID:
    kind = h5t.C_S1.copy()
    kind.set_size(size)
    kind.set_cset(h5t.CSET_UTF8)
    kind.set_strpad(h5t.STR_NULLPAD)
    return kind
