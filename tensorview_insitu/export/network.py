"""All kernels as one 3-D scene: a slab for each layer, a face for each weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.grids import as_tiles
from tensorview_insitu.export.labels import Label, write_labels
from tensorview_insitu.export.pieces import Pieces, cells_by_filter, grid_of, is_matrix
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.tiles import Tiling
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import NetworkIndex

_MOST_CELLS = 6000  # of a layer
_MOST_CHANNELS = 8
_MOST_ACROSS = 75  # rows or columns of a tile
_MOST_LAYERS = 40
_MOST_TIMES = 100
_APART = 1.35  # slabs, in units of their height
_IN_A_ROW = 8
_ROW = 1.75  # from one row of slabs to the next
_DEPTH = 0.5  # of a slab


@dataclass
class Block:
    """A kernel.

    Args:
        layer: the layer's name.
        variable: its own name.
        pieces: its snapshots.
        name: what it is called in the scene.
    """

    layer: str
    variable: str
    pieces: Pieces
    name: str


class _Slab:
    """What is drawn of one kernel: where its faces lie, and what they hold at each snapshot."""

    def __init__(self, block: Block, place: int) -> None:
        self.block, self.place = block, place
        values, self.steps, self.epochs = [], [], []
        for snapshots in block.pieces:
            cells = cells_by_filter(snapshots)
            grid = grid_of(snapshots)
            self.matrix = is_matrix(snapshots)
            self.weights = int(np.prod(cells.shape[1:]))
            channels = cells.shape[2] if len(grid) > 1 else 1
            shown = min(channels, _MOST_CHANNELS)
            tiles = [
                as_tiles(self._of_channel(cells, grid, c), grid, matrix=self.matrix)[0] for c in range(shown)
            ]
            stacked = np.stack(tiles, axis=1)  # (snapshot, channel, tile, row, column)
            values.append(self._thinned(stacked))
            self.steps += [int(step) for step in snapshots.steps]
            self.epochs += [float(epoch) for epoch in snapshots.epochs]
        self.values = np.concatenate(values)
        self._lay_out()

    @staticmethod
    def _of_channel(cells: NDArray[np.float32], grid: tuple[int, ...], channel: int) -> NDArray[np.float32]:
        return cells[:, :, channel : channel + 1] if len(grid) > 1 else cells

    @staticmethod
    def _thinned(values: NDArray[np.float32]) -> NDArray[np.float32]:
        _, channels, tiles, rows, columns = values.shape
        rows, columns = min(rows, _MOST_ACROSS), min(columns, _MOST_ACROSS)
        channels = max(1, min(channels, _MOST_CELLS // (tiles * rows * columns)))
        tiles = max(1, min(tiles, _MOST_CELLS // (channels * rows * columns)))
        return values[:, :channels, :tiles, :rows, :columns].copy()

    def _lay_out(self) -> None:
        _, channels, tiles, rows, columns = self.values.shape
        tiling = Tiling(tiles, rows, columns)
        plane, quads = tiling.faces()
        width, height = tiling.size
        scale = 1.0 / max(width, height)
        self.size = (width * scale, height * scale)
        x0 = self.place % _IN_A_ROW * _APART
        self.height = -(self.place // _IN_A_ROW) * _ROW
        depth = _DEPTH / max(1, _MOST_CHANNELS - 1)
        points, faces = [], []
        for channel in range(channels):
            x = np.full(len(plane), x0 + channel * depth)
            y, z = -plane[:, 0] * scale + self.size[0] / 2, plane[:, 1] * scale - self.size[1] / 2
            z = z + self.height
            points.append(np.column_stack([x, y, z]))
            faces.append(quads + channel * len(plane))
        self.points, self.quads = np.concatenate(points), np.concatenate(faces)
        self.bounds = (x0 - 0.03, x0 + depth * (channels - 1) + 0.03)
        places = np.indices(self.values.shape[1:]).reshape(4, -1).astype(np.int32)
        of_channel, tile, row, column = places
        self.fixed = {
            "layer": np.full(tile.size, self.place, np.int32),
            "filter": column if self.matrix else tile,
            "channel": row if self.matrix else of_channel,
            "row": np.zeros_like(row) if self.matrix else row,
            "column": np.zeros_like(column) if self.matrix else column,
        }

    def at(self, step: float) -> NDArray[np.float32]:
        """The weights at that step: of the last snapshot until then; NaN before the first."""
        number = int(np.searchsorted(self.steps, step, side="right")) - 1
        if number < 0:
            return np.full(self.values[0].size, np.nan, np.float32)
        flat: NDArray[np.float32] = self.values[number].ravel()
        return flat

    def box(self) -> NDArray[np.float64]:
        """Its eight corners."""
        corner = np.indices((2, 2, 2)).reshape(3, -1).T.astype(np.float64)
        margin = 0.03
        reach = np.array([0.0, self.size[0] / 2 + margin, self.size[1] / 2 + margin])
        low = np.array([self.bounds[0], 0.0, self.height]) - reach
        high = np.array([self.bounds[1], 0.0, self.height]) + reach
        place: NDArray[np.float64] = low + corner * (high - low)
        return place


def export_network(target: Target, blocks: list[Block], norms: pd.DataFrame, of: int) -> NetworkIndex | None:
    """Write the scene; None where there is no kernel.

    Args:
        target: where to.
        blocks: the kernels, in the order of the model.
        norms: the run's gradient norms.
        of: how many kernels there are, with those that cannot be had.
    """
    chosen = [blocks[i] for i in spread(len(blocks), _MOST_LAYERS)]
    if not chosen:
        return None
    slabs = [_Slab(block, place) for place, block in enumerate(chosen)]
    longest = max(slabs, key=lambda slab: len(slab.steps))
    points = np.concatenate([slab.points for slab in slabs])
    starts = np.cumsum([0, *(len(slab.points) for slab in slabs[:-1])])
    quads = np.concatenate([slab.quads + start for slab, start in zip(slabs, starts, strict=True)])
    fixed = {name: np.concatenate([slab.fixed[name] for slab in slabs]) for name in slabs[0].fixed}
    first = np.concatenate([slab.values[0].ravel() for slab in slabs])
    ranges: dict[str, list[Any]] = {"weight": [], "change": [], "log10_gradient_norm": []}
    moments = []
    for i in spread(len(longest.steps), _MOST_TIMES):
        step = longest.steps[i]
        weight = np.concatenate([slab.at(step) for slab in slabs])
        moving = {
            "weight": weight,
            "change": weight - first,
            "log10_gradient_norm": _gradient_norms(slabs, norms, step),
        }
        for name, values in moving.items():
            ranges[name].append(finite_range(values) if np.isfinite(values).any() else (np.nan, np.nan))
        name = f"network_{step:07d}.vtp"
        if target.lacks(f"network/{name}", points, quads, fixed, moving):
            write_poly_data(
                target.path(f"network/{name}"), points, quads=quads, cell_data={**fixed, **moving}
            )
        moments.append((float(longest.epochs[i]), float(step), name))
    _write_boxes(target, slabs)
    known = {name: finite_range(values) for name, values in ranges.items() if np.isfinite(values).any()}
    known |= {name: finite_range(values) for name, values in fixed.items()}
    bounds = np.array([points.min(axis=0), points.max(axis=0)])
    return {
        "file": write_time_series(target, "network/network.pvd", moments),
        "boxes": "network/boxes.vtp",
        "labels": "network/names.vtp",
        "arrays": known,
        "layers": [slab.block.name for slab in slabs],
        "kernels": [(slab.block.layer, slab.block.variable) for slab in slabs],
        "bounds": [(float(low), float(high)) for low, high in bounds.T],
        "of": of,
        "drawn": len(quads),
        "weights": sum(slab.weights for slab in slabs),
        "times": times_of(moments),
    }


def _gradient_norms(slabs: list[_Slab], norms: pd.DataFrame, step: int) -> NDArray[np.float32]:
    """Of the whole kernel, at the last step until then; NaN before the first, minus infinity for zero."""
    parts = []
    at = int(np.searchsorted(norms["step"].to_numpy(), step, side="right")) - 1 if len(norms) else -1
    for slab in slabs:
        name = f"{slab.block.layer}/{slab.block.variable}"
        value = float(norms[name].iloc[at]) if at >= 0 and name in norms else np.nan
        with np.errstate(divide="ignore"):
            parts.append(np.full(len(slab.quads), np.log10(value), np.float32))
    return np.concatenate(parts)


def _write_boxes(target: Target, slabs: list[_Slab]) -> None:
    points = np.concatenate([slab.box() for slab in slabs])
    edges = [(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7)]
    lines = [8 * i + np.array(edge) for i in range(len(slabs)) for edge in edges]
    write_poly_data(target.path("network/boxes.vtp"), points, lines=lines)
    size = 0.115
    labels = [
        # Above each slab; every other one higher, so that long names do not meet.
        Label(
            slab.block.name,
            sum(slab.bounds) / 2,
            slab.height + 0.62 + 0.14 * (slab.place % 2),
            size,
            "middle",
        )
        for slab in slabs
    ]
    write_labels(target.path("network/names.vtp"), labels)
