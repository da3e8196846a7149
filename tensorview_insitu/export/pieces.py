"""The snapshots of a variable, piece by piece, and how its axes are seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.files import every_nth
from tensorview_insitu.run.reader import Run, Snapshots

_SPACE = ("position", "depth", "row", "column")
_HELD_BYTES = 256 << 20


class Pieces:
    """The snapshots of one variable, again and again; read anew each time where they are many.

    Args:
        run: the run.
        layer: its layer.
        variable: its name.
        every: every n-th snapshot (and the last).
        shape: of its dataset, if it is known.
    """

    def __init__(
        self, run: Run, layer: str, variable: str, every: int, shape: tuple[int, ...] | None = None
    ) -> None:
        self._run, self._layer, self._variable = run, layer, variable
        pieces = list(run.pieces(layer, variable, shape=shape))
        self._pieces = pieces
        self.keep = every_nth(sum(count for _, count in pieces), every)
        self._held: list[Snapshots] | None = None

    def __iter__(self) -> Iterator[Snapshots]:
        if self._held is not None:
            yield from self._held
            return
        held: list[Snapshots] | None = []
        for first, count in self._pieces:
            mask = np.isin(np.arange(first, first + count), self.keep)
            if not mask.any():
                continue
            piece = self._run.variable(self._layer, self._variable, first=first, count=count)
            # Fewer came where damaged files are passed over: which they are is not known, so all are taken.
            piece = piece.only(mask) if len(piece) == count else piece
            if not len(piece):
                continue
            if held is not None:
                held.append(piece)
                if sum(one.values.nbytes for one in held) > _HELD_BYTES:
                    held = None
            yield piece
        self._held = held


def cells_by_filter(snapshots: Snapshots) -> NDArray[np.float32]:
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


def is_matrix(snapshots: Snapshots) -> bool:
    """Whether it has no grid, as a Dense kernel: then its filters lie along one picture's columns."""
    return not any(dim in _SPACE for dim in snapshots.dims)


def grid_of(snapshots: Snapshots) -> tuple[int, ...]:
    """The shape of the grid of a kernel; of a Dense one, its inputs."""
    along = _grid_dims(snapshots.dims)
    return tuple(n for n, dim in zip(snapshots.values.shape, snapshots.dims, strict=True) if dim in along)


def _grid_dims(dims: Sequence[str]) -> tuple[str, ...]:
    # A Dense kernel has no grid: its input channels take the place.
    return tuple(dim for dim in dims if dim in _SPACE) or ("channel",)
