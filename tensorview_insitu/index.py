"""index.json: what an export holds; the contract between the export and the views.

It names file patterns, times and ranges, and never lists every file. Paths are relative to the
folder of index.json. Only the standard library is imported here, so that views run in any Python.
"""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Annotated, TypedDict, cast

from tensorview_insitu.loading.json_text import read_json
from tensorview_insitu.loading.plain_file import ForeignFileError, inside, said
from tensorview_insitu.loading.typed import check_types

FORMAT = "tensorview-insitu export"
VERSION = 1
INDEX_FILE = "index.json"

# That of a run with a thousand layers has some megabytes.
_MOST_BYTES = 64 << 20

File = Annotated[str, "file"]
"""A path inside the folder of index.json, with `/` between its parts."""

Folder = Annotated[str, "folder"]
"""The same of a folder."""

FileIfAny = Annotated[str, "file if any"]
"""The same, or nothing."""

Pattern = Annotated[str, "pattern"]
"""The same, with `{step:07d}` in place of a step."""

_ENDINGS = (".vtp", ".vti", ".pvd", ".csv", ".xmf", ".vtkhdf")
_PATTERN = re.compile(r"[^{}]*\{step:07d\}[^{}]*")

Range = tuple[float, float]
"""Smallest and largest finite value."""


class Times(TypedDict):
    """The moments of an animation, counted in two ways."""

    epochs: list[float]
    steps: list[float]


class RunIndex(TypedDict):
    """Which run this is an export of."""

    name: str
    run_id: str
    status: str
    created: str
    steps: int
    epochs: float


class MetricIndex(TypedDict):
    """One metric of the epochs: its columns as the tables have them, and what values they take.

    `untrusted` are those of `training` and `validation` that are not to be trusted; of `lone`, some values
    have none beside them, and no line reaches them.
    """

    name: str
    training: str | None
    validation: str | None
    untrusted: list[str]
    lone: list[str]
    range: Range


class TableIndex(TypedDict):
    """One CSV table; by column, `untrusted` tells why one is not to be trusted."""

    file: File
    columns: list[str]
    rows: int
    untrusted: dict[str, str]


class CurveIndex(TypedDict):
    """The path (epoch, loss, metric) of the training, as poly lines.

    `now` is the point of each epoch, `now_line` a line there over the ranges of loss and metric, and
    over 0..1 as `share`, for charts. `dashes`, by `training` and `validation`, are drawn in place of a path
    that is not to be trusted.
    """

    metric: str
    training: File
    validation: File | None
    dashes: dict[str, File]
    untrusted: list[str]
    now: File
    now_line: File
    epoch_range: Range
    loss_range: Range
    training_loss_range: Range
    metric_range: Range


class HeatMapIndex(TypedDict):
    """Rows with names over time: image data with one array of its cells, and the names as geometry.

    `rows` are named from the top. `extent` is the time at its left and right; `height`, and `label_width`,
    how far the names reach to its left, are in the same units. `untrusted` are the rows that are not to be
    trusted, `hatching` lines over them.
    """

    array: str
    file: File
    labels: File
    rows: list[str]
    untrusted: list[str]
    hatching: File | None
    range: Range
    extent: Range
    height: float
    label_width: float


class GradientNormsIndex(TypedDict):
    """Gradient norms: a heat map (variable x step) of their log10, and lines.

    `columns` are those of the lines, a variable each; `log_ranges` those of log10 of the norms, by variable.
    A column of the heat map, and a row of the lines, stands for `steps_per_column` steps (their geometric
    mean). `gaps` tells whether the lines have any: a norm of zero has no place on a log scale.
    """

    heat_map: HeatMapIndex
    lines: File
    columns: list[str]
    now: File
    log_ranges: list[Range]
    steps: int
    steps_per_column: int
    gaps: bool


class TilesIndex(TypedDict):
    """Small grids side by side, one for each filter: a file a time, and the filters' numbers as geometry.

    `size` is how wide and high all of them are. `pattern`, with the step in place of `{step}`, names
    single files. `outlines` are those of dead filters.
    """

    file: File
    pattern: Pattern
    labels: FileIfAny
    outlines: File | None
    size: tuple[float, float]
    tiles: int
    of: int
    about: str
    times: Times
    range: Range
    change_range: Range


class VariableIndex(TypedDict):
    """The snapshots of one variable: image data, one file a time."""

    name: str
    file: File
    arrays: list[str]
    dims: list[str]
    shape: list[int]
    range: Range


