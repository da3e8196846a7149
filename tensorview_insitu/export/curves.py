"""Loss and metrics over the epochs: tables, and the path (epoch, loss, metric) as poly lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.dashes import unbroken, write_dashes
from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.horizon import horizon_of
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.time_series import write_time_series
from tensorview_insitu.export.trust import doubts_of, marked
from tensorview_insitu.index import CurveIndex, MetricIndex, Range, TableIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.reader import Run
from tensorview_insitu.text.array_names import array_name
from tensorview_insitu.text.percent import as_column

_NOT_METRICS = ("step", "epoch", "learning_rate")
_LEARNING_RATES = "learning_rate/"  # of several optimizers
_VALIDATION = "val_"
# Tables that are called otherwise than the dataset that they are of.
_DATASETS = {
    "epochs": layout.EPOCH_SCALARS,
    "epochs_normalised": layout.EPOCH_SCALARS,
    "batches": layout.BATCH_SCALARS,
    "evaluations": layout.EVALUATE_SCALARS,
}
_LARGEST = float(np.finfo(np.float32).max)
# The arrays that a curve has beside its metric.
_ARRAYS = ("epoch", "loss", "step", "share")


def export_tables(
    parts: Parts, run: Run, target: Target, recorded: Mapping[str, Callable[[], pd.DataFrame]]
) -> dict[str, TableIndex]:
    """Write tables/epochs.csv, epochs_normalised.csv, batches.csv, ..., and why which columns are in doubt.

    Args:
        parts: of the export.
        run: the run.
        target: where to.
        recorded: reads each table, by its name.
    """

    def write(name: str, read: Callable[[], pd.DataFrame], dataset: str) -> TableIndex | None:
        table = read()
        doubts = run.untrusted(dataset)
        return write_table(target, f"tables/{name}.csv", table, doubts) if len(table) else None

    found = {}
    for name, read in {**recorded, "not_trusted": lambda: doubts_of(run)}.items():
        dataset = _DATASETS.get(name, name)
        made = parts.make(
            f"tables/{name}", partial(write, name, read, dataset), None, files=[f"tables/{name}.csv"]
        )
        if made is not None:
            found[name] = made
    return found


def normalise(table: pd.DataFrame) -> pd.DataFrame:
    """Every column but step and epoch mapped linearly to 0..1 over its finite values."""
    result = table.copy()
    for column in [c for c in table.columns if c not in ("step", "epoch")]:
        low, high = finite_range(table[column])
        result[column] = (table[column] - low) / (high - low if high > low else 1.0)
    return result


def is_metric(column: str) -> bool:
    """Whether a column of the epochs is a metric, and not a clock or a learning rate."""
    return column not in _NOT_METRICS and not column.startswith(_LEARNING_RATES)


def validation_columns(
    epochs: pd.DataFrame, batches: Collection[str] = (), recorded: Collection[str] | None = None
) -> set[str]:
    """The columns of the epochs that are of a validation: not all that begin with `val_`.

    An output may be called `val`; then `val_loss` is the loss of a training.

    Args:
        epochs: the table.
        batches: the columns of the batches, which are all of the training.
        recorded: what Keras called the metrics of a validation; None in a run that does not tell.
    """
    named = [str(c) for c in epochs.columns if is_metric(str(c)) and str(c).startswith(_VALIDATION)]
    of_training = {column.removeprefix("running/") for column in batches}
    # A callback may add what it has computed of a validation. Only beside columns of the batches can it be
    # told from an output's.
    others = of_training or recorded is None
    return {c for c in named if c in (recorded or ()) or (others and c not in of_training)}


def validation_of(run: Run, epochs: pd.DataFrame) -> set[str]:
    """The columns of a run's epochs that are of a validation."""
    batches: Collection[str] = ()
    with contextlib.suppress(NotARunError):  # the table is damaged, which is told elsewhere
        batches = list(map(str, run.scalars("batch").columns))
    return validation_columns(epochs, named_in(batches), run.identity.get("validation"))


def named_in(columns: Collection[str]) -> list[str]:
    """Those of the columns of the batches that are metrics."""
    return [c for c in columns if is_metric(c) and c not in ("batch", "wall_time")]


def metrics_of(
    epochs: pd.DataFrame, doubts: Collection[str] = (), validation: Collection[str] | None = None
) -> list[MetricIndex]:
    """The metrics of the epochs, loss first, each with its training and validation column in the table.

    Args:
        epochs: the table.
        doubts: the columns that are not to be trusted.
        validation: the columns that are of a validation; None takes all that begin with `val_`.
    """
    columns = [str(c) for c in epochs.columns if is_metric(str(c))]
    validation = validation_columns(epochs) if validation is None else validation
    name_of = {c: c.removeprefix(_VALIDATION) if c in validation else c for c in columns}
    names = sorted(dict.fromkeys(name_of.values()), key=lambda name: name != "loss")
    found: list[MetricIndex] = []
    for name in names:
        held = {"validation" if c in validation else "training": c for c in columns if name_of[c] == name}
        held = dict(sorted(held.items()))
        in_file = {kind: as_column(marked(column, doubts)) for kind, column in held.items()}
        found.append(
            {
                "name": name,
                "training": in_file.get("training"),
                "validation": in_file.get("validation"),
                "untrusted": [kind for kind, column in held.items() if column in doubts],
                "lone": [kind for kind, column in held.items() if has_lone(epochs[column])],
                "range": finite_range(*(epochs[column] for column in held.values())),
            }
        )
    return found


