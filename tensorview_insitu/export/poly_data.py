"""Write points, lines and faces with their arrays as VTK poly data (.vtp).

Format: https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html, written by VTK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from tensorview_insitu.run.publish import publish
from tensorview_insitu.text.array_names import checked


def write_poly_data(
    path: Path,
    points: NDArray[Any],
    *,
    vertices: bool = False,
    lines: Sequence[NDArray[Any]] = (),
    quads: NDArray[Any] | None = None,
    point_data: Mapping[str, NDArray[Any]] | None = None,
    cell_data: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write one piece of geometry.

    Args:
        path: the .vtp file.
        points: `(points, 3)`.
        vertices: whether every point is drawn as one.
        lines: each the numbers of its points.
        quads: `(faces, 4)`, the numbers of their points.
        point_data: arrays `(points,)`; NaN is kept.
        cell_data: arrays `(cells,)`, in the order vertices, lines, faces.

    Raises:
        ValueError: an array's name is no plain identifier, which VTK would write unescaped.
        OSError: the file cannot be written.
    """
    data = vtkPolyData()
    places = vtkPoints()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(points, np.float32), deep=True))
    data.SetPoints(places)
    if vertices:
        data.SetVerts(_cells([np.array([i]) for i in range(len(points))]))
    if len(lines):
        data.SetLines(_cells(lines))
    if quads is not None and len(quads):
        data.SetPolys(_cells(quads))
    for arrays, place in ((point_data, data.GetPointData()), (cell_data, data.GetCellData())):
        for name, array in (arrays or {}).items():
            vtk_array = numpy_to_vtk(np.ascontiguousarray(array), deep=True)
            vtk_array.SetName(checked(name))
            place.AddArray(vtk_array)
    save(path, data)


def save(path: Path, data: vtkPolyData) -> None:
    """Write VTK poly data under a temporary name, then rename it; a file that is equal stays."""
    writer = vtkXMLPolyDataWriter()
    # Not by VTK: it knows no path that is no UTF-8.
    writer.WriteToOutputStringOn()
    writer.SetInputData(data)
    # Base64 inside the XML. Not ASCII, which loses NaN and the sign of infinity; and not appended raw
    # bytes: see image_data.py.
    writer.SetDataModeToBinary()
    if not writer.Write():
        raise OSError(f"{path} could not be written (VTK error {writer.GetErrorCode()})")
    content = writer.GetOutputString().encode()
    if not path.exists() or path.read_bytes() != content:
        publish(path, content)


def grid_quads(columns: int, rows: int, first: int = 0) -> NDArray[np.int64]:
    """The faces between points that lie `columns` in a row, one row after the other."""
    corner = first + (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1, 1)
    faces: NDArray[np.int64] = corner + np.array([0, 1, columns + 1, columns])
    return faces


def _cells(cells: Sequence[NDArray[Any]] | NDArray[Any]) -> vtkCellArray:
    if isinstance(cells, np.ndarray):
        offsets = np.arange(len(cells) + 1) * cells.shape[1]
    else:
        offsets = np.concatenate([[0], np.cumsum([len(cell) for cell in cells])])
    array = vtkCellArray()
    array.SetData(
        numpy_to_vtkIdTypeArray(offsets.astype(np.int64), deep=True),
        numpy_to_vtkIdTypeArray(np.concatenate(list(cells)).astype(np.int64), deep=True),
    )
    return array
