"""The path of a layer's weights: TensorView's signature view.

Source: Chen, Guan, Xu, Ahrens, "In situ TensorView" (2018): three weights as one point per step. The
first three principal components show the same path of all weights of the layer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import TrajectoryIndex
from tensorview_insitu.run.reader import Snapshots
from tensorview_insitu.text.array_names import array_name

_MOST_VALUES = 64 << 20
_MOST_WEIGHTS = 32  # that a person can choose three of
_MOST_NOW = 200


class Trajectory:
    """Writes the path of one kernel, which it takes piece by piece.

    Args:
        batches: loss and learning rate of every batch.
        doubts: the columns of these that are not to be trusted.
        target: where to.
        folder: of the layer.
    """

    def __init__(self, batches: pd.DataFrame, doubts: Collection[str], target: Target, folder: str) -> None:
        self._batches, self._doubts = batches, doubts
        self._target, self._folder = target, folder
        self._steps: list[int] = []
        self._epochs: list[float] = []
        self._parts: list[NDArray[np.float32]] = []
        self._moved: list[dict[str, NDArray[np.float64]]] = []
        self._first: NDArray[np.float64] | None = None
        self._last: NDArray[np.float64] | None = None
        self._thinning = 1
        self._shape: list[int] = []
        self._dims: list[str] = []

    def add(self, snapshots: Snapshots) -> None:
        """More snapshots; those that are not finite are left out."""
        self._shape, self._dims = list(snapshots.values.shape[1:]), list(snapshots.dims[1:])
        flat = snapshots.values.reshape(len(snapshots.values), -1)
        good = np.isfinite(flat).all(axis=1)
        self._steps += [int(step) for step in snapshots.steps[good]]
        self._epochs += [float(epoch) for epoch in snapshots.epochs[good]]
        self._parts.append(flat[good][:, :: self._thinning])
        while sum(part.size for part in self._parts) > _MOST_VALUES:
            # A sum over all weights is as good over a part of them, where there are too many to hold.
            self._thinning *= 2
            self._parts = [part[:, ::2].copy() for part in self._parts]
        by_filter = np.moveaxis(snapshots.values[good], snapshots.filter_axis, -1)
        for values in by_filter.reshape(len(by_filter), -1, by_filter.shape[-1]).astype(np.float64):
            self._first = values if self._first is None else self._first
            self._last = values if self._last is None else self._last
            self._moved.append(movement(values, self._first, self._last))
            self._last = values

    def finish(self) -> TrajectoryIndex | None:
        """Write it; None where there are fewer than three snapshots or weights."""
        if len(self._steps) < 3 or self._parts[0].shape[1] < 3:
            return None
        steps, epochs = np.array(self._steps, np.int64), np.array(self._epochs)
        flat = np.concatenate(self._parts)
        places, explained = principal_components(flat)
        moving = np.argsort(-np.ptp(flat, axis=0), kind="stable")[:_MOST_WEIGHTS]
        arrays: dict[str, NDArray[Any]] = {
            "step": steps.astype(np.int32),
            "epoch": epochs.astype(np.float32),
            **_scalars_at(self._batches, self._doubts, steps),
        }
        numbers = [int(number) * self._thinning for number in moving]
        weights = {f"w_{number}": flat[:, at] for number, at in zip(numbers, moving, strict=True)}
        everything = {**arrays, **weights}
        write_poly_data(
            self._target.path(f"{self._folder}/path.vtp"),
            places,
            lines=[np.arange(len(places))],
            point_data=everything,
        )
        moments = []
        for i in spread(len(steps), _MOST_NOW):
            name = f"path_{steps[i]:07d}.vtp"
            # Its place changes with each export: principal components are those of all snapshots.
            write_poly_data(
                self._target.path(f"{self._folder}/{name}"),
                places[i : i + 1],
                vertices=True,
                point_data={key: value[i : i + 1] for key, value in everything.items()},
            )
            moments.append((float(epochs[i]), float(steps[i]), name))
        table = write_table(self._target, f"{self._folder}/movement.csv", self._table())
        return {
            "path": f"{self._folder}/path.vtp",
            "now": write_time_series(self._target, f"{self._folder}/path_now.pvd", moments),
            "explained": [float(share) for share in explained],
            "ranges": [finite_range(places[:, axis]) for axis in range(3)],
            "weights": numbers,
            "weight_ranges": [finite_range(flat[:, at]) for at in moving],
            "weight_moves": [float(flat[-1, at] - flat[0, at]) for at in moving],
            "weight_names": [_name(number, self._shape) for number in numbers],
            "dims": ", ".join(self._dims),
            "movement": table["file"],
            "movement_columns": table["columns"],
            "arrays": {name: finite_range(values) for name, values in arrays.items()},
            "times": times_of(moments),
        }

    def _table(self) -> pd.DataFrame:
        columns: dict[str, Any] = {"step": self._steps, "epoch": self._epochs}
        for name in self._moved[0]:
            for share, word in ((0, "least"), (50, "median"), (100, "most")):
                columns[f"{name}_{word}"] = [_percentile(one[name], share) for one in self._moved]
        return pd.DataFrame(columns)


def principal_components(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the rows of `(rows, columns)` lie along their first three principal components.

    Returns:
        `(rows, 3)`, and the share of the variance that each of the three has.
    """
    centred = values - values.mean(axis=0, dtype=np.float64)
    # Rows are few and weights many: the eigenvectors of their products are all there is.
    variances, vectors = np.linalg.eigh(centred @ centred.T)
    largest = np.argsort(-variances)[:3]
    scales = np.sqrt(np.maximum(variances[largest], 0.0))
    places = vectors[:, largest] * scales
    # Their signs are arbitrary: towards the end of the training they shall be positive.
    places *= np.where(places[-1] < places[0], -1.0, 1.0)
    total = max(float(np.maximum(variances, 0.0).sum()), 1e-300)
    return places, np.maximum(variances[largest], 0.0) / total


