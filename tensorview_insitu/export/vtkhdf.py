"""Temporal VTKHDF beside run.h5, as virtual datasets: ParaView 5.13 and later open it, nothing is copied.

Format: https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/ (ImageData, version 2.2).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from tensorview_insitu.export.names import safe_names
from tensorview_insitu.export.xdmf import about, chosen_variables, packed_file
from tensorview_insitu.index import ZeroCopyIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run

_VERSION = (2, 0)


def export_vtkhdf(run: Run, folder: Path, *, layers: Sequence[str] | None = None) -> list[ZeroCopyIndex]:
    """Write one .vtkhdf for each kernel, bias, ... of a packed run: image data over time.

    The last axis (the filters) lies along x, the first along z; axes in the middle become arrays, as
    for XDMF. An axis of length one is there twice: VTK's reader (9.7 too) misreads flat images.

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
        path = folder / f"{names[f'{layer}/{variable}']}.vtkhdf"
        temporary = path.with_name(f".{path.name}.tmp")
        # HDF5 looks for the source of a virtual dataset beside the file that has it.
        _write(temporary, os.path.relpath(source, folder), run, layer, variable)
        os.replace(temporary, path)
        told = about(run, layer, variable, path, run.variable(layer, variable))
        told["size"] = [max(2, n) for n in told["size"]]
        written.append(told)
    return written


def _write(path: Path, source: str, run: Run, layer: str, variable: str) -> None:
    name = layout.variable_dataset(layer, variable)
    shape = run.datasets()[name]
    dtype = _dtype(run, name)
    epochs = run.variable(layer, variable).epochs
    values = shape[1:]
    flat = [n == 1 for n in _drawn(values)]
    image = [max(2, n) for n in _drawn(values)]
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = np.array(_VERSION, np.int64)
        root.attrs.create("Type", b"ImageData", dtype=h5py.string_dtype("ascii", 9))
        extent = [limit for n in reversed(image) for limit in (0, n - 1)]
        root.attrs["WholeExtent"] = np.array(extent, np.int64)
        root.attrs["Origin"] = np.zeros(3)
        root.attrs["Spacing"] = np.ones(3)
        root.attrs["Direction"] = np.eye(3).ravel()
        steps = root.create_group("Steps")
        steps.attrs["NSteps"] = len(epochs)
        steps["Values"] = epochs
        points = root.create_group("PointData")
        offsets = steps.create_group("PointDataOffsets")
        base = "weight" if variable.endswith("kernel") else variable
        whole = h5py.VirtualSource(source, name, shape=shape, dtype=dtype)
        for number, at in enumerate(_middles(values)):
            array = base if len(values) <= 3 else f"{base}_{number}"
            virtual = h5py.VirtualLayout((len(epochs), *image), dtype)
            for copy in np.ndindex(*[2 if is_flat else 1 for is_flat in flat]):
                pairs = zip(copy, flat, strict=True)
                there = [int(place) if is_flat else slice(None) for place, is_flat in pairs]
                virtual[(slice(None), *there)] = whole[(slice(None), *at)]
            points.create_virtual_dataset(array, virtual)
            offsets[array] = np.arange(len(epochs), dtype=np.int64)


def _dtype(run: Run, name: str) -> np.dtype[np.generic]:
    with h5py.File(run.folder / layout.PACKED_FILE, "r", locking=False) as file:
        dtype: np.dtype[np.generic] = file[name].dtype
    return dtype


def _drawn(values: tuple[int, ...]) -> tuple[int, ...]:
    """The length of the three axes that are drawn, slowest first; 1 where there is none."""
    axes = values if len(values) <= 3 else (*values[:2], values[-1])
    return (*[1] * (3 - len(axes)), *axes)


def _middles(values: tuple[int, ...]) -> list[tuple[slice | int, ...]]:
    """Where each array lies: all of the axes that are drawn, one place of each of the others."""
    middle = values[2:-1] if len(values) > 3 else ()
    found: list[tuple[slice | int, ...]] = []
    for at in np.ndindex(*middle):
        first: list[slice | int] = [slice(None) if n > 1 else 0 for n in values[: 2 if middle else None]]
        last: list[slice | int] = [slice(None) if values[-1] > 1 else 0] if middle else []
        found.append((*first, *(int(i) for i in at), *last))
    return found
