"""The variables of the layers: image data over time, and weight over (filter, epoch) as sheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.collection import write_collection
from tensorview_insitu.export.files import Target, every_nth, finite_range, spread
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.poly_data import grid_quads, write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.index import LayerIndex, Range, SheetsIndex, TableIndex, VariableIndex
from tensorview_insitu.run.reader import Run, Snapshots

_MOST_TABLE_ROWS = 1_000_000
_SPACE = ("position", "depth", "row", "column")


def export_layer(
    run: Run,
    target: Target,
    layer: str,
    variables: list[str],
    *,
    kind: str,
    folder: str,
    every: int,
    wrote: Callable[[], None],
) -> LayerIndex:
    """Write what was recorded of one layer.

    Args:
        run: the run.
        target: where to.
        layer: its path in the model.
        variables: what of it to write.
        kind: its class.
        folder: where its files go, relative to the target.
        every: every n-th snapshot (and the last).
        wrote: called after each snapshot.
    """
    found: list[VariableIndex] = []
    sheets = None
    for variable in variables:
        written = _Written(target, folder, variable)
        has_sheets = variable.endswith("kernel") and sheets is None
        # Of a whole variable only one input channel is held at once; the rest goes piece by piece.
        strips: list[Snapshots] = []
        for snapshots in _in_pieces(run, layer, variable, every):
            written.add(snapshots, wrote)
            if has_sheets:
                strips.append(replace(snapshots, values=_cells_by_filter(snapshots)[:, :, 0].copy()))
        found.append(written.finish())
        if has_sheets:
            sheets = _export_sheets(target, folder, found[-1], strips)
    return {"name": layer, "kind": kind, "folder": folder, "variables": found, "sheets": sheets}


def export_kernel_table(
    run: Run, target: Target, layer: str, variable: str, file: str, every: int
) -> tuple[TableIndex, str | None]:
    """Write one kernel in long form: epoch, filter, channel, row, column, ..., weight.

    Returns:
        What the table holds, and a note when it was cut at a million rows.
    """
    frames, rows, note = [], 0, None
    for snapshots in _in_pieces(run, layer, variable, every):
        axes = np.indices(snapshots.values.shape).reshape(snapshots.values.ndim, -1)
        columns: dict[str, Any] = {
            "step": snapshots.steps[axes[0]],
            "epoch": snapshots.epochs[axes[0]],
        }
        columns |= {dim: axes[i] for i, dim in enumerate(snapshots.dims) if i}
        frame = pd.DataFrame({**columns, "weight": snapshots.values.ravel()})
        frames.append(frame.iloc[: _MOST_TABLE_ROWS - rows])
        rows += len(frame)
    if rows > _MOST_TABLE_ROWS:
        note = (
            f"{file} was cut at {_MOST_TABLE_ROWS} of {rows} rows; --every n exports fewer snapshots, "
            "and the image data and the run hold all of them"
        )
    return write_table(target.folder, file, pd.concat(frames)), note


def _in_pieces(run: Run, layer: str, variable: str, every: int) -> Iterator[Snapshots]:
    pieces = list(run.pieces(layer, variable))
    keep = every_nth(sum(count for _, count in pieces), every)
    for first, count in pieces:
        mask = np.isin(np.arange(first, first + count), keep)
        if mask.any():
            yield run.variable(layer, variable, first=first, count=count).only(mask)


def _cells_by_filter(snapshots: Snapshots) -> NDArray[np.float32]:
    """`(snapshot, cell, channel, filter)`: the grid's axes in one, input channels, output channels."""
    dims = list(snapshots.dims)
    space = [i for i, dim in enumerate(dims) if dim in _grid_dims(snapshots.dims)]
    filters = snapshots.filter_axis
    channels = [i for i in range(1, len(dims)) if i not in space and i != filters]
    moved = np.transpose(snapshots.values, [0, *space, *channels, filters])
    shape = snapshots.values.shape
    cells = int(np.prod([shape[i] for i in space], dtype=int))
    inputs = int(np.prod([shape[i] for i in channels], dtype=int))
    return moved.reshape(shape[0], cells, inputs, shape[filters])


def _grid(snapshots: Snapshots) -> tuple[int, ...]:
    along = _grid_dims(snapshots.dims)
    return tuple(n for n, dim in zip(snapshots.values.shape, snapshots.dims, strict=True) if dim in along)


def _grid_dims(dims: Sequence[str]) -> tuple[str, ...]:
    # A Dense kernel has no grid: its input channels take the place.
    return tuple(dim for dim in dims if dim in _SPACE) or ("channel",)


