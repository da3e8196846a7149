"""Read exported files back with VTK's own readers."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOXML import vtkXMLImageDataReader, vtkXMLPolyDataReader


def read_image(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], object]:
    """Point arrays and cell arrays `(x, y, z)`, and VTK's object."""
    data = _read(vtkXMLImageDataReader(), path)
    dimensions = data.GetDimensions()
    cells = [max(1, n - 1) for n in dimensions]
    return _arrays(data.GetPointData(), dimensions), _arrays(data.GetCellData(), cells), data


def read_poly(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], object]:
    """Points, point arrays, and VTK's object."""
    data = _read(vtkXMLPolyDataReader(), path)
    arrays = data.GetPointData()
    named = {
        arrays.GetArrayName(i): vtk_to_numpy(arrays.GetArray(i)) for i in range(arrays.GetNumberOfArrays())
    }
    return vtk_to_numpy(data.GetPoints().GetData()), named, data


def read_cells(path: Path) -> dict[str, np.ndarray]:
    """Cell arrays of poly data."""
    data = read_poly(path)[2].GetCellData()
    return {data.GetArrayName(i): vtk_to_numpy(data.GetArray(i)) for i in range(data.GetNumberOfArrays())}


def read_collection(path: Path) -> list[tuple[float, Path]]:
    """The times of a .pvd and their files."""
    entries = ElementTree.parse(path).getroot().iter("DataSet")
    return [(float(e.get("timestep")), path.parent / e.get("file")) for e in entries]


def _read(reader, path):
    assert path.is_file()
    reader.SetFileName(str(path))
    reader.Update()
    assert reader.GetErrorCode() == 0
    return reader.GetOutput()


def _arrays(attributes, shape):
    return {
        attributes.GetArrayName(i): vtk_to_numpy(attributes.GetArray(i)).reshape(shape, order="F")
        for i in range(attributes.GetNumberOfArrays())
    }