def movement(
    values: NDArray[np.float64], first: NDArray[np.float64], previous: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """How far every filter has turned and grown.

    Args:
        values: `(weights of a filter, filters)`.
        first: the same, at the first snapshot.
        previous: the same, at the one before.

    Returns:
        `(filters,)` each: `angle_to_first` and `angle_to_previous` in degrees; `length_to_first` and
        `length_to_previous`, how many times as long it is. NaN for a filter of zeros.
    """
    found = {}
    length = np.linalg.norm(values, axis=0)
    for name, other in (("first", first), ("previous", previous)):
        before = np.linalg.norm(other, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            one, two = values / length, other / before
            # Kahan's formula, exact for small angles too, where arccos of the product is not.
            halves = np.arctan2(np.linalg.norm(one - two, axis=0), np.linalg.norm(one + two, axis=0))
            found[f"angle_to_{name}"] = np.degrees(2 * halves)
            found[f"length_to_{name}"] = length / before
    return found


def _percentile(values: NDArray[np.float64], share: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, share)) if len(finite) else float("nan")


def _scalars_at(
    batches: pd.DataFrame, doubts: Collection[str], steps: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Loss and learning rates of the batch that led to each snapshot; the first one's at step 0."""
    found: dict[str, NDArray[np.float32]] = {}
    names = [str(column) for column in batches.columns if is_drawn(str(column))] if len(batches) else []
    for name in names:
        at = np.searchsorted(batches["step"].to_numpy(), steps, side="right") - 1
        values = batches[name].to_numpy(np.float64)[np.maximum(at, 0)]
        told = f"{name} not trusted" if name in doubts else name
        found[array_name(told, {"step", "epoch", *found})] = values.astype(np.float32)
    return found


def is_drawn(column: str) -> bool:
    """Whether a column of the batches can colour a path: the batch's own loss, and learning rates."""
    return column in ("loss", "learning_rate") or column.startswith("learning_rate/")


def _name(number: int, shape: list[int]) -> str:
    return "(" + ", ".join(str(int(i)) for i in np.unravel_index(number, shape)) + ")"
