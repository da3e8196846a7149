"""Loss and metrics over the epochs: tables, and the path (epoch, loss, metric) as poly lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.horizon import horizon_of
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.time_series import write_time_series
from tensorview_insitu.index import CurveIndex, MetricIndex, Range, TableIndex
from tensorview_insitu.run.reader import Run
from tensorview_insitu.text.array_names import array_name
from tensorview_insitu.text.percent import as_column

_NOT_METRICS = ("step", "epoch", "learning_rate")
_VALIDATION = "val_"
# The arrays that a curve has beside its metric.
_ARRAYS = ("epoch", "loss", "step", "share")


def export_tables(run: Run, target: Target) -> dict[str, TableIndex]:
    """Write tables/epochs.csv, epochs_normalised.csv, batches.csv, and those recorded on request."""
    tables = {}
    epochs = run.scalars("epoch")
    if len(epochs):
        tables["epochs"] = write_table(target.folder, "tables/epochs.csv", epochs)
        normalised = "tables/epochs_normalised.csv"
        tables["epochs_normalised"] = write_table(target.folder, normalised, normalise(epochs))
    batches = run.scalars("batch")
    if len(batches):
        tables["batches"] = write_table(target.folder, "tables/batches.csv", batches)
    on_request = {
        "update_norms": run.update_norms,
        "weight_norms": run.weight_norms,
        "dead_filters": run.dead_filters,
        "evaluations": run.evaluations,
    }
    for name, read in on_request.items():
        if len(table := read()):
            tables[name] = write_table(target.folder, f"tables/{name}.csv", table)
    return tables


def normalise(table: pd.DataFrame) -> pd.DataFrame:
    """Every column but step and epoch mapped linearly to 0..1 over its finite values."""
    result = table.copy()
    for column in [c for c in table.columns if c not in ("step", "epoch")]:
        low, high = finite_range(table[column])
        result[column] = (table[column] - low) / (high - low if high > low else 1.0)
    return result


def metrics_of(epochs: pd.DataFrame) -> list[MetricIndex]:
    """The metrics of the epochs, loss first, each with its training and validation column in the table."""
    columns = [c for c in epochs.columns if c not in _NOT_METRICS]
    names = list(dict.fromkeys(c.removeprefix(_VALIDATION) for c in columns))
    names.sort(key=lambda name: name != "loss")
    found: list[MetricIndex] = []
    for name in names:
        both = [c for c in (name, _VALIDATION + name) if c in columns]
        found.append(
            {
                "name": name,
                "training": as_column(name) if name in columns else None,
                "validation": as_column(_VALIDATION + name) if _VALIDATION + name in columns else None,
                "range": finite_range(*(epochs[c] for c in both)),
            }
        )
    return found


def export_curve(run: Run, target: Target, metrics: list[MetricIndex]) -> CurveIndex | None:
    """Write the path of training and validation, and where training is at each epoch.

    A run needs a finite loss and another metric for this; None without them.
    """
    loss = next((m for m in metrics if m["name"] == "loss" and m["training"]), None)
    other = next((m for m in metrics if m["name"] != "loss" and m["training"]), None)
    if loss is None or other is None:
        return None
    epochs = run.scalars("epoch")
    name = array_name(other["name"], _ARRAYS)
    training = _points(epochs, "loss", other["name"])
    if not len(_finite(training)):  # it diverged at once
        return None
    _write_line(target, "curves/training.vtp", training, name, epochs)
    validation_file, drawn = None, _finite(training)
    if loss["validation"] and other["validation"]:
        validation_file = "curves/validation.vtp"
        validation = _points(epochs, f"{_VALIDATION}loss", _VALIDATION + other["name"])
        _write_line(target, validation_file, validation, name, epochs)
        drawn = np.concatenate([drawn, _finite(validation)])
    return {
        "metric": name,
        "training": "curves/training.vtp",
        "validation": validation_file,
        "now": _write_now(target, training, name, epochs),
        "now_line": _write_now_line(target, epochs, name, loss["range"], other["range"]),
        # Of what is drawn: an epoch without a finite loss is not.
        "epoch_range": horizon_of(run).epoch_range(finite_range(drawn[:, 0])),
        "loss_range": finite_range(drawn[:, 1]),
        "training_loss_range": finite_range(epochs["loss"]),
        "metric_range": finite_range(drawn[:, 2]),
    }


def _points(epochs: pd.DataFrame, loss: str, metric: str) -> NDArray[np.float64]:
    return epochs[["epoch", loss, metric]].to_numpy(np.float64)


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    finite: NDArray[np.float64] = points[np.isfinite(points).all(axis=1)]
    return finite


def _write_line(target: Target, file: str, points: NDArray[Any], metric: str, epochs: pd.DataFrame) -> None:
    # A point that is not finite would take the whole scene's bounds with it: the line has a gap there.
    good = np.isfinite(points).all(axis=1)
    numbers = np.cumsum(good) - 1
    starts = np.flatnonzero(np.diff(np.concatenate([[False], good])))
    ends = np.flatnonzero(np.diff(np.concatenate([good, [False]]))) + 1
    pieces = [
        numbers[a:b] for a, b in zip(starts[good[starts]], ends[good[ends - 1]], strict=True) if b - a > 1
    ]
    write_poly_data(
        target.path(file),
        points[good],
        vertices=not pieces and bool(good.any()),
        lines=pieces,
        point_data=_arrays(points[good], metric, epochs["step"].to_numpy()[good]),
    )


def _write_now(target: Target, points: NDArray[Any], metric: str, epochs: pd.DataFrame) -> str:
    steps = epochs["step"].to_numpy()
    good = np.isfinite(points).all(axis=1)
    moments = []
    for i in spread(len(points)):
        # Once it diverged, the marker stays where the curve ends; before it begins, at its beginning.
        before = np.flatnonzero(good[: i + 1])
        at = before[-1] if len(before) else np.flatnonzero(good)[0]
        name = f"now_{steps[at]:07d}.vtp"
        if target.lacks(f"curves/{name}"):
            one = slice(at, at + 1)
            arrays = _arrays(points[one], metric, steps[one])
            write_poly_data(target.path(f"curves/{name}"), points[one], vertices=True, point_data=arrays)
        moments.append((float(points[i, 0]), float(steps[i]), name))
    return write_time_series(target, "curves/now.pvd", moments)


def _write_now_line(
    target: Target, epochs: pd.DataFrame, metric: str, loss_range: Range, metric_range: Range
) -> str:
    moments = []
    for i in spread(len(epochs)):
        epoch, step = float(epochs["epoch"].iloc[i]), int(epochs["step"].iloc[i])
        name = f"now_line_{step:07d}.vtp"
        write_poly_data(
            target.path(f"curves/{name}"),
            np.array([[epoch, 0.0, 0.0], [epoch, 1.0, 0.0]]),
            lines=[np.array([0, 1])],
            point_data={
                "epoch": np.full(2, epoch, np.float32),
                "loss": np.array(loss_range, np.float32),
                metric: np.array(metric_range, np.float32),
                "share": np.array([0.0, 1.0], np.float32),
            },
        )
        moments.append((epoch, float(step), name))
    return write_time_series(target, "curves/now_line.pvd", moments)


def _arrays(points: NDArray[Any], metric: str, steps: NDArray[Any]) -> dict[str, NDArray[Any]]:
    columns = points.T.astype(np.float32)
    return {"epoch": columns[0], "loss": columns[1], metric: columns[2], "step": steps.astype(np.int32)}
