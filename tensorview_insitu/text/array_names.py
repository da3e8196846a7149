"""Names of arrays in VTK's files: plain identifiers, because its writers escape nothing."""

from __future__ import annotations

import re
from collections.abc import Collection

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 60


def array_name(text: str, taken: Collection[str] = ()) -> str:
    """An identifier for any text, none of those `taken`: `top-5 accuracy` is `top_5_accuracy`."""
    plain = re.sub(r"\W+", "_", text, flags=re.ASCII)[:_LONGEST]
    plain = plain if _PLAIN.fullmatch(plain) else f"_{plain}"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name


def checked(name: str) -> str:
    """`name`.

    Raises:
        ValueError: it is no plain identifier.
    """
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"Expected a plain identifier as array name. Received: {name!r}.")
    return name