class _Written:
    """Image data of one variable over time: x = filter, y = column, z = row; an array per channel."""

    def __init__(self, target: Target, folder: str, variable: str) -> None:
        self._target, self._folder, self._variable = target, folder, variable
        self._files: list[tuple[float, str]] = []
        self._ranges: list[Range] = []
        self._about: Snapshots | None = None
        self._arrays: list[str] = []

    def add(self, snapshots: Snapshots, wrote: Callable[[], None]) -> None:
        self._about = snapshots
        self._ranges.append(finite_range(snapshots.values))
        grid = _grid(snapshots)
        across = grid[-1] if grid else 1
        values = _cells_by_filter(snapshots)
        names = self._names(values.shape[2])
        for values_then, step, epoch in zip(values, snapshots.steps, snapshots.epochs, strict=True):
            name = f"{self._variable}_{step:07d}.vti"
            if self._target.lacks(f"{self._folder}/{name}"):
                boxes = values_then.reshape(
                    -1, across, *values_then.shape[1:]
                )  # row, column, channel, filter
                arrays = {array: boxes[:, :, c].transpose(2, 1, 0) for c, array in enumerate(names)}
                write_image_data(self._target.path(f"{self._folder}/{name}"), arrays)
            self._files.append((float(epoch), name))
            wrote()

    def finish(self) -> VariableIndex:
        assert self._about is not None
        file = f"{self._folder}/{self._variable}.pvd"
        write_collection(self._target.path(file), self._files)
        return {
            "name": self._variable,
            "file": file,
            "arrays": self._arrays,
            "dims": list(self._about.dims[1:]),
            "shape": list(self._about.values.shape[1:]),
            "range": finite_range(self._ranges),
        }

    def _names(self, channels: int) -> list[str]:
        # A bias or a gamma has no input channels; a kernel has one array for each.
        if self._variable.endswith("kernel"):
            self._arrays = [f"weight_{c}" for c in range(channels)]
        else:
            self._arrays = (
                [self._variable] if channels == 1 else [f"{self._variable}_{c}" for c in range(channels)]
            )
        return self._arrays


def _export_sheets(
    target: Target, folder: str, kernel: VariableIndex, strips: list[Snapshots]
) -> SheetsIndex:
    """Write strips, with values `(snapshot, cell, filter)`, as one sheet (filter, epoch) for every cell."""
    weights = np.concatenate([strip.values for strip in strips])
    steps = np.concatenate([strip.steps for strip in strips])
    epochs = np.concatenate([strip.epochs for strip in strips])
    snapshots, cells, filters = weights.shape
    along = _grid_dims(kernel["dims"])
    grid = [n for n, dim in zip(kernel["shape"], kernel["dims"], strict=True) if dim in along]
    shown = spread(snapshots)
    sheet = len(shown) * filters
    quads = np.concatenate([grid_quads(filters, len(shown), c * sheet) for c in range(cells)])
    _write_weights(target, f"{folder}/sheets.vtp", weights[shown], epochs[shown], quads=quads)
    files = []
    lines = [np.arange(filters) + c * filters for c in range(cells)]
    for i in shown:
        name = f"profile_{steps[i]:07d}.vtp"
        if target.lacks(f"{folder}/{name}"):
            _write_weights(target, f"{folder}/{name}", weights[i : i + 1], epochs[i : i + 1], lines=lines)
        files.append((float(epochs[i]), name))
    write_collection(target.path(f"{folder}/profile.pvd"), files)
    return {
        "file": f"{folder}/sheets.vtp",
        "first": f"{folder}/{files[0][1]}",
        "now": f"{folder}/profile.pvd",
        "cells": [[int(i) for i in cell] for cell in np.ndindex(*grid)],
        "channel": 0,
        "channels": len(kernel["arrays"]),
        "filters": filters,
        "times": [time for time, _ in files],
        "epoch_range": finite_range(epochs[shown]),
        "range": finite_range(weights),
    }


def _write_weights(
    target: Target,
    file: str,
    weights: NDArray[np.float32],
    epochs: NDArray[np.float64],
    **geometry: Any,
) -> None:
    # Points in the order (cell, epoch, filter); z is the number of the cell.
    snapshots, cells, filters = weights.shape
    cell, number, filter_ = np.indices((cells, snapshots, filters)).reshape(3, -1)
    weight = weights.transpose(1, 0, 2).ravel()
    write_poly_data(
        target.path(file),
        np.column_stack([filter_, epochs[number], cell]),
        point_data={
            "weight": weight,
            # To warp by: a height that is not finite would take the scene's bounds with it.
            "height": np.nan_to_num(weight, nan=0.0, posinf=0.0, neginf=0.0),
            "filter": filter_.astype(np.int32),
            "epoch": epochs[number].astype(np.float32),
            "cell": cell.astype(np.int32),
        },
        **geometry,
    )
