"""Everything of one layer: its variables as image data, sheets, tiles, its path, its distributions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.distributions import Distribution
from tensorview_insitu.export.files import Target
from tensorview_insitu.export.grids import GridsWriter
from tensorview_insitu.export.horizon import Horizon
from tensorview_insitu.export.network import Block
from tensorview_insitu.export.pieces import Pieces, cells_by_filter, grid_of, is_matrix
from tensorview_insitu.export.sheets import export_sheets
from tensorview_insitu.export.trajectory import Trajectory
from tensorview_insitu.export.variables import VariableWriter
from tensorview_insitu.index import DistributionIndex, LayerIndex, SheetsIndex, TilesIndex, TrajectoryIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.file_names import safe_names

# What files of a layer are called that are not of one variable, and what follows its name in those that are.
_OTHER_FILES = r"(sheets|grids|path|bias_sheet|movement|distribution).*|.*_(now|by_step|quantiles|\d+)"


@dataclass
class Norms:
    """How large a variable is at each snapshot, and how far it moved since the one before.

    Args:
        epochs: of the snapshots.
        norms: the L2 norm of its values.
        moves: the L2 norm of their change; NaN at the first.
    """

    epochs: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    _last: NDArray[np.float32] | None = None

    def add(self, snapshots: Snapshots) -> None:
        """More snapshots."""
        flat = snapshots.values.reshape(len(snapshots.values), -1)
        for values, epoch in zip(flat, snapshots.epochs, strict=True):
            move = np.nan if self._last is None else float(np.linalg.norm(values - self._last))
            self.epochs.append(float(epoch))
            self.norms.append(float(np.linalg.norm(values)))
            self.moves.append(move)
            self._last = values


@dataclass
class Exported:
    """What was made of one layer.

    Args:
        index: its part of index.json.
        distributions: of its variables.
        norms: by variable.
        block: its kernel's cells for the scene of the whole network.
    """

    index: LayerIndex
    distributions: list[DistributionIndex] = field(default_factory=list)
    norms: dict[str, Norms] = field(default_factory=dict)
    block: Block | None = None


def export_layer(
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
    index: LayerIndex = {
        "name": layer,
        "kind": kind,
        "folder": folder,
        "variables": [],
        "sheets": None,
        "biases": None,
        "grids": None,
        "trajectory": None,
    }
    made = Exported(index)
    stems = safe_names(variables, _OTHER_FILES)
    for variable in variables:
        pieces = Pieces(run, layer, variable, every, shapes[layout.variable_dataset(layer, variable)])
        writer = VariableWriter(target, folder, variable, stems[variable])
        norms = made.norms[variable] = Norms()
        for snapshots in pieces:
            writer.add(snapshots, wrote)
            norms.add(snapshots)
        about = writer.finish()
        index["variables"].append(about)
        base = f"{folder}/distribution_{stems[variable]}"
        distribution = Distribution(target, base, layer, variable, about["range"], horizon).of(pieces)
        if distribution is not None:
            made.distributions.append(distribution)
        if variable.endswith("kernel") and index["sheets"] is None:
            index["sheets"], index["grids"], index["trajectory"] = _export_kernel(
                target, folder, len(about["arrays"]), pieces, horizon, batches
            )
            made.block = Block(layer, variable, pieces)
        elif variable == "bias":
            strips = [replace(s, values=cells_by_filter(s)[:, :, 0]) for s in pieces]
            index["biases"] = export_sheets(target, f"{folder}/bias_sheet", "bias", (1,), 1, strips, horizon)
    return made


def _export_kernel(
    target: Target, folder: str, channels: int, pieces: Pieces, horizon: Horizon, batches: pd.DataFrame
) -> tuple[SheetsIndex, TilesIndex, TrajectoryIndex | None]:
    # Of a whole variable only one input channel is held at once; the rest goes piece by piece.
    strips: list[Snapshots] = []
    grids = GridsWriter(target, folder, len(pieces.keep))
    path = Trajectory(batches, target, folder)
    grid: tuple[int, ...] = ()
    for snapshots in pieces:
        cells, grid = cells_by_filter(snapshots), grid_of(snapshots)
        strips.append(replace(snapshots, values=cells[:, :, 0].copy()))
        grids.add(cells, grid, snapshots.steps, snapshots.epochs, matrix=is_matrix(snapshots))
        path.add(snapshots)
    sheets = export_sheets(target, f"{folder}/sheets", "weight", grid, channels, strips, horizon)
    return sheets, grids.finish(), path.finish()
