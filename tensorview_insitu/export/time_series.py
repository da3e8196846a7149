"""Write a series of files as two ParaView collections: one timed by epoch, one by step."""

from __future__ import annotations

from collections.abc import Sequence

from tensorview_insitu.export.collection import write_collection
from tensorview_insitu.export.files import Target
from tensorview_insitu.index import Times, by_step

Moments = Sequence[tuple[float, float, str]]
"""`(epoch, step, name)` of files over time."""


def times_of(moments: Moments) -> Times:
    """When the files are."""
    return {"epochs": [epoch for epoch, _, _ in moments], "steps": [step for _, step, _ in moments]}


def write_time_series(target: Target, file: str, moments: Moments) -> str:
    """Write `file` (a .pvd) and the same timed by step beside it.

    Args:
        target: where to.
        file: relative to the target.
        moments: their names relative to the folder of `file`.

    Returns:
        `file`.
    """
    write_collection(target.path(file), [(epoch, name) for epoch, _, name in moments])
    write_collection(target.path(by_step(file)), [(step, name) for _, step, name in moments])
    return file
