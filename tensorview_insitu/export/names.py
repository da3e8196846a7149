"""File names for layers, whatever they are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_LONGEST = 80
# On Windows no file can be called so, whatever its suffix.
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """A different file name for each name, on any file system: `base/conv:1` -> `base.conv_1`.

    A name that has to change too much, or that would meet another (also one that differs by case
    only), gets a short hash.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name.replace("/", ".")).strip(".")[:_LONGEST]
        device = safe.split(".")[0].upper() in _DEVICES
        if not safe or device or safe.lower() in taken or len(name) > _LONGEST:
            mark = hashlib.sha256(name.encode()).hexdigest()[:8]
            safe = f"{'_' * device}{safe[: _LONGEST - 9]}-{mark}".lstrip("-")
        taken.add(safe.lower())
        chosen[name] = safe
    return chosen
