"""Lines over the rows of a heat map that are not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tensorview_insitu.export.poly_data import write_poly_data

_MOST = 80  # lines in a row


def write_hatching(path: Path, extent: tuple[float, float], bottoms: Sequence[float], height: float) -> None:
    """Write slanted lines over rows.

    Args:
        path: the .vtp file.
        extent: where the rows begin and end in x.
        bottoms: the lower edge of each.
        height: of a row.
    """
    low, high = extent
    apart = max(height, (high - low) / _MOST)
    begins = np.arange(low, high, apart)
    ends = np.minimum(begins + apart, high)
    rises = height * (ends - begins) / apart
    points = [
        corner
        for bottom in bottoms
        for begin, end, rise in zip(begins, ends, rises, strict=True)
        for corner in ((begin, bottom, 0.0), (end, bottom + rise, 0.0))
    ]
    lines = [np.array([i, i + 1]) for i in range(0, len(points), 2)]
    write_poly_data(path, np.array(points), lines=lines)
