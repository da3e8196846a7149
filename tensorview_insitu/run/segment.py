"""Segments: immutable HDF5 files, published by rename.

HDF5 never owns a file descriptor while training runs: a full disk is then an ordinary OSError
(an open HDF5 file would crash the interpreter when it exits), and nothing locks.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import chunks, datasets, layout
from tensorview_insitu.run.errors import DAMAGE, NotARunError
from tensorview_insitu.run.rows import Block, Rows, concatenate, together
from tensorview_insitu.run.safety import check
from tensorview_insitu.run.spool import Spool

_CHUNK_BYTES = 1 << 18
_LARGE_CHUNK_BYTES = 1 << 16

# From this format on all of HDF5's own structures carry checksums too; HDF5 1.10 and later read it.
LIBVER = ("v110", "v110")


def content(blocks: Sequence[Block], run_id: str, first: int, last: int) -> Callable[[Spool], None]:
    """What writes a segment file out of consecutive blocks."""

    def write(spool: Spool) -> None:
        large: list[chunks.Chunk] = []
        with h5py.File(spool, "w", libver=LIBVER) as file:
            mark(file, run_id, first, last)
            for name in dict.fromkeys(name for block in blocks for name in block):
                large += _add(file, name, [block[name] for block in blocks if name in block], spool)
        chunks.write(spool, large)

    return write


def _add(file: h5py.File, name: str, parts: Sequence[Rows], spool: Spool) -> list[chunks.Chunk]:
    """A dataset of these rows; the chunks that are still to be written to their places."""
    attributes = together(parts)
    if "columns" in attributes:
        put(file, name, concatenate(parts))
        return []
    steps = np.concatenate([part.steps for part in parts])
    dtype = np.result_type(*{part.values.dtype for part in parts})
    like = Rows(steps, parts[0].values[:0].astype(dtype), attributes)
    if is_large(like):
        return put_large(file, name, like, [part.values for part in parts], spool)
    put(file, name, concatenate(parts))
    return []


def mark(file: h5py.File, run_id: str, first: int, last: int) -> None:
    """Write what kind of file this is, and which segments of which run it holds."""
    about = {"format": layout.FORMAT, "version": layout.VERSION, "run_id": run_id}
    datasets.describe(file.id, {**about, "first": first, "last": last})


def is_large(rows: Rows) -> bool:
    """Whether the chunks of such rows, as many as there are steps, are worth writing past HDF5."""
    chunk = _chunk(rows)
    return chunk is not None and math.prod(chunk) * rows.values.dtype.itemsize >= _LARGE_CHUNK_BYTES


def put(file: h5py.File, name: str, rows: Rows) -> None:
    """Write these rows as dataset `name`, whole."""
    datasets.write(create(file, name, rows), rows.values)


def put_large(
    file: h5py.File, name: str, like: Rows, values: Sequence[chunks.Values], spool: Spool
) -> list[chunks.Chunk]:
    """Make dataset `name` for large rows.

    Args:
        file: where, by way of `spool`.
        name: its name.
        like: all its steps; attributes, dtype and shape of its rows.
        values: its rows, part after part.
        spool: where HDF5 writes.

    Returns:
        Its chunks, for `chunks.write` when the HDF5 file is closed.
    """
    chunk = _chunk(like)
    assert chunk is not None
    with spool.reserving(chunks.bytes_of(chunk, like.values.dtype)) as places:
        create(file, name, like, allocate=True)
    return chunks.placed(places, values, chunk, like.values.dtype)


def create(file: h5py.File, name: str, like: Rows, *, allocate: bool = False) -> h5py.h5d.DatasetID:
    """Make dataset `name` for rows shaped and labelled like `like`, and write their steps.

    Args:
        file: where.
        name: its name.
        like: all steps; attributes, dtype and shape of the rows.
        allocate: have HDF5 make room for all chunks at once.

    Returns:
        The dataset, without its rows.
    """
    shape = (len(like.steps), *like.values.shape[1:])
    made = datasets.create(file, name, shape, like.values.dtype, _chunk(like), allocate=allocate)
    datasets.describe(made, like.attributes)
    if name != layout.STEPS:
        _put_steps(file, layout.steps_dataset(name), like.steps)
    return made


def _put_steps(file: h5py.File, name: str, steps: NDArray[np.int64]) -> None:
    chunk = _chunk(Rows(steps, steps))
    datasets.write(datasets.create(file, name, steps.shape, steps.dtype, chunk), steps)


def _chunk(like: Rows) -> tuple[int, ...] | None:
    """The shape of its chunks."""
    rows, row = len(like.steps), like.values.shape[1:]
    if not rows or 0 in row:
        return None
    row_bytes = math.prod(row) * like.values.dtype.itemsize
    return (min(rows, max(1, _CHUNK_BYTES // row_bytes), 1024), *row)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def open_part(path: Path) -> h5py.File:
    """Open one HDF5 file of a run for reading.

    Raises:
        NotARunError: it is none, or of a later format, or holds what no recorder writes.
        FileNotFoundError: it is gone.
    """
    before = os.stat(path)
    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        after = os.stat(path)
        if (after.st_ino, after.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
            # It went, and another came, while HDF5 opened it: the error is of the old one.
            raise FileNotFoundError(errno.ENOENT, "replaced while it was opened", str(path)) from error
        raise NotARunError(f"Expected an HDF5 file of a run. Received: {path} ({error})") from error
    try:
        _check_kind(file, path)
        check(file, path)
    except (NotARunError, FileNotFoundError):
        file.close()
        raise
    except DAMAGE as error:
        file.close()
        raise NotARunError(f"{path} is damaged: {error}") from error
    return file


def run_of(file: h5py.File) -> str:
    """The id of the run that a file belongs to."""
    return str(_text(file.attrs["run_id"]))


def _check_kind(file: h5py.File, path: Path) -> None:
    about = {key: _text(file.attrs.get(key)) for key in ("format", "version", "run_id", "first", "last")}
    if about["format"] != layout.FORMAT or None in about.values():
        raise NotARunError(f"Expected an HDF5 file written by InSituRecorder. Received: {path}")
    if about["version"] > layout.VERSION:
        raise NotARunError(
            f"{path} is in format {about['version']}; this tensorview-insitu reads up to {layout.VERSION}. "
            "Install a newer one."
        )


def dataset_names(file: h5py.File) -> list[str]:
    """The datasets of a segment that hold rows, in the order in which they were made."""
    found: list[str] = []

    def visit(group: h5py.Group, prefix: str) -> None:
        for key, item in group.items():
            if isinstance(item, h5py.Group):
                visit(item, f"{prefix}{key}/")
            else:
                found.append(prefix + key)

    visit(file, "")
    labels = {layout.steps_dataset(name) for name in found}
    return [name for name in found if name not in labels]


def attributes(file: h5py.File, name: str) -> dict[str, Any]:
    """What dataset `name` says of itself."""
    return {key: _decoded(value) for key, value in file[name].attrs.items()}


def _decoded(value: Any) -> Any:
    value = _text(value)
    if isinstance(value, str) and value.startswith(("[", '"')):
        return json.loads(value)
    return value.item() if isinstance(value, np.generic) else value


def steps_of(file: h5py.File, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The step of every row of dataset `name`.

    Raises:
        NotARunError: its bytes are damaged (checksum).
    """
    with _naming_what_is_damaged(file, name):
        if name == layout.STEPS:
            return file[name][:, 0].astype(np.int64)  # type: ignore[no-any-return]
        return file[layout.steps_dataset(name)][:]  # type: ignore[no-any-return]


def read(file: h5py.File, name: str, rows: slice = slice(None)) -> Rows:
    """Rows of dataset `name`.

    Raises:
        NotARunError: its bytes are damaged (checksum).
    """
    with _naming_what_is_damaged(file, name):
        return Rows(steps_of(file, name)[rows], file[name][rows], attributes(file, name))


def values(file: h5py.File, name: str, rows: slice) -> np.ndarray[Any, np.dtype[Any]]:
    """Values of dataset `name`.

    Raises:
        NotARunError: its bytes are damaged (checksum).
    """
    with _naming_what_is_damaged(file, name):
        return file[name][rows]  # type: ignore[no-any-return]


@contextlib.contextmanager
def _naming_what_is_damaged(file: h5py.File, name: str) -> Iterator[None]:
    try:
        yield
    except NotARunError:  # it says so already
        raise
    except DAMAGE as error:
        raise NotARunError(f"Dataset /{name} of {file.filename} is damaged: {error}") from error


def read_all(path: Path, names: Iterable[str] | None = None) -> Mapping[str, Rows]:
    """Every dataset of one file, or those named."""
    with open_part(path) as file:
        return {name: read(file, name) for name in names or dataset_names(file)}
