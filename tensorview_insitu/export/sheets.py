"""Value over (filter, epoch): a sheet for every cell of a kernel's grid, and one line of each for now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.horizon import Horizon
from tensorview_insitu.export.poly_data import grid_quads, write_poly_data
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import SheetsIndex
from tensorview_insitu.run.reader import Snapshots


def export_sheets(
    target: Target,
    base: str,
    array: str,
    grid: Sequence[int],
    channels: int,
    strips: list[Snapshots],
    horizon: Horizon,
) -> SheetsIndex:
    """Write strips, with values `(snapshot, cell, filter)`.

    Args:
        target: where to.
        base: what the names of the files begin with, as `layers/conv1/sheets`.
        array: what the values are called.
        grid: the shape of the grid whose cells these are.
        channels: how many input channels there are; the strips are of the first.
        strips: consecutive.
        horizon: how far the training is to go.
    """
    values = np.concatenate([strip.values for strip in strips])
    steps = np.concatenate([strip.steps for strip in strips])
    epochs = np.concatenate([strip.epochs for strip in strips])
    snapshots, cells, filters = values.shape
    shown = spread(snapshots)
    sheet = len(shown) * filters
    quads = np.concatenate([grid_quads(filters, len(shown), c * sheet) for c in range(cells)])
    _write(target, f"{base}.vtp", array, values[shown], epochs[shown], quads=quads)
    moments = []
    lines = [np.arange(filters) + c * filters for c in range(cells)]
    for i in shown:
        file = f"{base}_{steps[i]:07d}.vtp"
        if target.lacks(file, array, values[i], epochs[i]):
            _write(target, file, array, values[i : i + 1], epochs[i : i + 1], lines=lines)
        moments.append((float(epochs[i]), float(steps[i]), file.rsplit("/", 1)[1]))
    return {
        "file": f"{base}.vtp",
        "first": f"{base.rsplit('/', 1)[0]}/{moments[0][2]}",
        "now": write_time_series(target, f"{base}_now.pvd", moments),
        "cells": [[int(i) for i in cell] for cell in np.ndindex(*grid)],
        "channel": 0,
        "channels": channels,
        "filters": filters,
        "times": times_of(moments),
        "epoch_range": horizon.epoch_range(finite_range(epochs[shown])),
        "range": finite_range(values),
    }


def _write(
    target: Target,
    file: str,
    array: str,
    values: NDArray[np.float32],
    epochs: NDArray[np.float64],
    **geometry: Any,
) -> None:
    # Points in the order (cell, epoch, filter); z is the number of the cell.
    snapshots, cells, filters = values.shape
    cell, number, filter_ = np.indices((cells, snapshots, filters)).reshape(3, -1)
    flat = values.transpose(1, 0, 2).ravel()
    write_poly_data(
        target.path(file),
        np.column_stack([filter_, epochs[number], cell]),
        point_data={
            array: flat,
            # To warp by: a height that is not finite would take the scene's bounds with it.
            "height": np.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0),
            "filter": filter_.astype(np.int32),
            "epoch": epochs[number].astype(np.float32),
            "cell": cell.astype(np.int32),
        },
        **geometry,
    )
