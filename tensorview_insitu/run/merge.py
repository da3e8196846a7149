"""Merge small segments, so that a long run never has more than about a hundred files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.parts import Part, segments
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.rows import join

FAN_IN = 16
_LARGEST_BYTES = 64 << 20


def merge_small(folder: Path, run_id: str, *, durable: bool = False) -> Part | None:
    """Merge the last sixteen segments into one when they are alike in width and small.

    The sources go only after the merged file was read back and found equal.

    Raises:
        OSError: it could not be written; the sources are untouched.
    """
    last = segments(folder)[-FAN_IN:]
    widths = {part.last - part.first for part in last}
    if len(last) < FAN_IN or len(widths) > 1:
        return None
    if sum(part.path.stat().st_size for part in last) > _LARGEST_BYTES:
        return None
    whole = join([segment.read_all(part.path) for part in last])
    merged = Part(layout.segment_file(folder, last[0].first, last[-1].last), last[0].first, last[-1].last)
    publish(merged.path, segment.content([whole], run_id, merged.first, merged.last), durable=durable)
    back = segment.read_all(merged.path)
    for name, rows in whole.items():
        if not np.array_equal(back[name].values, rows.values, equal_nan=True):
            merged.path.unlink()
            raise OSError(f"{merged.path} does not read back as it was written")
    for part in last:
        with contextlib.suppress(OSError):
            part.path.unlink()
    return merged
