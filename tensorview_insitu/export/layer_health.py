"""Layer x epoch heat maps: gradient, update, weight, dead filters, moving statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, spread
from tensorview_insitu.export.heat_map import write_heat_map, write_now_lines
from tensorview_insitu.export.horizon import horizon_of
from tensorview_insitu.export.layer import Norms
from tensorview_insitu.export.table import named_columns
from tensorview_insitu.index import HeatMapIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run

_MOST_EPOCHS = 500
_HEIGHT = 0.55
_MOVING = ("/moving_mean", "/moving_variance")


def export_layer_health(
    run: Run, target: Target, gradients: pd.DataFrame, norms: Mapping[str, Norms]
) -> tuple[list[HeatMapIndex], str | None]:
    """Write the heat maps that the run has numbers for, and a line at the current epoch.

    Args:
        run: the run.
        target: where to.
        gradients: the run's gradient norms.
        norms: of every variable that was exported, by `layer/name`.
    """
    epochs = run.scalars("epoch")
    if not len(epochs):
        return [], None
    numbers = epochs["epoch"].to_numpy(np.int64)
    tables = {
        "log10_gradient_norm": _mean_logs(gradients, numbers),
        "log10_update_to_weight": _updates(run, norms, numbers),
        "log10_weight_norm": {
            name: _at_epochs(n, _log10(n.norms), numbers) for name, n in norms.items() if _is_kernel(name)
        },
        "dead_share": _dead(run, numbers),
        "log10_moving": {
            name: _at_epochs(n, _log10(n.norms), numbers)
            for name, n in norms.items()
            if name.endswith(_MOVING)
        },
    }
    shown = spread(len(numbers), _MOST_EPOCHS)
    # Of a training that runs, the epochs to come are grey.
    to_come = max(0, int(horizon_of(run).epochs) - int(numbers[-1])) if len(shown) == len(numbers) else 0
    extent = (float(numbers[0]) - 0.5, float(numbers[-1]) + to_come + 0.5)
    maps = []
    for array, table in tables.items():
        # A row without any number says nothing.
        columns = [name for name, values in table.items() if np.isfinite(values).any()]
        if columns:
            values = np.column_stack([table[name][shown] for name in columns]).astype(np.float32)
            values = np.pad(values, [(0, to_come), (0, 0)], constant_values=np.nan)
            maps.append(
                write_heat_map(target, "layer_health", array, columns, values, extent, height=_HEIGHT)
            )
    if not maps:
        return [], None
    steps = epochs["step"].to_numpy(np.int64)
    return maps, write_now_lines(target, "layer_health", numbers.astype(np.float64), steps, numbers)


def _is_kernel(name: str) -> bool:
    return name.endswith("kernel")


def _log10(values: Any) -> NDArray[np.float64]:
    """NaN where there is no logarithm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: NDArray[np.float64] = np.log10(np.asarray(values, np.float64))
    logs[~np.isfinite(logs)] = np.nan
    return logs


def _mean_logs(table: pd.DataFrame, numbers: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """By kernel, the mean over each epoch's steps of the log10."""
    names = [name for name in named_columns(table) if _is_kernel(name)]
    if not len(table) or not names:
        return {}
    logs = pd.DataFrame(_log10(table[names].to_numpy()), columns=pd.Index(names))
    means = logs.groupby(table["epoch"].to_numpy()).mean().reindex(numbers)
    return {name: means[name].to_numpy(np.float64) for name in names}


def _updates(
    run: Run, norms: Mapping[str, Norms], numbers: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """How far a step moves the weights, as a share of them; without `UpdateNorms`, how far an epoch does."""
    updates, weights = run.update_norms(), run.weight_norms()
    if len(updates):
        weights = weights.set_index("step").reindex(updates["step"])  # their rows may be damaged
        names = [name for name in named_columns(updates) if name in weights]
        shares = updates[["step", "epoch", *names]].copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            shares[names] = updates[names].to_numpy() / weights[names].to_numpy()
        return _mean_logs(shares, numbers)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: _at_epochs(n, _log10(np.array(n.moves) / np.array(n.norms)), numbers)
            for name, n in norms.items()
            if _is_kernel(name)
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


def _dead(run: Run, numbers: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
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
