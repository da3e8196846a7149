"""Where an older run stopped, so that a recorder can go on with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.parts import current_parts


@dataclass(frozen=True)
class State:
    """Where a run stopped.

    Args:
        next_segment: the number of the next segment.
        step: its last step.
        epoch: its last whole epoch.
    """

    next_segment: int
    step: int
    epoch: int


def state_of(folder: Path) -> State:
    """Where the run in `folder` stopped; nobody may be writing it.

    The tail of a run whose process died becomes a segment: what it holds is to stay.

    Raises:
        NotARunError: a file of it is damaged.
        OSError: the folder cannot be written.
    """
    for leftover in [*folder.glob(".*.tmp"), *(folder / layout.SEGMENT_FOLDER).glob(".*.tmp")]:
        leftover.unlink()
    number, step, epoch = 0, 0, 0
    for part in current_parts(folder):
        if part.path.name == layout.TAIL_FILE:
            os.replace(part.path, layout.segment_file(folder, part.first, part.last))
        number = max(number, part.last + 1)
    for part in current_parts(folder):
        with segment.open_part(part.path) as file:
            for name in (layout.STEPS, layout.EPOCH_SCALARS):
                rows = segment.read(file, name) if name in file else None
                if rows is None or not len(rows.steps):
                    continue
                step = max(step, int(rows.steps[-1]))
                if name == layout.EPOCH_SCALARS:
                    column = list(rows.attributes["columns"]).index("epoch")
                    epoch = max(epoch, int(rows.values[-1, column]))
    return State(number, step, epoch)
