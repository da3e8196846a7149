"""Write arrays on a regular grid as VTK image data (.vti).

Format: https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html, written by pyevtk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyevtk.hl import imageToVTK

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def write_image_data(
    path: Path,
    point_data: Mapping[str, NDArray[Any]] | None = None,
    cell_data: Mapping[str, NDArray[Any]] | None = None,
    *,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> None:
    """Write arrays of one shape `(x, y, z)`; missing axes have length one.

    Raises:
        ValueError: the arrays differ in shape, are empty, or have names that need escaping (pyevtk
            would write a file that no reader opens, and say nothing).
        OSError: the file cannot be written.
    """
    points, cells = _ready(point_data), _ready(cell_data)
    temporary = path.with_name(f".{path.stem}.tmp")
    written = imageToVTK(str(temporary), origin, spacing, cellData=cells, pointData=points)
    os.replace(written, path)


def _ready(arrays: Mapping[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]] | None:
    if not arrays:
        return None
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or 0 in next(iter(shapes)):
        raise ValueError(f"Expected arrays of one shape that hold something. Received: {shapes}.")
    for name in arrays:
        if not _PLAIN.fullmatch(name):
            raise ValueError(f"Expected a plain identifier as array name. Received: {name!r}.")
    return {name: _three_axes(array) for name, array in arrays.items()}


def _three_axes(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype.itemsize < 4 and array.dtype.kind == "f":
        array = array.astype(np.float32)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    # x runs fastest in VTK: Fortran order is what it reads without a copy.
    return np.asfortranarray(native.reshape(*array.shape, *[1] * (3 - array.ndim)))
