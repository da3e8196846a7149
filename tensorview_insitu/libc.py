"""Two calls of the C library that Python does not offer; where it lacks them, nothing happens."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def allocate(descriptor: int, size: int) -> None:
    """Ask the disk for room for a file of so many bytes at once; writing then costs less.

    Where it has no room, or cannot do that, nothing is said: writing will tell. This is not
    `os.posix_fallocate`, which writes into every block where a file system cannot.
    """
    if (fallocate := _found("fallocate")) is not None:
        fallocate(descriptor, 0, ctypes.c_long(0), ctypes.c_long(size))


def give_memory_back() -> None:
    """Give the system what was freed between things that are still used."""
    if (malloc_trim := _found("malloc_trim")) is not None:
        malloc_trim(ctypes.c_size_t(0))


@cache
def _found(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
