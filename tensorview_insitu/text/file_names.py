"""File names for anything that has a name: different ones, on any file system, and never a way out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_LONGEST = 80
# On Windows no file can be called so, whatever its suffix.
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def safe_names(names: Iterable[str], reserved: str = "(?!)") -> dict[str, str]:
    """A different file name for each name, on any file system: `base/conv:1` -> `base.conv_1`.

    A name that has to change too much, or that would meet another (also one that differs by case
    only), gets a short hash.

    Args:
        names: what the files are of.
        reserved: a pattern of the file names that others have.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name.replace("/", ".")).strip(".-")[:_LONGEST].rstrip(".")
        device = safe.split(".")[0].upper() in _DEVICES
        is_taken = safe.lower() in taken or re.fullmatch(reserved, safe, re.IGNORECASE)
        if not safe or device or is_taken or len(name) > _LONGEST:
            mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            safe = f"{'_' * device}{safe[: _LONGEST - 10]}-{mark}".lstrip("-")
        taken.add(safe.lower())
        chosen[name] = safe
    return chosen


def checked(file: str) -> str:
    """`file`, relative to the folder of an export.

    Raises:
        ValueError: a part of it is no name that `safe_names` gives.
    """
    if not all(_COMPONENT.fullmatch(part) for part in file.split("/")):
        raise ValueError(f"Expected a plain path within the export. Received: {file!r}.")
    return file