class SheetsIndex(TypedDict):
    """Value over (filter, epoch), one sheet for every cell of a kernel's grid; one for a bias.

    `now` holds the same for the current epoch alone, `first` for the first.
    """

    file: File
    first: File
    now: File
    cells: list[list[int]]
    channel: int
    channels: int
    filters: int
    times: Times
    epoch_range: Range
    range: Range


class TrajectoryIndex(TypedDict):
    """The path of a layer's weights: a point for every snapshot.

    `path` lies in the space of the first three principal components, whose shares of the variance are
    `explained`; its arrays `w_<number>` are the weights that move most, `weights` in that order, by
    their number in the flattened kernel; `weight_names` are their places along `dims`, `weight_moves` how
    far each is in the end from where it began. `now` is the same
    at one time. `movement` is a table of how far the filters have turned and grown.
    """

    path: File
    now: File
    explained: list[float]
    ranges: list[Range]
    weights: list[int]
    weight_ranges: list[Range]
    weight_moves: list[float]
    weight_names: list[str]
    dims: str
    movement: File
    movement_columns: list[str]
    arrays: dict[str, Range]
    times: Times


class DistributionIndex(TypedDict):
    """The values of one variable over time: density over (value, epoch), and quantiles as lines.

    `quantiles` names the lines in the order of their array `quantile`.
    """

    layer: str
    variable: str
    surface: File
    lines: File
    now: File
    quantiles: list[float]
    value_range: Range
    density_range: Range
    epoch_range: Range
    values: int
    times: Times


class FeatureMapsIndex(TypedDict):
    """What one layer answers to the probe: a tile for each filter, for one sample after the other."""

    layer: str
    samples: int
    tiles: TilesIndex
    dead: int


class ExplanationIndex(TypedDict):
    """What one method says of a few samples over time.

    `file` holds the maps, arrays `map_<sample>`, `image` the samples, arrays `image_<sample>`, cells of
    `size` (across, up). `volumes`, one for each sample, hold its maps over (epoch, across, up): `share` of
    the largest of that moment, and `epoch`; none where there is one moment only. `now` is a frame
    there. `focus` is the table of numbers.
    """

    name: str
    method: str
    layer: str
    samples: int
    size: tuple[int, int]
    file: File
    image: File
    image_range: Range
    ranges: list[Range]
    volumes: list[File]
    now: File
    epoch_range: Range
    focus: TableIndex
    about: str
    times: Times


class ExplanationGridIndex(TypedDict):
    """All methods for all samples: a row of pictures for each sample, a column for each method.

    `file` holds the maps, `share` of the largest absolute value of each, `images` the samples behind them.
    """

    file: File
    images: File
    labels: File
    size: tuple[float, float]
    methods: list[str]
    samples: int
    times: Times


class QuantityIndex(TypedDict):
    """Numbers of the user's own: their table, with step, epoch and a column for each.

    `now` is a line at each epoch, whose array `array` goes over `range`, that of all the numbers.
    """

    name: str
    table: TableIndex
    range: Range
    now: File
    array: str


class NetworkIndex(TypedDict):
    """All kernels in one scene: a cell for each weight that is drawn, one file a time.

    `boxes` are the slabs, `labels` their names. `layers` are what the kernels are called that are drawn of
    all `of` (a layer with several by `layer/kernel`), `kernels` layer and variable of each; `drawn` of
    their `weights` are there.
    """

    file: File
    boxes: File
    labels: File
    arrays: dict[str, Range]
    layers: list[str]
    kernels: list[tuple[str, str]]
    bounds: list[Range]
    of: int
    drawn: int
    weights: int
    times: Times


class LayerIndex(TypedDict):
    """One layer: its true name, and what was exported of it.

    `untrusted` tells by variable why its snapshots are not to be trusted.
    """

    name: str
    kind: str
    folder: Folder
    variables: list[VariableIndex]
    sheets: SheetsIndex | None
    biases: SheetsIndex | None
    grids: TilesIndex | None
    trajectory: TrajectoryIndex | None
    untrusted: dict[str, str]


class ZeroCopyIndex(TypedDict):
    """A file that lets ParaView read one variable out of run.h5; `size` is that of the image, in x, y, z."""

    run: str
    layer: str
    variable: str
    file: File
    array: str
    dims: list[str]
    size: list[int]
    range: Range
    times: Times
    untrusted: bool


class ComparedColumnIndex(TypedDict):
    """A column of the table of all runs: of which run it is, and `training` or `validation`."""

    column: str
    run: int
    kind: str
    untrusted: bool
    lone: bool


class ComparedMetricIndex(TypedDict):
    """One metric of several runs."""

    name: str
    columns: list[ComparedColumnIndex]


