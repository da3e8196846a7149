"""Every filter of a layer as its grid, tiled: the paper's figure 5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.labels import Label, write_labels
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.tiles import MOST_LABELS, Tiling
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import TilesIndex

_MOST_TILES = 1024
_MOST_ACROSS = 512  # of a matrix


def as_tiles(
    cells: NDArray[np.float32], grid: Sequence[int], *, matrix: bool
) -> tuple[NDArray[np.float32], str]:
    """Kernels `(snapshot, cell, channel, filter)` as tiles `(snapshot, tile, row, column)`.

    Args:
        cells: the kernels; `cell` runs over `grid`.
        grid: the shape of the kernel's grid; of a Dense kernel, its inputs.
        matrix: whether it is one without a grid: it becomes one tile, a column for each filter.

    Returns:
        The tiles, and what they show, in words.
    """
    snapshots, _, channels, filters = cells.shape
    # As many tiles, and no more of each, as a picture can show.
    cells = cells[..., :_MOST_TILES]
    if matrix:
        shown = cells[:, :_MOST_ACROSS, 0, :_MOST_ACROSS]
        inputs = str(grid[0]) if grid[0] == shown.shape[1] else f"the first {shown.shape[1]} of {grid[0]}"
        of_axis = "" if channels == 1 else f", the first of {channels} along the axes between"
        return shown[:, None], f"one row for each of {inputs} inputs, one column for each filter{of_axis}"
    if len(grid) == 1:
        most = min(channels, 64)
        tiles = cells[:, :, :most].transpose(0, 3, 2, 1)
        which = str(most) if most == channels else f"first {most} of {channels}"
        return tiles, f"every filter's {which} channels (rows) over {grid[0]} positions"
    of_channel = "" if channels == 1 else f", input channel 0 of {channels}"
    first = cells[:, :, 0].reshape(snapshots, *grid, -1)
    if len(grid) == 2:
        return first.transpose(0, 3, 1, 2), f"every filter's {grid[0]} x {grid[1]} grid{of_channel}"
    depth, rows, columns = grid
    tiles = first.transpose(0, 4, 2, 1, 3).reshape(snapshots, -1, rows, depth * columns)
    return tiles, f"every filter's {depth} slices of {rows} x {columns}, side by side{of_channel}"


class GridsWriter:
    """Writes the tiles of one layer, piece by piece.

    Args:
        target: where to.
        folder: of the layer.
        count: how many snapshots will come.
    """

    def __init__(self, target: Target, folder: str, count: int) -> None:
        self._target, self._folder = target, folder
        self._shown = set(spread(count).tolist())
        self._seen = 0
        self._first: NDArray[np.float32] | None = None
        self._moments: list[tuple[float, float, str]] = []
        self._ranges: list[tuple[float, float]] = []
        self._change_ranges: list[tuple[float, float]] = []
        self._about = ""
        self._of = 0

    def add(
        self,
        cells: NDArray[np.float32],
        grid: Sequence[int],
        steps: NDArray[np.int64],
        epochs: NDArray[np.float64],
        *,
        matrix: bool,
    ) -> None:
        """Write more snapshots of `(snapshot, cell, channel, filter)`."""
        tiles, self._about = as_tiles(cells, grid, matrix=matrix)
        self._matrix = matrix
        self._of = cells.shape[3]
        if self._first is None:
            self._first = tiles[0]
            self._tiling = Tiling(*tiles.shape[1:])
            self._points, self._quads = self._tiling.faces()
        tile, row, column = np.indices(tiles.shape[1:]).reshape(3, -1).astype(np.int32)
        for values, step, epoch in zip(tiles, steps, epochs, strict=True):
            self._seen += 1
            if self._seen - 1 not in self._shown:
                continue
            change = values - self._first
            self._ranges.append(finite_range(values))
            self._change_ranges.append(finite_range(change))
            name = f"grids_{step:07d}.vtp"
            if self._target.lacks(f"{self._folder}/{name}", values, change, matrix):
                write_poly_data(
                    self._target.path(f"{self._folder}/{name}"),
                    self._points,
                    quads=self._quads,
                    cell_data={
                        "weight": values.ravel(),
                        "change": change.ravel(),
                        "filter": column if matrix else tile,
                        "row": row,
                        "column": column,
                    },
                )
            self._moments.append((float(epoch), float(step), name))

    def finish(self) -> TilesIndex:
        """Write which file holds which time."""
        count = self._tiling.count
        labels = write_tile_labels(self._target, f"{self._folder}/grids_numbers.vtp", self._tiling)
        kept = self._moments
        return {
            "file": write_time_series(self._target, f"{self._folder}/grids.pvd", kept),
            "pattern": f"{self._folder}/grids_{{step:07d}}.vtp",
            "labels": labels,
            "outlines": None,
            "size": self._tiling.size,
            "tiles": count,
            "of": 1 if self._matrix else self._of,
            "about": self._about,
            "times": times_of(kept),
            "range": finite_range(self._ranges),
            "change_range": finite_range(self._change_ranges),
        }


def write_tile_labels(target: Target, file: str, tiling: Tiling) -> str:
    """Write the number of every tile above it.

    Returns:
        `file`; nothing where there is one tile, or so many that nobody could read their numbers.
    """
    if not 1 < tiling.count <= MOST_LABELS:
        return ""
    size = 0.85 * tiling.label_room
    middle = tiling.columns / 2
    labels = [
        Label(str(i), x + middle, y + 0.55 * tiling.label_room, size, "middle")
        for i, (x, y) in enumerate(tiling.corners())
    ]
    write_labels(target.path(file), labels)
    return file
