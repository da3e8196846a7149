"""Export several runs beside each other: their curves in one table, their kernels and the differences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu import __version__
from tensorview_insitu.export.curves import metrics_of
from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.grids import as_tiles, write_tile_labels
from tensorview_insitu.export.pieces import cells_by_filter, grid_of, is_matrix
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.tiles import Tiling
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import (
    INDEX_FILE,
    ComparedLayerIndex,
    ComparedMetricIndex,
    RunIndex,
    Times,
    empty_index,
    write_index,
)
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.array_names import array_name
from tensorview_insitu.text.file_names import safe_names
from tensorview_insitu.text.percent import from_column

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
        ValueError: fewer than two runs, the same one twice, or a layer that they do not share.
        OSError: the folder cannot be written.
    """
    if len(runs) < 2:
        raise ValueError(f"Expected two runs or more. Received: {len(runs)}.")
    if len({run.identity["run_id"] for run in runs}) < len(runs):
        raise ValueError("Expected different runs. Received one of them twice.")
    folder.mkdir(parents=True, exist_ok=True)
    target = Target(folder, fresh=True)
    names = _different([run.name for run in runs])
    metrics, table, times = _curves(runs, names)
    shared = _shared_kernels(runs)
    for layer in layers or ():
        if layer not in shared:
            raise ValueError(
                f'No layer "{layer}" with a kernel of one shape in all runs. They share: '
                f"{', '.join(shared) or 'none'}."
            )
    folders = safe_names(shared)
    compared = [
        found
        for layer in (layers or shared)
        if (found := _compare_layer(runs, target, layer, shared[layer], f"layers/{folders[layer]}"))
    ]
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
    index["tables"] = {"comparison": write_table(folder, "tables/comparison.csv", table)}
    index["comparison"] = {"runs": names, "metrics": metrics, "layers": compared}
    write_index(folder, index)
    return folder / INDEX_FILE


def _different(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _curves(runs: Sequence[Run], names: list[str]) -> tuple[list[ComparedMetricIndex], pd.DataFrame, Times]:
    tables = [run.scalars("epoch") for run in runs]
    found: dict[str, ComparedMetricIndex] = {}
    columns: dict[str, pd.Series] = {}
    for name, table in zip(names, tables, strict=True):
        for metric in metrics_of(table):
            index = found.setdefault(metric["name"], {"name": metric["name"], "columns": []})
            for kind in ("training", "validation"):
                column = metric["training"] if kind == "training" else metric["validation"]
                if column:
                    column = from_column(column)
                    key = array_name(f"{name}_{column}", {"epoch", *columns})
                    columns[key] = table.set_index("epoch")[column]
                    index["columns"].append({"column": key, "run": names.index(name), "kind": kind})
    joined = pd.DataFrame(columns).sort_index()
    longest = max(tables, key=len)
    times: Times = {
        "epochs": [float(epoch) for epoch in joined.index],
        "steps": [float(s) for s in longest["step"]] if len(longest) == len(joined) else [],
    }
    times["steps"] = times["steps"] or times["epochs"]
    return list(found.values()), joined.reset_index(names="epoch"), times


def _shared_kernels(runs: Sequence[Run]) -> dict[str, str]:
    """The layers whose kernel has one shape in all runs, with the kernel's name."""
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
    return shared


def _compare_layer(
    runs: Sequence[Run], target: Target, layer: str, variable: str, folder: str
) -> ComparedLayerIndex | None:
    snapshots = [run.variable(layer, variable) for run in runs]
    common = sorted(set.intersection(*(set(one.epochs.tolist()) for one in snapshots)))
    if not common:
        return None
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
    return {
        "layer": layer,
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