class ComparedLayerIndex(TypedDict):
    """One layer of several runs: arrays `weight_<run>`, and `difference_<run>` from run 0.

    The `change_range` of its tiles is that of the differences. `untrusted` are the runs whose kernel
    is not to be trusted.
    """

    layer: str
    tiles: TilesIndex
    untrusted: list[int]


class ComparisonIndex(TypedDict):
    """Several runs beside each other; runs are named by their number in `runs`."""

    runs: list[str]
    metrics: list[ComparedMetricIndex]
    layers: list[ComparedLayerIndex]


class Index(TypedDict):
    """All of index.json.

    `epochs` are the times of what is there once an epoch: the curves and where training was. Of the layers'
    snapshots every `every`-th is there. `failed` tells by part why it is not there (see `export.parts`);
    `notes` are sentences, among them those.
    """

    format: str
    version: int
    made_by: str
    run: RunIndex
    every: int
    epochs: Times
    tables: dict[str, TableIndex]
    metrics: list[MetricIndex]
    curve: CurveIndex | None
    gradient_norms: GradientNormsIndex | None
    layers: list[LayerIndex]
    distributions: list[DistributionIndex]
    feature_maps: list[FeatureMapsIndex]
    dead_filters: TableIndex | None
    explanations: list[ExplanationIndex]
    explanation_grid: ExplanationGridIndex | None
    health: list[HeatMapIndex]
    health_now: File | None
    network: NetworkIndex | None
    quantities: list[QuantityIndex]
    comparison: ComparisonIndex | None
    failed: dict[str, str]
    notes: list[str]


def empty_index(run: RunIndex, made_by: str, times: Times) -> Index:
    """An export of nothing yet: what holds it fills in what there is."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "made_by": made_by,
        "run": run,
        "every": 1,
        "epochs": times,
        "tables": {},
        "metrics": [],
        "curve": None,
        "gradient_norms": None,
        "layers": [],
        "distributions": [],
        "feature_maps": [],
        "dead_filters": None,
        "explanations": [],
        "explanation_grid": None,
        "health": [],
        "health_now": None,
        "network": None,
        "quantities": [],
        "comparison": None,
        "failed": {},
        "notes": [],
    }


class NoExportError(ValueError):
    """Raised when a folder holds no export, or one that this version cannot read."""


def by_step(file: str) -> str:
    """The collection that times by step what `file`, a .pvd, times by epoch."""
    return file.removesuffix(".pvd") + "_by_step.pvd"


def write_index(folder: Path, index: Index) -> None:
    """Replace the index.json in `folder`; last of all files, because it speaks of the others."""
    temporary = folder / f".{INDEX_FILE}.tmp"
    temporary.write_text(json.dumps(index, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(temporary, folder / INDEX_FILE)


def read_index(folder: Path) -> Index:
    """Read the index.json in `folder`: everything in it is of its type, every file it names is in the folder.

    Raises:
        NoExportError: there is none, it is of another format, or names files that are not in the folder.
    """
    path = folder / INDEX_FILE
    try:
        index = read_json(path, _MOST_BYTES)
    except FileNotFoundError:
        raise NoExportError(
            f"{folder} holds no {INDEX_FILE}. Export the run first: tensorview-insitu export RUN"
        ) from None
    except ForeignFileError as error:
        raise NoExportError(f"{error} Export the run again.") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT or not _is_known(index.get("version")):
        raise NoExportError(
            f"{path} was not written by this version of tensorview-insitu. Export the run again."
        )
    try:
        check_types(index, Index, partial(_check_path, folder, path))
    except ForeignFileError as error:
        raise NoExportError(f"{error} Export the run again.") from None
    except ValueError as error:
        raise NoExportError(
            f"{path} was not written by this version of tensorview-insitu ({error}). Export the run again."
        ) from None
    return cast(Index, index)


def _is_known(version: object) -> bool:
    return isinstance(version, int) and 0 < version <= VERSION


def _check_path(folder: Path, path: Path, file: str, kind: str) -> None:
    if kind == "file if any" and not file:
        return
    inside(folder, file, path)
    if kind != "folder" and not file.endswith(_ENDINGS):
        raise ForeignFileError(
            f"{path} names the file {said(file)!r}. Expected one that ends in {', '.join(_ENDINGS)}."
        )
    # It becomes a format, which can ask for any attribute and any width.
    if not _PATTERN.fullmatch(file) if kind == "pattern" else "{" in file:
        raise ForeignFileError(
            f"{path} names the file {said(file)!r}. Expected {{step:07d}} in patterns only."
        )
