"""Write a heat map: rows with names over columns of time, as image data and text beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.hatching import write_hatching
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.labels import Label, write_labels
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.time_series import write_time_series
from tensorview_insitu.export.trust import marked
from tensorview_insitu.index import HeatMapIndex

_MOST_LABELS = 10
_LARGEST = 0.05  # letters, in units of the map's width


def write_heat_map(
    target: Target,
    folder: str,
    array: str,
    names: Sequence[str],
    values: NDArray[np.float32],
    extent: tuple[float, float],
    *,
    height: float,
    doubts: Collection[str] = (),
) -> HeatMapIndex:
    """Write a heat map.

    Args:
        target: where to.
        folder: of its files.
        array: the name of the values.
        names: of the rows, from the top.
        values: `(columns, rows)`.
        extent: the time at which the first column begins and the last ends.
        height: of the map, in units of its width.
        doubts: the rows that are not to be trusted: they are marked, and hatched.
    """
    width = extent[1] - extent[0]
    row_height = height * width / len(names)
    write_image_data(
        target.path(f"{folder}/{array}.vti"),
        cell_data={array: np.asarray(values, np.float32)[:, ::-1, None]},
        origin=(extent[0], 0.0, 0.0),
        spacing=(width / len(values), row_height, 1.0),
    )
    shown = spread(len(names), _MOST_LABELS)
    size = min(0.62 * row_height * max(1.0, len(names) / len(shown)), _LARGEST * width)
    labels = [
        Label(
            marked(names[row], doubts),
            extent[0] - 0.6 * size,
            (len(names) - 1 - row + 0.5) * row_height,
            size,
        )
        for row in shown
    ]
    left, _ = write_labels(target.path(f"{folder}/{array}_names.vtp"), labels)
    hatched = [row for row, name in enumerate(names) if name in doubts]
    hatching = f"{folder}/{array}_hatching.vtp" if hatched else None
    if hatching is not None:
        bottoms = [(len(names) - 1 - row) * row_height for row in hatched]
        write_hatching(target.path(hatching), extent, bottoms, row_height)
    return {
        "array": array,
        "file": f"{folder}/{array}.vti",
        "labels": f"{folder}/{array}_names.vtp",
        "rows": list(names),
        "untrusted": [names[row] for row in hatched],
        "hatching": hatching,
        "range": finite_range(values),
        "extent": extent,
        "height": row_height * len(names),
        "label_width": extent[0] - left,
    }


def write_now_lines(
    target: Target,
    folder: str,
    epochs: NDArray[np.float64],
    steps: NDArray[np.int64],
    places: NDArray[np.generic],
) -> str:
    """Write a vertical line, one high, at its place for each moment: a view draws it as high as its map.

    Args:
        target: where to.
        folder: of its files.
        epochs: `(moments,)`.
        steps: `(moments,)`.
        places: `(moments,)`, in the units of the map's columns.
    """
    moments = []
    for i in spread(len(steps)):
        name = f"now_{steps[i]:07d}.vtp"
        ends = np.array([[places[i], 0.0, 0.0], [places[i], 1.0, 0.0]], np.float64)
        if target.lacks(f"{folder}/{name}", ends):
            write_poly_data(target.path(f"{folder}/{name}"), ends, lines=[np.array([0, 1])])
        moments.append((float(epochs[i]), float(steps[i]), name))
    return write_time_series(target, f"{folder}/now.pvd", moments)
