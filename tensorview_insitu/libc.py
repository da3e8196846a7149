"""A call of the C library that Python does not offer; where it is missing, nothing happens."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_memory_back() -> None:
    """Give the system what was freed between things that are still used."""
    if (malloc_trim := _malloc_trim()) is not None:
        malloc_trim(ctypes.c_size_t(0))


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows knows no CDLL(None)
        return None
