"""XDMF beside run.h5: ParaView opens the recorder's own file, and nothing is copied.

Format: https://www.xdmf.org/index.php/XDMF_Model_and_Format, in the dialect of XDMF 2
(`ItemType="HyperSlab"`), which ParaView's "XDMF Reader" takes. The newer "Xdmf3" readers end the whole
program on many errors in a file, so it is not written for them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.files import finite_range
from tensorview_insitu.export.names import safe_names
from tensorview_insitu.index import ZeroCopyIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotInRunError
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.reader import Run, Snapshots

_MOST_TIMES = 2000


def export_xdmf(run: Run, folder: Path, *, layers: Sequence[str] | None = None) -> list[ZeroCopyIndex]:
    """Write one .xmf for each kernel, bias, ... of a packed run: image data over time.

    The first of its axes lies along z, the next along y, and so on; of a variable with more than three axes
    (a convolution's kernel has four) the axes in the middle are taken one value after the other, as
    arrays `weight_<channel>`.

    Args:
        run: packed, so that there is one run.h5.
        folder: where to.
        layers: whose; by default all.

    Raises:
        NotInRunError: the run is not packed, or has no such layer.
        OSError: the folder cannot be written.
    """
    source = packed_file(run)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = chosen_variables(run, layers)
    names = safe_names(f"{layer}/{variable}" for layer, variable in pairs)
    written = []
    for layer, variable in pairs:
        name = layout.variable_dataset(layer, variable)
        path = folder / f"{names[f'{layer}/{variable}']}.xmf"
        snapshots = run.variable(layer, variable)
        shape = run.datasets()[name]
        publish(path, _document(os.path.relpath(source, folder), name, variable, shape, snapshots.epochs))
        written.append(about(run, layer, variable, path, snapshots))
    return written


def packed_file(run: Run) -> Path:
    """The run.h5 that holds all of a run.

    Raises:
        NotInRunError: it is still in segments.
    """
    path = run.folder / layout.PACKED_FILE
    if not path.is_file() or any((run.folder / layout.SEGMENT_FOLDER).glob("*.h5")):
        raise NotInRunError(
            f"{run.folder} is not packed into one run.h5 yet: tensorview-insitu pack {run.folder}"
        )
    return path


def chosen_variables(run: Run, layers: Sequence[str] | None) -> list[tuple[str, str]]:
    """The variables of the layers, or of all.

    Raises:
        NotInRunError: there is no such layer.
    """
    pairs = run.variables()
    for layer in layers or ():
        if layer not in dict(pairs):
            held = ", ".join(dict.fromkeys(name for name, _ in pairs))
            raise NotInRunError(f'No layer "{layer}" in this run. It holds: {held}.')
    return [pair for pair in pairs if layers is None or pair[0] in layers]


def about(run: Run, layer: str, variable: str, path: Path, snapshots: Snapshots) -> ZeroCopyIndex:
    """What a view has to know of a file beside run.h5."""
    epochs = snapshots.epochs[:_MOST_TIMES]
    return {
        "run": run.name,
        "layer": layer,
        "variable": variable,
        "file": path.name,
        "array": _arrays(variable, snapshots.values.shape[1:])[0][0],
        "dims": list(snapshots.dims[1:]),
        "size": [int(n) for n in reversed(_dims(snapshots.values.shape[1:]))],
        "range": finite_range(snapshots.values),
        "times": {
            "epochs": [float(epoch) for epoch in epochs],
            "steps": [float(step) for step in snapshots.steps[: len(epochs)]],
        },
    }


def _document(
    file: str, dataset: str, variable: str, shape: tuple[int, ...], epochs: NDArray[np.float64]
) -> bytes:
    root = Element("Xdmf", Version="2.0")
    domain = SubElement(root, "Domain")
    series = SubElement(domain, "Grid", Name=variable, GridType="Collection", CollectionType="Temporal")
    values, arrays = shape[1:], _arrays(variable, shape[1:])
    for number in range(min(len(epochs), _MOST_TIMES)):
        grid = SubElement(series, "Grid", Name=f"{variable}_{number}", GridType="Uniform")
        SubElement(grid, "Time", Value=repr(float(epochs[number])))
        dims = _dims(values)
        SubElement(grid, "Topology", TopologyType="3DCoRectMesh", Dimensions=_text(dims))
        geometry = SubElement(grid, "Geometry", GeometryType="ORIGIN_DXDYDZ")
        for numbers in ("0 0 0", "1 1 1"):
            SubElement(geometry, "DataItem", Dimensions="3", Format="XML").text = numbers
        for name, middle in arrays:
            attribute = SubElement(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Node")
            _slab(attribute, file, dataset, shape, (number, *middle))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _arrays(variable: str, values: tuple[int, ...]) -> list[tuple[str, tuple[int | None, ...]]]:
    """The arrays of a moment, and where the axes stand still that an image has no room for."""
    free = _free(values)
    middle = [n for axis, n in enumerate(values) if axis not in free]
    base = "weight" if variable.endswith("kernel") else variable
    if not middle:
        return [(base, tuple(None for _ in values))]
    found = []
    for number, at in enumerate(np.ndindex(*middle)):
        places = iter(int(i) for i in at)
        found.append(
            (f"{base}_{number}", tuple(None if axis in free else next(places) for axis in range(len(values))))
        )
    return found


def _free(values: tuple[int, ...]) -> tuple[int, ...]:
    # Three axes are drawn: of a kernel the grid and the filters.
    if len(values) <= 3:
        return tuple(range(len(values)))
    return (0, 1, len(values) - 1)


def _dims(values: tuple[int, ...]) -> tuple[int, ...]:
    free = tuple(values[axis] for axis in _free(values))
    return (*[1] * (3 - len(free)), *free)


def _slab(
    attribute: Element, file: str, dataset: str, shape: tuple[int, ...], at: tuple[int | None, ...]
) -> None:
    start = [0 if place is None else place for place in at]
    count = [shape[axis] if place is None else 1 for axis, place in enumerate(at)]
    dims = _dims(shape[1:])
    slab = SubElement(attribute, "DataItem", ItemType="HyperSlab", Dimensions=_text(dims), Type="HyperSlab")
    numbers = SubElement(slab, "DataItem", Dimensions=f"3 {len(shape)}", Format="XML")
    numbers.text = f"{_text(start)}  {_text([1] * len(shape))}  {_text(count)}"
    whole = SubElement(
        slab, "DataItem", Dimensions=_text(shape), NumberType="Float", Precision="4", Format="HDF"
    )
    whole.text = f"{file}:/{dataset}"


def _text(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
