"""index.json: what an export holds; the contract between the export and the views.

It names file patterns, times and ranges, and never lists every file. Paths are relative to the
folder of index.json. Only the standard library is imported here, so that views run in any Python.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypedDict

FORMAT = "tensorview-insitu export"
VERSION = 1
INDEX_FILE = "index.json"

Range = tuple[float, float]
"""Smallest and largest finite value."""


class RunIndex(TypedDict):
    """Which run this is an export of."""

    name: str
    run_id: str
    status: str
    created: str
    steps: int
    epochs: float


class MetricIndex(TypedDict):
    """One metric of the epochs: its columns in the tables, and what values they take."""

    name: str
    training: str | None
    validation: str | None
    range: Range


class TableIndex(TypedDict):
    """One CSV table."""

    file: str
    columns: list[str]
    rows: int


class CurveIndex(TypedDict):
    """The path (epoch, loss, metric) of the training, as poly lines.

    `now` is the point of each epoch, `now_line` a line there over the ranges of loss and metric, and
    over 0..1 as `share`, for charts.
    """

    metric: str
    training: str
    validation: str | None
    now: str
    now_line: str
    epoch_range: Range
    loss_range: Range
    training_loss_range: Range
    metric_range: Range


class GradientNormsIndex(TypedDict):
    """Gradient norms: a heat map (variable x step) and lines.

    `log_range` is that of log10 of the norms, `log_ranges` the same by variable. A column of the heat map,
    and a row of the lines, stands for `steps_per_column` steps (their geometric mean). `row_height` is the
    height of a row of the heat map, and `label_width` how far the names reach to its left, in steps. `gaps`
    tells whether the lines have any: a norm of zero has no place on a log scale.
    """

    variables: list[str]
    heat_map: str
    labels: str
    lines: str
    now: str
    log_range: Range
    log_ranges: list[Range]
    steps: int
    steps_per_column: int
    row_height: float
    label_width: float
    gaps: bool


class VariableIndex(TypedDict):
    """The snapshots of one variable: image data, one file a time."""

    name: str
    file: str
    arrays: list[str]
    dims: list[str]
    shape: list[int]
    range: Range


class SheetsIndex(TypedDict):
    """Weight over (filter, epoch), one sheet for every cell of the kernel's grid.

    `now` holds the same for the current epoch alone, `first` for the first.
    """

    file: str
    first: str
    now: str
    cells: list[list[int]]
    channel: int
    channels: int
    filters: int
    times: list[float]
    epoch_range: Range
    range: Range


class LayerIndex(TypedDict):
    """One layer: its true name, and what was exported of it."""

    name: str
    kind: str
    folder: str
    variables: list[VariableIndex]
    sheets: SheetsIndex | None


class Index(TypedDict):
    """All of index.json.

    `epochs` are the times of what is there once an epoch: the curves and where training was.
    """

    format: str
    version: int
    made_by: str
    run: RunIndex
    epochs: list[float]
    tables: dict[str, TableIndex]
    metrics: list[MetricIndex]
    curve: CurveIndex | None
    gradient_norms: GradientNormsIndex | None
    layers: list[LayerIndex]
    notes: list[str]


class NoExportError(ValueError):
    """Raised when a folder holds no export, or one that this version cannot read."""


def write_index(folder: Path, index: Index) -> None:
    """Replace the index.json in `folder`; last of all files, because it speaks of the others."""
    temporary = folder / f".{INDEX_FILE}.tmp"
    temporary.write_text(json.dumps(index, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(temporary, folder / INDEX_FILE)


def read_index(folder: Path) -> Index:
    """Read the index.json in `folder`.

    Raises:
        NoExportError: there is none, or it is of a later format.
    """
    path = folder / INDEX_FILE
    try:
        index: Index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NoExportError(
            f"{folder} holds no {INDEX_FILE}. Export the run first: tensorview-insitu export RUN"
        ) from None
    except ValueError as error:
        raise NoExportError(f"{path} is damaged ({error}). Export the run again.") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT or index["version"] > VERSION:
        raise NoExportError(
            f"{path} was not written by this version of tensorview-insitu. Export the run again."
        )
    return index
