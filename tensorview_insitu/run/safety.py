"""Refuse an HDF5 file that reaches outside itself, or claims more than it can hold.

A run may come from a stranger. HDF5 follows links and external storage to any path that the reader may
read, and a file of some kilobytes can claim terabytes; a recorder writes none of these.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from tensorview_insitu.run.errors import DAMAGE, NotARunError

# The limits of Keras' own HDF5 reader (keras/src/saving/saving_lib.py, since 3.12).
_BOMB_FLOOR_BYTES = 4 << 30
_BOMB_EXPANSION = 1000

_checked: dict[Path, tuple[int, int, int]] = {}


def check(file: h5py.File, path: Path) -> None:
    """Raise unless everything in `file` is plain numbers inside it.

    A file that is as it was when it was last checked is not looked through again.

    Raises:
        NotARunError: with the object, and what is wrong with it.
    """
    status = path.stat()
    state = (status.st_ino, status.st_size, status.st_mtime_ns)
    if _checked.get(path) != state:
        _check_group(file, path, "", set())
        _checked[path] = state


def _check_group(group: h5py.Group, path: Path, prefix: str, seen: set[int]) -> None:
    # A hard link may lead back to a group that contains it.
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        raise NotARunError(f"{path}: group /{prefix} contains itself. No recorder wrote this file.")
    seen.add(address)
    for name in group:
        where = f"{prefix}{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise NotARunError(f"{path}: /{where} is a link to elsewhere. No recorder wrote this file.")
        try:
            item = group[name]
        except DAMAGE as error:
            raise NotARunError(f"{path}: /{where} is damaged: {error}") from error
        if isinstance(item, h5py.Group):
            _check_group(item, path, where + "/", seen)
        else:
            _check_dataset(item, path, where)


def _check_dataset(item: h5py.Dataset | h5py.Datatype, path: Path, where: str) -> None:
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
        raise NotARunError(f"{path}: /{where} holds no numbers. No recorder wrote this file.")
    if item.external or item.is_virtual:
        raise NotARunError(f"{path}: /{where} is stored in another file. No recorder wrote this file.")
    claimed, stored = item.size * item.dtype.itemsize, item.id.get_storage_size()
    if claimed > _BOMB_FLOOR_BYTES and claimed > _BOMB_EXPANSION * stored:
        raise NotARunError(f"{path}: /{where} claims {claimed / 1e9:.0f} GB, but {stored} bytes are stored.")
