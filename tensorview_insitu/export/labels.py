"""Text as geometry: tick labels of ParaView's axes are numbers only, and its text lies on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkFiltersCore import vtkAppendPolyData
from vtkmodules.vtkRenderingFreeType import vtkVectorText

from tensorview_insitu.export.poly_data import save
from tensorview_insitu.text.printable import printable

_LONGEST = 30
_WIDTH = 0.75  # letters are about one high, and somewhat wide


@dataclass(frozen=True)
class Label:
    """A word at a place.

    Args:
        text: one line.
        x: where it ends, or has its middle with `middle`.
        y: the height of its middle.
        size: of its letters.
        anchor: `"ends"` or `"middle"`.
    """

    text: str
    x: float
    y: float
    size: float
    anchor: str = "ends"


def write_labels(path: Path, labels: Sequence[Label]) -> tuple[float, float]:
    """Write words as poly data in the plane z = 0; how far they reach in x.

    Raises:
        OSError: the file cannot be written.
    """
    append = vtkAppendPolyData()
    for label in labels:
        text = vtkVectorText()
        text.SetText(_shortened(printable(label.text, ascii_only=True)))  # it has no other letters
        text.Update()
        letters = text.GetOutput()
        if not letters.GetNumberOfPoints():  # nothing but spaces
            continue
        corners = vtk_to_numpy(letters.GetPoints().GetData())
        left, right = corners[:, 0].min(), corners[:, 0].max()
        from_ = {"ends": right, "middle": (left + right) / 2}[label.anchor]
        x = (corners[:, 0] - from_) * _WIDTH * label.size + label.x
        y = (corners[:, 1] - 0.4) * _WIDTH * label.size + label.y
        letters.GetPoints().SetData(numpy_to_vtk(np.column_stack([x, y, 0 * x]), deep=True))
        append.AddInputData(letters)
    append.Update()
    save(path, append.GetOutput())
    bounds = append.GetOutput().GetBounds()
    return float(bounds[0]), float(bounds[1])


def _shortened(name: str) -> str:
    """A name that fits: its end, which tells layers apart."""
    return name if len(name) <= _LONGEST else "..." + name[3 - _LONGEST :]
