"""Export several runs beside each other: their curves in one table, their kernels and the differences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu import __version__
from tensorview_insitu.export.curves import has_lone, is_metric, validation_of
from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.grids import as_tiles, write_tile_labels
from tensorview_insitu.export.manifest import read_manifest
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.pieces import cells_by_filter, grid_of, is_matrix
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.run import EXPORT_FOLDER, refuse_run_folder
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.tiles import Tiling
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import (
    INDEX_FILE,
    ComparedLayerIndex,
    ComparedMetricIndex,
    Index,
    NoExportError,
    RunIndex,
    TableIndex,
    Times,
    empty_index,
    read_index,
    write_index,
)
from tensorview_insitu.run import layout
from tensorview_insitu.run.alone import alone_in
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.array_names import array_name
from tensorview_insitu.text.file_names import safe_names

_MOST_TIMES = 200


def export_comparison(runs: Sequence[Run], folder: Path, *, layers: Sequence[str] | None = None) -> Path:
    """Write what two or more runs have in common.

    Args:
        runs: at least two; the first is what the others are compared with.
        folder: where to.
        layers: whose kernels; by default all that have the same shape in every run.

    Returns:
        The path of index.json.

    Raises:
        ValueError: fewer than two runs, the same one twice, a layer that they do not share, or a folder that
            is a run's, or holds the export of one.
        OSError: the folder cannot be written.
    """
    if len(runs) < 2:
        raise ValueError(f"Expected two runs or more. Received: {len(runs)}.")
    if len({run.identity["run_id"] for run in runs}) < len(runs):
        raise ValueError("Expected different runs. Received one of them twice.")
    _check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        target = Target(folder, read_manifest(folder))
        with target.ledger.begun():
            index = _compare(runs, target, layers)
            write_index(folder, index)
            target.ledger.finish(index["run"]["run_id"])
    return folder / INDEX_FILE


def _check_place(folder: Path) -> None:
    """Raise where a comparison would take the place of a run, or of its export."""
    refuse_run_folder(folder)
    try:
        is_run = read_index(folder)["comparison"] is None
    except NoExportError:
        # Of another version, or damaged: where it lies tells whose it is.
        is_run = (folder / INDEX_FILE).exists() and (folder.parent / layout.RUN_FILE).exists()
    if is_run or (folder.name == EXPORT_FOLDER and (folder.parent / layout.RUN_FILE).exists()):
        raise ValueError(
            f"{folder} is for the export of one run. Expected another folder for a comparison, such as "
            f"{folder.parent / 'comparison' if folder.name != EXPORT_FOLDER else 'comparison'}."
        )


def _compare(runs: Sequence[Run], target: Target, layers: Sequence[str] | None) -> Index:
    """Write all files, and give what index.json says of them."""
    parts = Parts(target)
    names = _different([run.name for run in runs])
    for run, name in zip(runs, names, strict=True):
        for sentence in run.identity.get("missing", []):
            parts.note(f"{name}: {sentence}")
    nothing: tuple[list[ComparedMetricIndex], TableIndex | None, Times]
    nothing = ([], None, {"epochs": [], "steps": []})
    metrics, table, times = parts.make(
        "comparison/curves",
        lambda: _write_curves(parts, target, runs, names),
        nothing,
        files=["tables/comparison.csv"],
    )
    shared, others = _shared_kernels(runs)
    for layer in layers or ():
        if layer not in shared:
            raise ValueError(
                f'No layer "{layer}" with a kernel of one shape in all runs. They share: '
                f"{', '.join(shared) or 'none'}."
            )
    folders = safe_names(shared)
    if layers is None and others:
        parts.note(f"not compared, because not all runs have them with one shape: {', '.join(others)}")
    compared = []
    for layer in layers or shared:
        work = partial(_compare_layer, parts, runs, target, layer, shared[layer], f"layers/{folders[layer]}")
        files = [f"layers/{folders[layer]}/{name}" for name in ("compared*", "numbers.vtp")]
        found = parts.make(f"comparison/{layer}", work, None, files=files)
        compared += [found] if found is not None else []
    parts.check()
    one = "|".join(run.identity["run_id"] for run in runs)
    about: RunIndex = {
        "name": " and ".join(names),
        "run_id": hashlib.sha256(one.encode()).hexdigest()[:32],
        "status": ", ".join(run.status for run in runs),
        "created": max(str(run.identity["created"]) for run in runs),
        "steps": max((int(run.steps()["step"].max()) for run in runs if len(run.steps())), default=0),
        "epochs": max(times["epochs"], default=0.0),
    }
    index = empty_index(about, __version__, times)
    index["tables"] = {"comparison": table} if table is not None else {}
    index["failed"], index["notes"] = parts.failed, parts.notes
    index["comparison"] = {"runs": names, "metrics": metrics, "layers": compared}
    return index


def _different(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number = 1
        while (text := name if names.count(name) == 1 else f"{name} ({number})") in found or (
            text != name and text in names
        ):
            number += 1
        found.append(text)
    return found


def _write_curves(
    parts: Parts, target: Target, runs: Sequence[Run], names: list[str]
) -> tuple[list[ComparedMetricIndex], TableIndex, Times]:
    tables = [run.scalars("epoch") for run in runs]
    tables = [table.set_index("epoch") if "epoch" in table else table for table in tables]
    found: dict[str, ComparedMetricIndex] = {}
    columns: dict[str, pd.Series] = {}
    for number, (run, name, table) in enumerate(zip(runs, names, tables, strict=True)):
        doubts = run.untrusted(layout.EPOCH_SCALARS)
        validation = validation_of(run, table)
        for column in [str(c) for c in table.columns if is_metric(str(c))]:
            metric = column.removeprefix("val_") if column in validation else column
            doubted = column in doubts
            key = array_name(f"{name}_{column}" + "_not_trusted" * doubted, {"epoch", *columns})
            columns[key] = table[column]
            kind = "validation" if column in validation else "training"
            index = found.setdefault(metric, {"name": metric, "columns": []})
            index["columns"].append(
                {"column": key, "run": number, "kind": kind, "untrusted": doubted, "lone": False}
            )
    metrics = sorted(found.values(), key=lambda one: one["name"] != "loss")
    for index in metrics:
        index["columns"].sort(key=lambda one: (one["run"], one["kind"]))
        having = {one["run"] for one in index["columns"]}
        lacking = [name for number, name in enumerate(names) if number not in having]
        if lacking:
            parts.note(f"{index['name']} is not in {', '.join(lacking)}")
    joined = pd.DataFrame(columns).sort_index()
    for one in [one for index in metrics for one in index["columns"]]:
        # Of all epochs: those of other runs may lie between its own.
        one["lone"] = has_lone(joined[one["column"]])
    # Of an epoch that several runs have, the steps of the first that has it.
    step_of = {
        float(epoch): float(step)
        for table in reversed(tables)
        for epoch, step in zip(table.index, table["step"], strict=True)
    }
    epochs = [float(epoch) for epoch in joined.index]
    times: Times = {"epochs": epochs, "steps": [step_of[epoch] for epoch in epochs]}
    joined = joined.reset_index(names="epoch")
    return metrics, write_table(target, "tables/comparison.csv", joined), times


def _shared_kernels(runs: Sequence[Run]) -> tuple[dict[str, str], list[str]]:
    """The layers whose kernel has one shape in all runs, with the kernel's name; and the other layers."""
    shapes = []
    for run in runs:
        held = run.datasets()
        shapes.append(
            {
                (layer, name): held[layout.variable_dataset(layer, name)][1:]
                for layer, name in run.variables()
                if name.endswith("kernel")
            }
        )
    shared: dict[str, str] = {}
    for (layer, name), shape in shapes[0].items():
        if all(other.get((layer, name)) == shape for other in shapes[1:]):
            shared.setdefault(layer, name)
    every = dict.fromkeys(layer for one in shapes for layer, _ in one)
    return shared, [layer for layer in every if layer not in shared]


