"""Small grids side by side, as faces: the filters of a layer, or what they answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GAP = 0.35
_WIDE = 1.6  # how much wider than high all of them together are
MOST_LABELS = 200


@dataclass(frozen=True)
class Tiling:
    """Where `count` grids of `(rows, columns)` lie.

    Args:
        count: how many.
        rows: of each.
        columns: of each.
        whole: whether they lie at whole numbers of cells, as the pixels of a picture must.
    """

    count: int
    rows: int
    columns: int
    whole: bool = False

    @property
    def gap(self) -> float:
        """Between two of them, in cells; more where they are large."""
        gap = max(_GAP, 0.12 * max(self.rows, self.columns))
        return float(math.ceil(gap)) if self.whole else gap

    @property
    def across(self) -> int:
        """How many lie in a row."""
        pitch = (self.rows + self.gap + self.label_room) / (self.columns + self.gap)
        return max(1, min(self.count, round(math.sqrt(self.count * _WIDE * pitch))))

    @property
    def label_room(self) -> float:
        """Above each, for its number."""
        room = 0.22 * max(self.rows, 1.0) if self.count <= MOST_LABELS else 0.0
        return float(math.ceil(room)) if self.whole else room

    @property
    def size(self) -> tuple[float, float]:
        """How wide and high all of them are."""
        rows = -(-self.count // self.across)
        return (
            self.across * (self.columns + self.gap) - self.gap,
            rows * (self.rows + self.gap + self.label_room) - self.gap,
        )

    def corners(self) -> NDArray[np.float64]:
        """`(count, 2)`, the upper left of each; y runs upwards, from 0 at the bottom."""
        number = np.arange(self.count)
        pitch = self.rows + self.gap + self.label_room
        x = (number % self.across) * (self.columns + self.gap)
        y = self.size[1] - self.label_room - (number // self.across) * pitch
        return np.column_stack([x, y])

    def faces(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Points `(cells * 4, 3)` and quads `(cells, 4)`, cells in the order (tile, row, column)."""
        tile, row, column = np.indices((self.count, self.rows, self.columns)).reshape(3, -1)
        left = self.corners()[tile, 0] + column
        top = self.corners()[tile, 1] - row
        x = left[:, None] + np.array([0.0, 1.0, 1.0, 0.0])
        y = top[:, None] + np.array([0.0, 0.0, -1.0, -1.0])
        points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
        return points, np.arange(x.size).reshape(-1, 4)

    def outlines(self, tiles: NDArray[np.int64]) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
        """Points and lines around some of the tiles."""
        margin = 0.3 * self.gap
        at = self.corners()[tiles]
        x = at[:, :1] + np.array([-margin, self.columns + margin, self.columns + margin, -margin])
        y = at[:, 1:] + np.array([margin, margin, -self.rows - margin, -self.rows - margin])
        points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
        return points, [4 * i + np.array([0, 1, 2, 3, 0]) for i in range(len(tiles))]
