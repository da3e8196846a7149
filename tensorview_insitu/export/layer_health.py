"""Layer x epoch heat maps: gradient, update, weight, dead filters, moving statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, spread
from tensorview_insitu.export.heat_map import write_heat_map, write_now_lines
from tensorview_insitu.export.horizon import horizon_of
from tensorview_insitu.export.layer import Norms
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.table import named_columns
from tensorview_insitu.index import HeatMapIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run

_MOST_EPOCHS = 500
_HEIGHT = 0.55
_Table = dict[str, NDArray[np.float64]]
"""A value for each epoch, by layer."""
_MOVING = ("/moving_mean", "/moving_variance")


def export_layer_health(
    parts: Parts,
    run: Run,
    target: Target,
    gradients: pd.DataFrame,
    updates: tuple[pd.DataFrame, pd.DataFrame],
    norms: Mapping[str, Norms],
    doubts: Mapping[str, str],
) -> tuple[list[HeatMapIndex], str | None]:
    """Write the heat maps that the run has numbers for, and a line at the current epoch.

    Args:
        parts: of the export: each map is one.
        run: the run.
        target: where to.
        gradients: the run's gradient norms.
        updates: its norms of updates, and of the weights before them.
        norms: of every variable that was exported, by `layer/name`.
        doubts: why some of these are not to be trusted, by the same names.
    """
    epochs = run.scalars("epoch")
    numbers = epochs["epoch"].to_numpy(np.int64) if len(epochs) else np.zeros(0, np.int64)
    kernels = {name: one for name, one in norms.items() if _is_kernel(name)}
    moving = {name: one for name, one in norms.items() if name.endswith(_MOVING)}
    of_updates = {**run.untrusted(layout.UPDATE_NORMS), **run.untrusted(layout.WEIGHT_NORMS)}
    by_step = layout.UPDATE_NORMS in run.datasets()
    moves = [move for one in kernels.values() for move in one.moves]
    if moves and not by_step and np.isnan(moves).all():
        parts.note(
            "how far an epoch moves the weights is not shown: no ends of two consecutive epochs are "
            "among the snapshots that are exported"
        )
    made: dict[str, tuple[Callable[[], _Table], Mapping[str, str]]] = {
        "log10_gradient_norm": (
            lambda: _mean_logs(gradients, numbers),
            run.untrusted(layout.GRADIENT_NORMS),
        ),
        "log10_update_to_weight": (lambda: _updates(*updates, numbers), of_updates),
        "log10_epoch_to_weight": (lambda: {} if by_step else _moves(kernels, numbers), doubts),
        "log10_weight_norm": (lambda: _norms_at(kernels, numbers), doubts),
        "dead_share": (lambda: _dead(run, numbers), run.untrusted(layout.DEAD_FILTERS)),
        "log10_moving": (lambda: _norms_at(moving, numbers), doubts),
    }
    maps = []
    for array, (read, doubted) in made.items():
        heat = parts.make(
            f"health/{array}",
            partial(_export_map, run, target, array, read, numbers, doubted),
            None,
            files=[f"layer_health/{array}*"],
        )
        maps += [heat] if heat is not None else []
    now = parts.make(
        "health/now",
        lambda: _write_now(target, epochs, numbers) if maps else None,
        None,
        files=["layer_health/now*"],
    )
    return (maps, now) if now is not None else ([], None)


def _export_map(
    run: Run,
    target: Target,
    array: str,
    read: Callable[[], _Table],
    numbers: NDArray[np.int64],
    doubts: Mapping[str, str],
) -> HeatMapIndex | None:
    table = read() if len(numbers) else {}
    # A row of nothing says nothing; one of zeros, whose logarithm is minus infinity, says that.
    columns = [name for name, values in table.items() if not np.isnan(values).all()]
    if not columns:
        return None
    shown = spread(len(numbers), _MOST_EPOCHS)
    # Of a training that runs, the epochs to come are grey; as many as the map has room for, whatever
    # `fit` or a stranger's run.json plans.
    planned = int(horizon_of(run).epochs)
    has_room = len(shown) == len(numbers) and planned <= _MOST_EPOCHS
    to_come = max(0, planned - int(numbers[-1])) if has_room else 0
    extent = (float(numbers[0]) - 0.5, float(numbers[-1]) + to_come + 0.5)
    values = np.column_stack([table[name][shown] for name in columns]).astype(np.float32)
    values = np.pad(values, [(0, to_come), (0, 0)], constant_values=np.nan)
    return write_heat_map(
        target, "layer_health", array, columns, values, extent, height=_HEIGHT, doubts=doubts
    )


def _write_now(target: Target, epochs: pd.DataFrame, numbers: NDArray[np.int64]) -> str:
    steps = epochs["step"].to_numpy(np.int64)
    return write_now_lines(target, "layer_health", numbers.astype(np.float64), steps, numbers)


def _norms_at(norms: Mapping[str, Norms], numbers: NDArray[np.int64]) -> _Table:
    return {name: _at_epochs(one, _log10(one.norms), numbers) for name, one in norms.items()}


def _is_kernel(name: str) -> bool:
    return name.endswith("kernel")


def _log10(values: Any) -> NDArray[np.float64]:
    """Of zero minus infinity: a zero is drawn as one, and not as if there were no number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: NDArray[np.float64] = np.log10(np.asarray(values, np.float64))
    return logs