def _compare_layer(
    parts: Parts, runs: Sequence[Run], target: Target, layer: str, variable: str, folder: str
) -> ComparedLayerIndex | None:
    snapshots = [run.variable(layer, variable) for run in runs]
    common = sorted(set.intersection(*(set(one.epochs.tolist()) for one in snapshots)))
    if not common:
        parts.note(f"{layer} is not compared: no epoch is recorded in all runs")
        return None
    if len(common) > _MOST_TIMES:
        parts.note(f"{layer}: {_MOST_TIMES} of {len(common)} common epochs are compared")
    kept = [common[i] for i in spread(len(common), _MOST_TIMES)]
    tiles = [_tiles(one, kept) for one in snapshots]
    matrix = is_matrix(snapshots[0])
    tiling = Tiling(*tiles[0].shape[1:])
    points, quads = tiling.faces()
    tile, row, column = np.indices(tiles[0].shape[1:]).reshape(3, -1).astype(np.int32)
    moments = []
    for i, epoch in enumerate(kept):
        step = int(snapshots[0].steps[np.flatnonzero(snapshots[0].epochs == epoch)[-1]])
        name = f"compared_{step:07d}.vtp"
        values = {f"weight_{n}": one[i].ravel() for n, one in enumerate(tiles)}
        values |= {f"difference_{n}": (one[i] - tiles[0][i]).ravel() for n, one in enumerate(tiles) if n}
        place = {"filter": column if matrix else tile, "row": row, "column": column}
        write_poly_data(target.path(f"{folder}/{name}"), points, quads=quads, cell_data={**values, **place})
        moments.append((epoch, float(step), name))
    labels = write_tile_labels(target, f"{folder}/numbers.vtp", tiling)
    differences = [finite_range(one - tiles[0]) for one in tiles[1:]]
    dataset = layout.variable_dataset(layer, variable)
    return {
        "layer": layer,
        "untrusted": [number for number, run in enumerate(runs) if run.untrusted(dataset)],
        "tiles": {
            "file": write_time_series(target, f"{folder}/compared.pvd", moments),
            "pattern": f"{folder}/compared_{{step:07d}}.vtp",
            "labels": labels,
            "outlines": None,
            "size": tiling.size,
            "tiles": tiling.count,
            "of": 1 if matrix else snapshots[0].values.shape[snapshots[0].filter_axis],
            "about": as_tiles(cells_by_filter(snapshots[0]), grid_of(snapshots[0]), matrix=matrix)[1],
            "times": times_of(moments),
            "range": finite_range(*tiles),
            "change_range": finite_range(differences),
        },
    }


def _tiles(snapshots: Snapshots, epochs: list[float]) -> NDArray[np.float32]:
    tiles, _ = as_tiles(cells_by_filter(snapshots), grid_of(snapshots), matrix=is_matrix(snapshots))
    last = {float(epoch): number for number, epoch in enumerate(snapshots.epochs)}
    return tiles[[last[epoch] for epoch in epochs]]