def has_lone(values: pd.Series) -> bool:
    """Whether a finite value has none beside it, as where a validation is due every second epoch."""
    return _has_lone(np.isfinite(values.to_numpy(np.float64)))


def _has_lone(good: NDArray[np.bool_]) -> bool:
    good = np.concatenate([[False], good, [False]])
    return bool(np.any(good[1:-1] & ~good[:-2] & ~good[2:]))


def export_curve(
    run: Run, target: Target, metrics: list[MetricIndex], note: Callable[[str], None]
) -> CurveIndex | None:
    """Write the path of training and validation, and where training is at each epoch.

    A run needs a finite loss and another metric for this; None without them.

    Args:
        run: the run.
        target: where to.
        metrics: of its epochs.
        note: takes what is not drawn, in a sentence.
    """
    loss = next((m for m in metrics if m["name"] == "loss" and m["training"]), None)
    other = next((m for m in metrics if m["name"] != "loss" and m["training"]), None)
    if loss is None or other is None:
        return None
    epochs = run.scalars("epoch")
    name = array_name(other["name"], _ARRAYS)
    columns = {"training": ("loss", other["name"])}
    if loss["validation"] and other["validation"]:
        columns["validation"] = (f"{_VALIDATION}loss", _VALIDATION + other["name"])
    points = {kind: _points(epochs, both, note) for kind, both in columns.items()}
    if not len(_finite(points["training"])):  # it diverged at once
        return None
    doubts = run.untrusted(layout.EPOCH_SCALARS)
    dashes = {}
    for kind, both in columns.items():
        _write_line(target, f"curves/{kind}.vtp", points[kind], name, epochs)
        if not doubts.keys().isdisjoint(both):
            dashes[kind] = f"curves/{kind}_dashes.vtp"
            write_dashes(target.path(dashes[kind]), points[kind], ("epoch", "loss", name))
    drawn = np.concatenate([_finite(one) for one in points.values()])
    return {
        "metric": name,
        "training": "curves/training.vtp",
        "validation": "curves/validation.vtp" if "validation" in columns else None,
        "dashes": dashes,
        "untrusted": [column for both in columns.values() for column in both if column in doubts],
        "now": _write_now(target, points["training"], name, epochs),
        "now_line": _write_now_line(target, epochs, name, loss["range"], other["range"]),
        # Of what is drawn: an epoch without a finite loss is not.
        "epoch_range": horizon_of(run).epoch_range(finite_range(drawn[:, 0])),
        "loss_range": finite_range(drawn[:, 1]),
        "training_loss_range": finite_range(epochs["loss"]),
        "metric_range": finite_range(drawn[:, 2]),
    }


def _points(
    epochs: pd.DataFrame, columns: tuple[str, str], note: Callable[[str], None]
) -> NDArray[np.float64]:
    points = epochs[["epoch", *columns]].to_numpy(np.float64)
    beyond = np.isfinite(points) & (np.abs(points) > _LARGEST)
    for number in np.flatnonzero(beyond.any(axis=0)):
        note(
            f"{columns[number - 1]} is beyond {_LARGEST:.2g} in {beyond[:, number].sum()} of {len(points)} "
            "epochs: the path in three dimensions, which VTK draws in single precision, has gaps there"
        )
    return np.where(beyond, np.nan, points)


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    finite: NDArray[np.float64] = points[np.isfinite(points).all(axis=1)]
    return finite


def _write_line(target: Target, file: str, points: NDArray[Any], metric: str, epochs: pd.DataFrame) -> None:
    # A point that is not finite would take the whole scene's bounds with it: the line has a gap there.
    good = np.isfinite(points).all(axis=1)
    numbers = np.cumsum(good) - 1
    pieces = [numbers[piece] for piece in unbroken(points)]
    write_poly_data(
        target.path(file),
        points[good],
        vertices=_has_lone(good),  # no line reaches a lone one
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
        one = slice(at, at + 1)
        arrays = _arrays(points[one], metric, steps[one])
        if target.lacks(f"curves/{name}", points[one], arrays):
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
                "epoch": np.full(2, epoch),
                "loss": np.array(loss_range),
                metric: np.array(metric_range),
                "share": np.array([0.0, 1.0]),
            },
        )
        moments.append((epoch, float(step), name))
    return write_time_series(target, "curves/now_line.pvd", moments)


def _arrays(points: NDArray[Any], metric: str, steps: NDArray[Any]) -> dict[str, NDArray[Any]]:
    # As it is in the tables: a metric may be beyond float32.
    epoch, loss, value = points.T
    return {"epoch": epoch, "loss": loss, metric: value, "step": steps.astype(np.int32)}
