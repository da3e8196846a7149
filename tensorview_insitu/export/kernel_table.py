"""One kernel in long form, for those who work with tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tensorview_insitu.export.files import Target
from tensorview_insitu.export.pieces import Pieces
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.trust import doubt_of_variables
from tensorview_insitu.index import TableIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run
from tensorview_insitu.text.array_names import array_name

_MOST_TABLE_ROWS = 1_000_000


def export_kernel_table(
    run: Run, target: Target, layer: str, variable: str, file: str, every: int
) -> tuple[TableIndex, str | None]:
    """Write one kernel in long form: epoch, filter, channel, row, column, ..., weight.

    Returns:
        What the table holds, and a note when it was cut at a million rows.
    """
    frames, rows, note = [], 0, None
    for snapshots in Pieces(run, layer, variable, every):
        axes = np.indices(snapshots.values.shape).reshape(snapshots.values.ndim, -1)
        columns: dict[str, Any] = {
            "step": snapshots.steps[axes[0]],
            "epoch": snapshots.epochs[axes[0]],
        }
        for axis, dim in list(enumerate(snapshots.dims))[1:]:
            columns[array_name(dim, {"weight", *columns})] = axes[axis]
        frame = pd.DataFrame({**columns, "weight": snapshots.values.ravel()})
        frames.append(frame.iloc[: max(0, _MOST_TABLE_ROWS - rows)])
        rows += len(frame)
    if rows > _MOST_TABLE_ROWS:
        note = (
            f"{file} was cut at {_MOST_TABLE_ROWS} of {rows} rows; --every n exports fewer snapshots, "
            "and the image data and the run hold all of them"
        )
    dataset = layout.variable_dataset(layer, variable)
    doubt = doubt_of_variables(run, {"weight": dataset})
    return write_table(target, file, pd.concat(frames), doubt), note
