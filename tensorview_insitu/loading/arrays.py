"""Read a .npy file of numbers, after its header was held against what is wanted and what is stored."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tensorview_insitu.loading.plain_file import ForeignFileError, open_plain

# NumPy's own limit for headers that it parses.
_LONGEST_HEADER = 10_000


def read_array(path: Path, check_shape: Callable[[tuple[int, ...]], None]) -> NDArray[np.float32]:
    """The numbers of a .npy file.

    Args:
        path: the file.
        check_shape: raises when a shape is not wanted; called before anything is read.

    Raises:
        ForeignFileError: it is no .npy file, holds no real numbers or such that float32 cannot hold, or
            claims
            more than is stored.
        ValueError: of `check_shape`.
        OSError: it is missing or cannot be read.
    """
    with open_plain(path) as file:
        shape, dtype = _header(file, path)
        if dtype.kind not in "fiub":
            raise ForeignFileError(f"{path} holds values of type {dtype}. Expected an array of real numbers.")
        claimed = math.prod(shape) * dtype.itemsize
        stored = os.fstat(file.fileno()).st_size - file.tell()
        if claimed > stored:
            raise ForeignFileError(
                f"{path} claims {claimed:,} bytes of shape {shape}, but {stored:,} are stored."
            )
        check_shape(shape)
        file.seek(0)
        loaded = npy.read_array(file, allow_pickle=False)
    with np.errstate(over="ignore"):
        values = np.asarray(loaded, np.float32)
    if not np.isfinite(values).all():
        raise ForeignFileError(f"{path} holds values that are not finite as float32. Expected numbers only.")
    return values


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    try:
        version = npy.read_magic(file)
        start = file.tell()
        # NumPy would make room for what the header says of its length: four gigabytes in twelve bytes.
        (length,) = (
            struct.unpack("<H", file.read(2)) if version == (1, 0) else struct.unpack("<I", file.read(4))
        )
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header has {length:,} bytes")
        file.seek(start)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # what a damaged header makes Python's parser raise has no common type
        raise ForeignFileError(f"{path} is no NumPy array: {' '.join(str(error).split())[:200]}") from None
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ForeignFileError(f"{path} is no NumPy array: its shape is {shape}.")
    return shape, dtype
