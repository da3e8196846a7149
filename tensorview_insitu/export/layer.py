"""Everything of one layer: its variables as image data, sheets, tiles, its path, its distributions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.distributions import Distribution
from tensorview_insitu.export.files import Target
from tensorview_insitu.export.grids import GridsWriter
from tensorview_insitu.export.horizon import Horizon
from tensorview_insitu.export.network import Block
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.pieces import Pieces, cells_by_filter, grid_of, is_matrix
from tensorview_insitu.export.sheets import export_sheets
from tensorview_insitu.export.trajectory import Trajectory
from tensorview_insitu.export.trust import doubt_of_variables
from tensorview_insitu.export.variables import VariableWriter
from tensorview_insitu.index import (
    DistributionIndex,
    LayerIndex,
    SheetsIndex,
    TilesIndex,
    TrajectoryIndex,
    VariableIndex,
)
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.file_names import safe_names

# What files of a layer are called that are not of one variable, and what follows its name in those that are.
_OTHER_FILES = r"(sheets|grids|path|bias_sheet|movement|distribution).*|.*_(now|by_step|quantiles|\d+)"

_SAME_MOMENT = 1e-9  # of an epoch
_STEP = "[0-9]" * 7  # the beginning of the step in a file's name
_FILES = {"sheets": "sheets*", "grids": "grids*", "biases": "bias_sheet*"}
_TRAJECTORY_FILES = ("path*", "movement.csv")


@dataclass
class Norms:
    """How large a variable is at each snapshot, and how far each epoch moved it.

    Args:
        epochs: of the snapshots.
        norms: the L2 norm of its values.
        moves: the L2 norm of their change from the end of the epoch before to the end of this one; NaN where
            either is not among the snapshots.
    """

    epochs: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    _end: tuple[int, NDArray[np.float32]] | None = None  # of the last epoch that ended

    def add(self, snapshots: Snapshots) -> None:
        """More snapshots."""
        flat = snapshots.values.reshape(len(snapshots.values), -1)
        for values, epoch in zip(flat, snapshots.epochs, strict=True):
            self.epochs.append(float(epoch))
            self.norms.append(float(np.linalg.norm(values)))
            self.moves.append(np.nan)
            number = round(epoch)
            if abs(epoch - number) < _SAME_MOMENT:
                if self._end is not None and self._end[0] == number - 1:
                    self.moves[-1] = float(np.linalg.norm(values - self._end[1]))
                self._end = (number, values)


_NOTHING: tuple[VariableIndex | None, Norms] = (None, Norms())


@dataclass
class Exported:
    """What was made of one layer.

    Args:
        index: its part of index.json.
        distributions: of its variables.
        norms: by variable.
        blocks: its kernels for the scene of the whole network.
    """

    index: LayerIndex
    distributions: list[DistributionIndex] = field(default_factory=list)
    norms: dict[str, Norms] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


def export_layer(
    parts: Parts,
    run: Run,
    target: Target,
    layer: str,
    variables: list[str],
    *,
    kind: str,
    folder: str,
    every: int,
    shapes: Mapping[str, tuple[int, ...]],
    batches: pd.DataFrame,
    horizon: Horizon,
    wrote: Callable[[], None],
) -> Exported:
    """Write what was recorded of one layer.

    Args:
        parts: of the export: each variable is one, and each thing that is made of it.
        run: the run.
        target: where to.
        layer: its path in the model.
        variables: what of it to write.
        kind: its class.
        folder: where its files go, relative to the target.
        every: every n-th snapshot (and the last).
        shapes: of all datasets of the run.
        batches: loss and learning rate of every batch.
        horizon: how far the training is to go.
        wrote: called after each snapshot.
    """
    datasets = {variable: layout.variable_dataset(layer, variable) for variable in variables}
    index: LayerIndex = {
        "name": layer,
        "kind": kind,
        "folder": folder,
        "variables": [],
        "sheets": None,
        "biases": None,
        "grids": None,
        "trajectory": None,
        "untrusted": doubt_of_variables(run, datasets),
    }
    made = Exported(index)
    stems = variable_stems(variables)
    kernels = [variable for variable in variables if variable.endswith("kernel")]
    kernel = kernels[0] if kernels else None
    if len(kernels) > 1:
        parts.note(
            f"of {layer}, the views of one layer and comparisons show {kernel}; {', '.join(kernels[1:])} as "
            "volumes, distributions and in the network"
        )
    doubts = run.untrusted(layout.BATCH_SCALARS)
    for variable in variables:
        name, stem = f"layers/{layer}/{variable}", stems[variable]
        pieces = Pieces(run, layer, variable, every, shapes[datasets[variable]])
        about, norms = parts.make(
            name,
            partial(_export_variable, VariableWriter(target, folder, variable, stem), pieces, wrote),
            _NOTHING,
            files=[f"{folder}/{stem}{end}" for end in (".pvd", "_by_step.pvd", f"_{_STEP}*.vti")],
        )
        if about is None:  # none of what is made of it can be
            _export_nothing(parts, name, folder, stem, variable == kernel, variable == "bias")
            continue
        index["variables"].append(about)
        made.norms[variable] = norms
        base = f"{folder}/distribution_{stem}"
        distribution = parts.make(
            f"{name}/distribution",
            partial(Distribution(target, base, layer, variable, about["range"], horizon).of, pieces),
            None,
            files=_distribution_files(base),
        )
        if distribution is not None:
            made.distributions.append(distribution)
        if variable in kernels:
            name_in_network = layer if len(kernels) == 1 else f"{layer}/{variable}"
            made.blocks.append(Block(layer, variable, pieces, name_in_network))
        if variable == kernel:
            channels = len(about["arrays"])
            index["sheets"] = parts.make(
                f"{name}/sheets",
                partial(_export_sheets, target, folder, channels, pieces, horizon),
                None,
                files=[f"{folder}/{_FILES['sheets']}"],
            )
            index["grids"] = parts.make(
                f"{name}/grids",
                partial(_export_grids, target, folder, pieces),
                None,
                files=[f"{folder}/{_FILES['grids']}"],
            )
            index["trajectory"] = parts.make(
                f"{name}/trajectory",
                partial(_export_trajectory, target, folder, pieces, batches, doubts),
                None,
                files=[f"{folder}/{file}" for file in _TRAJECTORY_FILES],
            )
        elif variable == "bias":
            index["biases"] = parts.make(
                f"{name}/sheets",
                partial(_export_biases, target, folder, pieces, horizon),
                None,
                files=[f"{folder}/{_FILES['biases']}"],
            )
    return made


def variable_stems(variables: Sequence[str]) -> dict[str, str]:
    """What the names of the files of each variable of a layer begin with."""
    return safe_names(variables, _OTHER_FILES)


def _distribution_files(base: str) -> list[str]:
    ends = (".vtp", "_quantiles.vtp", "_now.pvd", "_now_by_step.pvd", f"_{_STEP}*.vtp")
    return [base + end for end in ends]


def _export_nothing(parts: Parts, name: str, folder: str, stem: str, is_kernel: bool, is_bias: bool) -> None:
    """Take away what an export before made of a variable that now cannot be exported."""
    files = _distribution_files(f"{folder}/distribution_{stem}")
    if is_kernel:
        files += [f"{folder}/{file}" for file in (_FILES["sheets"], _FILES["grids"], *_TRAJECTORY_FILES)]
    if is_bias:
        files.append(f"{folder}/{_FILES['biases']}")
    parts.remove(files)


def _export_variable(
    writer: VariableWriter, pieces: Pieces, wrote: Callable[[], None]
) -> tuple[VariableIndex | None, Norms]:
    norms = Norms()
    for snapshots in pieces:
        writer.add(snapshots, wrote)
        norms.add(snapshots)
    return writer.finish(), norms


def _export_sheets(
    target: Target, folder: str, channels: int, pieces: Pieces, horizon: Horizon
) -> SheetsIndex:
    # Of a whole variable only one input channel is held at once; the rest goes piece by piece.
    strips: list[Snapshots] = []
    grid: tuple[int, ...] = ()
    for snapshots in pieces:
        cells, grid = cells_by_filter(snapshots), grid_of(snapshots)
        strips.append(replace(snapshots, values=cells[:, :, 0].copy()))
    return export_sheets(target, f"{folder}/sheets", "weight", grid, channels, strips, horizon)


def _export_grids(target: Target, folder: str, pieces: Pieces) -> TilesIndex:
    grids = GridsWriter(target, folder, len(pieces.keep))
    for snapshots in pieces:
        cells, grid = cells_by_filter(snapshots), grid_of(snapshots)
        grids.add(cells, grid, snapshots.steps, snapshots.epochs, matrix=is_matrix(snapshots))
    return grids.finish()


def _export_trajectory(
    target: Target, folder: str, pieces: Pieces, batches: pd.DataFrame, doubts: Collection[str]
) -> TrajectoryIndex | None:
    path = Trajectory(batches, doubts, target, folder)
    for snapshots in pieces:
        path.add(snapshots)
    return path.finish()


def _export_biases(target: Target, folder: str, pieces: Pieces, horizon: Horizon) -> SheetsIndex:
    strips = [replace(s, values=cells_by_filter(s)[:, :, 0]) for s in pieces]
    return export_sheets(target, f"{folder}/bias_sheet", "bias", (1,), 1, strips, horizon)
