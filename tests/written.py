"""Rows to write into runs, without a training."""

import numpy as np

from tensorview_insitu.run.rows import Rows


def block(first: int, last: int, epoch: int = 1):
    """Steps `first` to `last`: a table and a kernel whose values tell their step."""
    steps = np.arange(first, last + 1)
    table = np.column_stack([steps, np.full(len(steps), epoch), steps, steps * 0.5])
    kernel = np.broadcast_to(steps[:, None, None].astype(np.float32), (len(steps), 3, 2)).copy()
    kernel[0, 0, 0] = np.nan
    return {
        "steps": Rows(steps, table, {"columns": ["step", "epoch", "batch", "wall_time"]}),
        "scalars/batch": Rows(steps, table[:, 3:] * 2, {"columns": ["loss"]}),
        "layers/conv/kernel": Rows(
            steps, kernel, {"dims": ["snapshot", "position", "filter"], "filter_axis": 2}
        ),
    }
