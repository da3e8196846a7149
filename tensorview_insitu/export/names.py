"""File names for layers, whatever they are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_LONGEST = 80


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """A different file name for each name, on any file system: `base/conv:1` -> `base.conv_1`.

    A name that has to change too much, or that would meet another (also one that differs by case
    only), gets a short hash.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name.replace("/", ".")).strip(".")[:_LONGEST]
        if not safe or safe.lower() in taken or len(name) > _LONGEST:
            safe = f"{safe[: _LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")
        taken.add(safe.lower())
        chosen[name] = safe
    return chosen
