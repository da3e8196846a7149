"""A path over time as dashes: how a curve is drawn that is not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.poly_data import write_poly_data

_PER_INTERVAL = 4
_MOST = 60
_DRAWN = 0.55  # of a dash and the gap behind it


def unbroken(points: NDArray[np.float64]) -> list[slice]:
    """Where consecutive points, two at the least, are finite."""
    good = np.concatenate([[False], np.isfinite(points).all(axis=1), [False]])
    edges = np.flatnonzero(good[1:] != good[:-1])
    return [slice(a, b) for a, b in zip(edges[0::2], edges[1::2], strict=True) if b - a > 1]


def write_dashes(path: Path, points: NDArray[np.float64], arrays: Sequence[str]) -> None:
    """Write the line through `(points, 3)` as dashes; a lone point between gaps is a dot.

    Args:
        path: the .vtp file.
        points: in the order of the line.
        arrays: what their coordinates are called; the dashes have them as arrays too.
    """
    pieces = unbroken(points)
    lines = [dash for piece in pieces for dash in _dashes(points[piece])]
    if not lines:
        lone = points[np.isfinite(points).all(axis=1)]
        write_poly_data(path, lone, vertices=True, point_data=_named(lone, arrays))
        return
    corners = np.concatenate(lines)
    ends = np.cumsum([len(line) for line in lines])
    numbers = [np.arange(end - len(line), end) for line, end in zip(lines, ends, strict=True)]
    write_poly_data(path, corners, lines=numbers, point_data=_named(corners, arrays))


def _named(points: NDArray[np.float64], arrays: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    return dict(zip(arrays, points.T.astype(np.float32), strict=True))


def _dashes(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    length = len(points) - 1
    count = max(_PER_INTERVAL, min(_PER_INTERVAL * length, _MOST))
    places = np.arange(len(points))
    found = []
    for number in range(count):
        begin, end = length * number / count, length * (number + _DRAWN) / count
        at = np.concatenate([[begin], places[(places > begin) & (places < end)], [end]])
        found.append(np.column_stack([np.interp(at, places, axis) for axis in points.T]))
    return found
