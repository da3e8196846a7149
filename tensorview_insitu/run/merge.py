"""Merge small segments, so that a long run never has more than about a hundred files."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.order import StepOrder
from tensorview_insitu.run.parts import Part, open_parts, segments
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.rows import Rows, join

FAN_IN = 16
_LARGEST_BYTES = 64 << 20


def merge_small(folder: Path, run_id: str, *, durable: bool = False) -> Part | None:
    """Merge the last sixteen segments into one when they are alike in width and small.

    The sources go only after the merged file was read back and found equal.

    Raises:
        NotARunError: one of them does not belong there, or is damaged, or one after them is missing.
        OSError: it could not be written; the sources are untouched.
    """
    last = segments(folder)[-FAN_IN:]
    widths = {part.last - part.first for part in last}
    if len(last) < FAN_IN or len(widths) > 1:
        return None
    if sum(part.path.stat().st_size for part in last) > _LARGEST_BYTES:
        return None
    whole = join(_read(folder, last))
    merged = Part(layout.segment_file(folder, last[0].first, last[-1].last), last[0].first, last[-1].last)
    publish(merged.path, segment.content([whole], run_id, merged.first, merged.last), durable=durable)
    if not _same(segment.read_all(merged.path), whole):
        merged.path.unlink()
        raise OSError(f"{merged.path} does not read back as it was written")
    for part in last:
        with contextlib.suppress(OSError):
            part.path.unlink()
    return merged


def _read(folder: Path, sources: list[Part]) -> list[dict[str, Rows]]:
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        # Damage that lies before them costs only what it hit.
        for path, problem in found.problems.items():
            if path in {part.path for part in sources}:
                raise NotARunError(problem)
        for span in found.missing:
            if span[1] >= sources[0].first:
                raise NotARunError(found.lacking()[layout.segment_file(folder, *span)])
        blocks, steps = [], StepOrder()
        for part in sources:
            file = found.files[part.path]
            block = {name: segment.read(file, name) for name in segment.dataset_names(file)}
            for name, rows in block.items():
                steps.check(file, name, rows.steps)
            blocks.append(block)
        return blocks


def _same(one: Mapping[str, Rows], other: Mapping[str, Rows]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name].values, rows.values, equal_nan=True)
        and np.array_equal(one[name].steps, rows.steps)
        and one[name].attributes.get("columns") == rows.attributes.get("columns")
        for name, rows in other.items()
    )
