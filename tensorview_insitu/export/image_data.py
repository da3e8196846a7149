"""Write arrays on a regular grid as VTK image data (.vti).

Format: https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html, written by pyevtk.

pyevtk's own `imageToVTK` appends raw bytes to the XML. With the security update of expat for
CVE-2023-52425 (2.6, and Debian's 2.5.0-1+deb12u2), VTK 9.2 and so ParaView 5.11 reads some such files
and refuses others as not well-formed. So the arrays stand in the XML, as base64.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyevtk.vtk import VtkFile, VtkImageData, np_to_vtk

from tensorview_insitu.text.array_names import checked


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
    if not points and not cells:
        raise ValueError("Expected at least one array. Received none.")
    shape = next(iter(points.values())).shape if points else next(iter(cells.values())).shape
    end = tuple(n - 1 if points else n for n in shape)
    temporary = path.with_name(f".{path.stem}.tmp")
    file = VtkFile(str(temporary), VtkImageData)
    # pyevtk writes numbers by their repr, which of NumPy's is no number.
    place, size = [float(x) for x in origin], [float(x) for x in spacing]
    file.openGrid(start=(0, 0, 0), end=end, origin=place, spacing=size)
    file.openPiece(start=(0, 0, 0), end=end)
    for kind, arrays in (("Point", points), ("Cell", cells)):
        file.openData(kind)
        for name, array in arrays.items():
            _add_array(file, name, array)
        file.closeData(kind)
    file.closePiece()
    file.closeGrid()
    file.save()
    os.replace(file.getFileName(), path)


def _add_array(file: VtkFile, name: str, array: NDArray[Any]) -> None:
    # x runs fastest in VTK. The array's length in bytes, of the file's header type, comes first.
    data = array.tobytes(order="F")
    file.xml.openElement("DataArray").addAttributes(
        type=np_to_vtk[array.dtype.name].name, Name=name, NumberOfComponents=1, format="binary"
    )
    file.xml.addText(base64.b64encode(np.uint64(len(data)).tobytes() + data).decode())
    file.xml.closeElement("DataArray")


def _ready(arrays: Mapping[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
    if not arrays:
        return {}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or 0 in next(iter(shapes)):
        raise ValueError(f"Expected arrays of one shape that hold something. Received: {shapes}.")
    return {checked(name): _three_axes(array) for name, array in arrays.items()}


def _three_axes(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype.itemsize < 4 and array.dtype.kind == "f":
        array = array.astype(np.float32)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.reshape(*array.shape, *[1] * (3 - array.ndim))
