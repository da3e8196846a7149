"""Where an older run stopped, so that a recorder can go on with it."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.identity import FINISHED
from tensorview_insitu.run.parts import open_parts
from tensorview_insitu.run.rows import Last


@dataclass(frozen=True)
class State:
    """Where a run stopped.

    Args:
        next_segment: the number of the next segment.
        step: its last step.
        epoch: its last whole epoch.
        sample: the last one that was predicted.
        rows: how many each dataset has.
        shapes: of one row of each dataset.
        snapshots: the last one of each variable, by dataset.
    """

    next_segment: int
    step: int
    epoch: int
    sample: int
    rows: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    snapshots: dict[str, Last]


def state_of(folder: Path) -> State:
    """Where the run in `folder` stopped; nobody may be writing it.

    The tail of a run whose process died becomes a segment: what it holds is to stay.

    Raises:
        NotARunError: something is wrong with it.
        OSError: the folder cannot be written.
    """
    for leftover in [*folder.glob(".*.tmp"), *(folder / layout.SEGMENT_FOLDER).glob(".*.tmp")]:
        leftover.unlink()
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        found.refuse()
    for part in found.parts:
        if part.is_tail:
            os.replace(part.path, layout.segment_file(folder, part.first, part.last))
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        rows: Counter[str] = Counter()
        shapes: dict[str, tuple[int, ...]] = {}
        snapshots: dict[str, Last] = {}
        step, epoch, sample = 0, 0, 0
        for file in found.in_order():
            for name in segment.dataset_names(file):
                count, *shape = file[name].shape
                rows[name] += count
                shapes[name] = tuple(shape)
                if count and name.startswith(f"{layout.PREDICTIONS}/"):
                    sample = max(sample, int(segment.steps_of(file, name)[-1]))
                if count and name.startswith(f"{layout.LAYERS}/"):
                    snapshots.pop(name, None)
                    with contextlib.suppress(NotARunError):  # damaged: it is not known
                        snapshots[name] = Last.of(segment.read(file, name, slice(count - 1, count)))
            step, epoch = max(step, _last_step(file)), max(epoch, _last_epoch(file))
        if layout.EPOCH_SCALARS not in rows:
            epoch = max([_last_epoch_of_steps(file, found.identity) for file in found.in_order()], default=0)
    ends = [part.last for part in found.parts] + [last for _, last in found.identity.get("lost", [])]
    return State(max(ends, default=-1) + 1, step, epoch, sample, dict(rows), shapes, snapshots)


def _last_step(file: h5py.File) -> int:
    steps = [segment.steps_of(file, name) for name in (layout.STEPS, layout.EPOCH_SCALARS) if name in file]
    return max((int(each[-1]) for each in steps if len(each)), default=0)


def _last_epoch(file: h5py.File) -> int:
    if layout.EPOCH_SCALARS not in file:
        return 0
    rows = segment.read(file, layout.EPOCH_SCALARS)
    column = list(rows.attributes["columns"]).index("epoch")
    return int(rows.values[-1, column]) if len(rows.steps) else 0


def _last_epoch_of_steps(file: h5py.File, identity: Mapping[str, Any]) -> int:
    """Of a run without metrics; an epoch that broke off is none."""
    count = len(file[layout.STEPS]) if layout.STEPS in file else 0
    if not count:
        return 0
    [row] = segment.values(file, layout.STEPS, slice(count - 1, count))
    last = dict(zip(layout.STEPS_COLUMNS, row, strict=True))
    length = identity.get("steps_per_epoch")
    whole = last["batch"] >= length if length else identity.get("status") == FINISHED
    return int(last["epoch"]) if whole else int(last["epoch"]) - 1
