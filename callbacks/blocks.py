"""From what a tap drained to the rows of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Block, Rows, concatenate

from .arrays import to_numpy
from .quantities import GradientNorms, Metrics, Quantity
from .taps.tap import Drained, DrainedUpdates, Piece


def step_rows(table: NDArray[np.float64]) -> Rows:
    """The rows of `/steps`, from `Clock.rows`."""
    return Rows(table[:, 0].astype(np.int64), table, {"columns": list(layout.STEPS_COLUMNS)})


def table_rows(steps: NDArray[np.int64], columns: Sequence[str], values: NDArray[Any]) -> Rows:
    """The rows of a table."""
    return Rows(steps, values, {"columns": list(columns)})


def piece_rows(piece: Piece, steps: NDArray[np.int64], values: NDArray[Any]) -> Rows:
    """The rows of copies of one piece."""
    shaped = np.asarray(values, np.float32).reshape(len(steps), *piece.shape)
    with np.errstate(over="ignore"):  # in float16 what is too large is infinite
        return Rows(steps, shaped.astype(piece.dtype, copy=False), dict(piece.attributes))


def copied_now(pieces: Sequence[Piece], step: int) -> dict[str, Rows]:
    """Copies of the pieces as they are at this moment."""
    at = np.array([step], np.int64)
    return {p.dataset: piece_rows(p, at, to_numpy(p.value())) for p in pieces}


def drained_rows(
    drained: Drained, quantities: Sequence[Quantity], steps: NDArray[np.int64], *, epoch: int, epoch_end: bool
) -> Block:
    """All rows that came out of a tap.

    Args:
        drained: what came out.
        quantities: what is recorded, and when.
        steps: `(count,)`, the steps of its calls.
        epoch: the epoch that they belong to.
        epoch_end: whether the last of them is the last of it.
    """
    block: dict[str, Rows] = {}
    for quantity in quantities:
        if isinstance(quantity, Metrics) and drained.metric_names:
            mask = _kept(quantity, steps, epoch, epoch_end=epoch_end)
            values = drained.metrics[mask].astype(np.float64)
            block[layout.BATCH_SCALARS] = table_rows(steps[mask], drained.metric_names, values)
        if isinstance(quantity, GradientNorms) and drained.variable_names:
            mask = _kept(quantity, steps, epoch, epoch_end=epoch_end)
            norms = drained.gradient_norms[mask]
            block[layout.GRADIENT_NORMS] = table_rows(steps[mask], drained.variable_names, norms)
    for copies in drained.copies:
        start = 0
        for piece in copies.pieces if len(copies.steps) else ():
            rows = piece_rows(piece, copies.steps, copies.values[:, start : start + piece.size])
            start += piece.size
            before = [block[piece.dataset]] if piece.dataset in block else []
            block[piece.dataset] = concatenate([*before, rows])
    for updates in drained.updates:
        if len(updates.steps):
            block.update(_update_rows(updates))
    return block


def _kept(quantity: Quantity, steps: NDArray[np.int64], epoch: int, *, epoch_end: bool) -> NDArray[np.bool_]:
    schedule = quantity.schedule
    if schedule.by_step:
        return schedule.due(steps)
    mask = np.zeros(len(steps), bool)
    mask[-1:] = epoch_end and schedule.due_at_end_of(epoch)
    return mask


def _update_rows(updates: DrainedUpdates) -> Block:
    steps, values = updates.steps, updates.values
    if updates.taking == "update_norms":
        names = [v.path for v in updates.variables]
        return {
            layout.UPDATE_NORMS: table_rows(steps, names, values[:, 0::2]),
            layout.WEIGHT_NORMS: table_rows(steps, names, values[:, 1::2]),
        }
    block: dict[str, Rows] = {}
    start = 0
    for v in updates.variables:
        shape, dims, filter_axis = tuple(v.variable.shape), v.dims, v.filter_axis
        name = layout.gradient_dataset(v.layer, v.name)
        if updates.taking == "filter_gradient_norms":
            shape, dims, filter_axis = (shape[filter_axis],), ("filter",), 0
            name = layout.filter_gradient_dataset(v.layer, v.name)
        size = int(np.prod(shape))
        about = {"dims": ["snapshot", *dims], "filter_axis": 1 + filter_axis}
        rows = Rows(steps, values[:, start : start + size].reshape(-1, *shape), about)
        block[name] = rows
        start += size
    return block