def _mean_logs(table: pd.DataFrame, numbers: NDArray[np.int64]) -> _Table:
    """By kernel, the mean over each epoch's steps of the log10."""
    names = [name for name in named_columns(table) if _is_kernel(name)]
    if not len(table) or not names:
        return {}
    logs = pd.DataFrame(_log10(table[names].to_numpy()), columns=pd.Index(names))
    means = logs.groupby(table["epoch"].to_numpy()).mean().reindex(numbers)
    return {name: means[name].to_numpy(np.float64) for name in names}


def _updates(updates: pd.DataFrame, weights: pd.DataFrame, numbers: NDArray[np.int64]) -> _Table:
    """How far a step moves the weights, as a share of them."""
    if not len(updates):
        return {}
    weights = weights.set_index("step").reindex(updates["step"])  # their rows may be damaged
    names = [name for name in named_columns(updates) if name in weights]
    shares = updates[["step", "epoch", *names]].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        shares[names] = updates[names].to_numpy() / weights[names].to_numpy()
    return _mean_logs(shares, numbers)


def _moves(kernels: Mapping[str, Norms], numbers: NDArray[np.int64]) -> _Table:
    """How far an epoch moves the weights, as a share of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: _at_epochs(one, _log10(np.array(one.moves) / np.array(one.norms)), numbers)
            for name, one in kernels.items()
        }


def _at_epochs(norms: Norms, values: NDArray[np.float64], numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """The value of the last snapshot of each epoch; NaN where it has none."""
    filled = np.full(len(numbers), np.nan)
    epochs = np.ceil(np.array(norms.epochs) - 1e-9).astype(np.int64)
    places = np.searchsorted(numbers, epochs)
    for place, epoch, value in zip(places, epochs, values, strict=True):
        if place < len(numbers) and numbers[place] == epoch:
            filled[place] = value
    return filled


def _dead(run: Run, numbers: NDArray[np.int64]) -> _Table:
    table = run.dead_filters()
    if not len(table):
        return {}
    shapes = run.datasets()
    epochs = np.ceil(run.epochs_at(table["step"].to_numpy(np.int64)) - 1e-9).astype(np.int64)
    found = {}
    for layer, column in zip(run.activation_layers(), named_columns(table), strict=True):
        filters = shapes.get(layout.activation_dataset(layer, "statistics"), (0, 0, 0))[2]
        if filters:
            last = pd.Series(table[column].to_numpy(np.float64) / filters).groupby(epochs).last()
            found[layer] = np.asarray(last.reindex(numbers), np.float64)
    return found
