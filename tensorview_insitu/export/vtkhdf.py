"""Temporal VTKHDF beside run.h5, as virtual datasets: ParaView 5.13 and later open it, nothing is copied.

Format: https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/ (ImageData, version 2.0).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from tensorview_insitu.export.beside import Sidecars, arrays_of, drawn, export_beside
from tensorview_insitu.run.reader import Run, Snapshots

_VERSION = (2, 0)


def export_vtkhdf(run: Run, folder: Path, *, layers: Sequence[str] | None = None) -> Sidecars:
    """Write one .vtkhdf for each kernel, bias, ... of a packed run, as `export_beside` says.

    An axis of length one is there twice: VTK's reader (9.7 too) misreads flat images.

    Args:
        run: packed, so that there is one run.h5.
        folder: where to.
        layers: whose; by default all.

    Raises:
        NotInRunError: the run is not packed, or has no such layer.
        OSError: the folder cannot be written.
    """
    written = export_beside(run, folder, "vtkhdf", _write, layers)
    for about in written.files:
        about["size"] = [max(2, n) for n in about["size"]]
    return written


def _write(path: Path, source: Path, dataset: str, snapshots: Snapshots) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    values = snapshots.values.shape[1:]
    axes = drawn(values)
    image = [max(2, n) for n in axes]
    with (
        h5py.File(source, "r", locking=False) as run_file,
        h5py.File(temporary, "w", libver=("v110", "v110")) as file,
    ):
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = np.array(_VERSION, np.int64)
        root.attrs.create("Type", b"ImageData", dtype=h5py.string_dtype("ascii", 9))
        extent = [limit for n in reversed(image) for limit in (0, n - 1)]
        root.attrs["WholeExtent"] = np.array(extent, np.int64)
        root.attrs["Origin"] = np.zeros(3)
        root.attrs["Spacing"] = np.ones(3)
        root.attrs["Direction"] = np.eye(3).ravel()
        steps = root.create_group("Steps")
        steps.attrs["NSteps"] = len(snapshots.epochs)
        steps["Values"] = snapshots.epochs
        points = root.create_group("PointData")
        offsets = steps.create_group("PointDataOffsets")
        held = run_file[dataset]
        # HDF5 looks for the source of a virtual dataset beside the file that has it.
        place_of = os.path.relpath(source, path.parent)
        whole = h5py.VirtualSource(_literal(place_of), _literal(dataset), shape=held.shape, dtype=held.dtype)
        for array, at in arrays_of(snapshots.variable, values):
            virtual = h5py.VirtualLayout((len(snapshots.epochs), *image), held.dtype)
            there = tuple(
                place if place is not None else slice(None) if n > 1 else 0
                for place, n in zip(at, values, strict=True)
            )
            for copy in np.ndindex(*[2 if n == 1 else 1 for n in axes]):
                pairs = zip(copy, axes, strict=True)
                here = [int(place) if n == 1 else slice(None) for place, n in pairs]
                virtual[(slice(None), *here)] = whole[(slice(None), *there)]
            points.create_virtual_dataset(array, virtual)
            offsets[array] = np.arange(len(snapshots.epochs), dtype=np.int64)
    os.replace(temporary, path)


def _literal(name: str) -> str:
    """A name of a file or a dataset, in which HDF5 puts numbers in place of `%b`."""
    return name.replace("%", "%%")
