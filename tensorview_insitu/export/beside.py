"""Files beside run.h5 through which ParaView reads the recorder's own file, one for each variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tensorview_insitu.export.files import Target, finite_range
from tensorview_insitu.export.manifest import read_manifest
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.index import ZeroCopyIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotInRunError
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.array_names import array_name
from tensorview_insitu.text.file_names import safe_names

MOST_TIMES = 2000
KINDS = {"xdmf": "xmf", "vtkhdf": "vtkhdf"}
"""How the files of each format end; by default they lie in a folder of the format's name."""

Write = Callable[[Path, Path, str, Snapshots], None]
"""Writes one file: its path, run.h5, the dataset in that, and what is in it."""


@dataclass
class Sidecars:
    """What became of the files beside run.h5.

    Args:
        files: those that were written.
        failed: by part, why one is not there.
        notes: what is to be said of them, in sentences.
    """

    files: list[ZeroCopyIndex]
    failed: dict[str, str]
    notes: list[str]


def export_beside(
    run: Run, folder: Path, ending: str, write: Write, layers: Sequence[str] | None
) -> Sidecars:
    """Write one file for each kernel, bias, ... of a packed run; one that fails costs that one.

    Files of an export before, of a variable that this one does not write, are taken away: run.h5 may be
    another by now.

    The first axis of a variable lies along z, the next along y, the last (the filters) along x; of one
    with more than three (a convolution's kernel has four) the axes in the middle are taken one value
    after the other, as arrays `weight_<channel>`.

    Args:
        run: packed, so that there is one run.h5.
        folder: where to.
        ending: of the files.
        write: writes one of them.
        layers: whose; by default all.

    Raises:
        NotInRunError: the run is not packed, or has no such layer.
        OSError: the folder cannot be written.
    """
    source = packed_file(run)
    pairs = chosen_variables(run, layers)
    manifest = f".{ending}.json"
    target = Target(folder, read_manifest(folder, manifest), manifest)
    names = safe_names(f"{layer}/{variable}" for layer, variable in pairs)
    parts = Parts(target, run)
    written = []

    def export(layer: str, variable: str, file: str) -> ZeroCopyIndex:
        path = target.path(file)
        snapshots = run.variable(layer, variable)
        dataset = layout.variable_dataset(layer, variable)
        write(path, source, dataset, snapshots)
        if len(snapshots) > MOST_TIMES:
            parts.note(f"{path.name}: the first {MOST_TIMES} of {len(snapshots)} snapshots are shown")
        return _about(run, path, snapshots)

    with target.ledger.begun():
        for layer, variable in pairs:
            name = names[f"{layer}/{variable}"]
            file = f"{name}.{ending}"
            about = parts.make(
                f"sidecars/{layer}/{variable}",
                partial(export, layer, variable, file),
                None,
                files=[file, *_states_of(name)],
            )
            written += [about] if about is not None else []
        parts.check()
        old = target.ledger.finish(run.identity["run_id"])
    for file in old:
        parts.remove(_states_of(file.rsplit(".", 1)[0]))
    return Sidecars(written, parts.failed, parts.notes)


def remove_of_others(run: Run, folder: Path) -> None:
    """Take away the files beside another run.h5 than the one that is there now, and their states.

    Args:
        run: whose they may be.
        folder: the export's, in which each kind has its own.
    """
    for kind, ending in KINDS.items():
        target = Target(folder / kind, read_manifest(folder / kind, f".{ending}.json"), f".{ending}.json")
        if target.ledger.run_before not in (None, run.identity["run_id"]):
            with target.ledger.begun():
                old = target.ledger.finish(run.identity["run_id"])
            for file in old:
                Parts(target).remove(_states_of(file.rsplit(".", 1)[0]))


def _states_of(name: str) -> list[str]:
    return [f"states/{name}.pvsm", f"states/{name}.py"]


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


def _about(run: Run, path: Path, snapshots: Snapshots) -> ZeroCopyIndex:
    """What a view has to know of a file beside run.h5."""
    epochs = snapshots.epochs[:MOST_TIMES]
    return {
        "run": run.name,
        "layer": snapshots.layer,
        "variable": snapshots.variable,
        "file": path.name,
        "array": arrays_of(snapshots.variable, snapshots.values.shape[1:])[0][0],
        "dims": list(snapshots.dims[1:]),
        "size": [int(n) for n in reversed(drawn(snapshots.values.shape[1:]))],
        "range": finite_range(snapshots.values),
        "untrusted": bool(run.untrusted(layout.variable_dataset(snapshots.layer, snapshots.variable))),
        "times": {
            "epochs": [float(epoch) for epoch in epochs],
            "steps": [float(step) for step in snapshots.steps[: len(epochs)]],
        },
    }


def arrays_of(variable: str, values: tuple[int, ...]) -> list[tuple[str, tuple[int | None, ...]]]:
    """The arrays of a moment, and where the axes stand still that an image has no room for."""
    free = _free(values)
    middle = [n for axis, n in enumerate(values) if axis not in free]
    base = "weight" if variable.endswith("kernel") else array_name(variable)
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


def drawn(values: tuple[int, ...]) -> tuple[int, ...]:
    """The length of the three axes that are drawn, slowest first; 1 where there is none."""
    free = tuple(values[axis] for axis in _free(values))
    return (*[1] * (3 - len(free)), *free)
