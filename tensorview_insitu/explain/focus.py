"""Numbers about maps: where their mass lies, and how alike two of them are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.network import ExplainError, Floats


def share_inside(maps: Floats, mask: Any) -> NDArray[np.float64]:
    """`(batch,)`: which share of the absolute values of each map lies inside a mask; NaN of an empty map.

    Args:
        maps: `(batch, *spatial)`.
        mask: `(*spatial)` or `(batch, *spatial)`: 1 inside, 0 outside, or shares between.

    Raises:
        ExplainError: the mask has another shape.
    """
    inside = np.asarray(mask, np.float64)
    if inside.shape not in (maps.shape, maps.shape[1:]):
        raise ExplainError(
            f"Expected a mask of shape {maps.shape[1:]} or {maps.shape}. Received: {inside.shape}."
        )
    size = np.abs(maps.astype(np.float64))
    axes = tuple(range(1, maps.ndim))
    whole = size.sum(axis=axes)
    part = (size * inside).sum(axis=axes)
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(maps), np.nan), where=whole > 0)
    return shares


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation of two maps, ties at their mean rank; NaN where one of them is flat."""
    ranks = [_ranks(array.ravel()) for array in (one, other)]
    first, second = (r - r.mean() for r in ranks)
    spread = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / spread) if spread > 0 else float("nan")


def _ranks(values: Floats) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse.ravel()]
    return ranks
