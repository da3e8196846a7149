"""XDMF beside run.h5: ParaView opens the recorder's own file, and nothing is copied.

Format: https://www.xdmf.org/index.php/XDMF_Model_and_Format, in the dialect of XDMF 2
(`ItemType="HyperSlab"`), which ParaView's "XDMF Reader" takes. The newer "Xdmf3" readers end the whole
program on many errors in a file, so it is not written for them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from tensorview_insitu.export.beside import MOST_TIMES, Sidecars, arrays_of, drawn, export_beside
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.array_names import array_name
from tensorview_insitu.text.xml import document


def export_xdmf(run: Run, folder: Path, *, layers: Sequence[str] | None = None) -> Sidecars:
    """Write one .xmf for each kernel, bias, ... of a packed run, as `export_beside` says.

    Args:
        run: packed, so that there is one run.h5.
        folder: where to.
        layers: whose; by default all.

    Raises:
        NotInRunError: the run is not packed, or has no such layer.
        ValueError: XDMF cannot name run.h5 from there.
        OSError: the folder cannot be written.
    """
    return export_beside(run, folder, "xmf", _write, layers)


def _write(path: Path, source: Path, dataset: str, snapshots: Snapshots) -> None:
    file = os.path.relpath(source, path.parent)
    # ParaView 5.11 finds no file then, says so where nobody looks, and shows what was in its memory.
    if ":" in file or not file.isprintable():
        raise ValueError(
            f"Expected a path to run.h5 without colons and control characters, which XDMF cannot hold. "
            f"Received: {file!r}. Write it into the run's own folder, or with --format vtkhdf."
        )
    publish(path, _document(file, dataset, snapshots))


def _document(file: str, dataset: str, snapshots: Snapshots) -> bytes:
    variable, shape, epochs = snapshots.variable, snapshots.values.shape, snapshots.epochs
    root = Element("Xdmf", Version="2.0")
    domain = SubElement(root, "Domain")
    name = array_name(variable)
    series = SubElement(domain, "Grid", Name=name, GridType="Collection", CollectionType="Temporal")
    values, arrays = shape[1:], arrays_of(variable, shape[1:])
    for number in range(min(len(epochs), MOST_TIMES)):
        grid = SubElement(series, "Grid", Name=f"{name}_{number}", GridType="Uniform")
        SubElement(grid, "Time", Value=repr(float(epochs[number])))
        dims = drawn(values)
        SubElement(grid, "Topology", TopologyType="3DCoRectMesh", Dimensions=_text(dims))
        geometry = SubElement(grid, "Geometry", GeometryType="ORIGIN_DXDYDZ")
        for numbers in ("0 0 0", "1 1 1"):
            SubElement(geometry, "DataItem", Dimensions="3", Format="XML").text = numbers
        for array, middle in arrays:
            attribute = SubElement(grid, "Attribute", Name=array, AttributeType="Scalar", Center="Node")
            _slab(attribute, file, dataset, shape, (number, *middle))
    return document(root)


def _slab(
    attribute: Element, file: str, dataset: str, shape: tuple[int, ...], at: tuple[int | None, ...]
) -> None:
    start = [0 if place is None else place for place in at]
    count = [shape[axis] if place is None else 1 for axis, place in enumerate(at)]
    dims = drawn(shape[1:])
    slab = SubElement(attribute, "DataItem", ItemType="HyperSlab", Dimensions=_text(dims), Type="HyperSlab")
    numbers = SubElement(slab, "DataItem", Dimensions=f"3 {len(shape)}", Format="XML")
    numbers.text = f"{_text(start)}  {_text([1] * len(shape))}  {_text(count)}"
    whole = SubElement(
        slab, "DataItem", Dimensions=_text(shape), NumberType="Float", Precision="4", Format="HDF"
    )
    whole.text = f"{file}:/{dataset}"


def _text(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
