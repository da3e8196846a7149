"""Segments: immutable HDF5 files, published by rename.

HDF5 never owns a file descriptor while training runs: a full disk is then an ordinary OSError
(an open HDF5 file would crash the interpreter when it exits), and nothing locks.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import datasets, layout, schema
from tensorview_insitu.run.errors import DAMAGE, NotARunError
from tensorview_insitu.run.examine import Version, examine, version_of
from tensorview_insitu.run.rows import Block, Rows, concatenate, together
from tensorview_insitu.run.spool import Spool

_CHUNK_BYTES = 1 << 18

# From this format on all of HDF5's own structures carry checksums too; HDF5 1.10 and later read it.
_LIBVER = ("v110", "v110")


def new_file(spool: Spool) -> h5py.File:
    """Begin an HDF5 file of a run."""
    # Chunks are written whole: HDF5 needs no cache for them.
    return h5py.File(spool, "w", libver=_LIBVER, rdcc_nbytes=0)


def content(blocks: Sequence[Block], run_id: str, first: int, last: int) -> Callable[[Spool], None]:
    """What writes a segment file out of consecutive blocks."""

    def write(spool: Spool) -> None:
        with new_file(spool) as file:
            mark(file, run_id, first, last)
            for name in dict.fromkeys(name for block in blocks for name in block):
                _add(file, name, [block[name] for block in blocks if name in block], spool)
                spool.check()

    return write


def _add(file: h5py.File, name: str, parts: Sequence[Rows], spool: Spool) -> None:
    attributes = together(parts)
    if "columns" in attributes:
        put(file, name, concatenate(parts))
        return
    steps = np.concatenate([part.steps for part in parts])
    dtype = np.result_type(*{part.values.dtype for part in parts})
    like = Rows(steps, parts[0].values[:0].astype(dtype), attributes)
    put_parts(file, name, like, (part.values for part in parts), spool)


def mark(file: h5py.File, run_id: str, first: int, last: int) -> None:
    """Write what kind of file this is, and which segments of which run it holds."""
    about = {"format": layout.FORMAT, "version": layout.VERSION, "run_id": run_id}
    datasets.describe(file.id, {**about, "first": first, "last": last})


def put(file: h5py.File, name: str, rows: Rows) -> None:
    """Write these rows as dataset `name`, whole."""
    datasets.write(_create(file, name, rows), rows.values)


def put_parts(
    file: h5py.File, name: str, like: Rows, parts: Iterable[np.ndarray[Any, Any]], spool: Spool
) -> None:
    """Write rows as dataset `name`, a few megabytes at a time.

    Args:
        file: where, by way of `spool`.
        name: its name.
        like: all its steps; attributes, dtype and shape of its rows.
        parts: its rows, part after part.
        spool: where HDF5 writes.

    Raises:
        OSError: the disk is full, or gone.
    """
    dataset = _create(file, name, like)
    if _chunk(like) is not None:  # else there is no value in it
        datasets.write_rows(dataset, parts, spool.check)


def _create(file: h5py.File, name: str, like: Rows) -> h5py.h5d.DatasetID:
    """Make dataset `name` for rows shaped and labelled like `like`, and write their steps."""
    shape = (len(like.steps), *like.values.shape[1:])
    made = datasets.create(file, name, shape, like.values.dtype, _chunk(like))
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


def open_part(path: Path) -> h5py.File:
    """Open one HDF5 file of a run for reading.

    Raises:
        NotARunError: it is none, or of a later format, or holds what no recorder writes.
        FileNotFoundError: it is gone.
    """
    version = examine(path)
    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        _refuse_replaced(path, version)
        raise NotARunError(f"Expected an HDF5 file of a run. Received: {path} ({error})") from error
    try:
        _refuse_replaced(path, version)
    except BaseException:
        file.close()
        raise
    return file


def _refuse_replaced(path: Path, version: Version) -> None:
    if version_of(path) != version:  # it went, and another came, while HDF5 opened it
        raise FileNotFoundError(errno.ENOENT, "replaced while it was opened", str(path))


def run_of(file: h5py.File) -> str:
    """The id of the run that a file belongs to."""
    return str(schema.attributes(file.id)["run_id"])


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
    return schema.attributes(file[name].id)


def steps_of(file: h5py.File, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The step of every row of dataset `name`.

    Raises:
        NotARunError: its bytes are damaged (checksum).
    """
    with _naming_what_is_damaged(file, name):
        if name == layout.STEPS:
            return schema.whole_numbers(file[name][:, 0], name, file.filename)
        return file[layout.steps_dataset(name)][:]  # type: ignore[no-any-return]


def read(file: h5py.File, name: str, rows: slice = slice(None)) -> Rows:
    """Rows of dataset `name`.

    Raises:
        NotARunError: its bytes are damaged (checksum).
    """
    with _naming_what_is_damaged(file, name):
        found = Rows(steps_of(file, name)[rows], file[name][rows], attributes(file, name))
        schema.check_rows(name, found, file.filename)
        return found


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
