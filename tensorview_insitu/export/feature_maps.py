"""What each layer answers to the probe: a tile for each filter, and the dead ones outlined."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.grids import write_tile_labels
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.tiles import Tiling
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import FeatureMapsIndex, TableIndex, TilesIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.file_names import safe_names

_MOST_TILES = 128
_MOST_TIMES = 500


def export_feature_maps(run: Run, target: Target) -> tuple[list[FeatureMapsIndex], TableIndex | None]:
    """Write the maps of all layers that have rows and columns, and how many filters of each are dead."""
    layers = run.activation_layers()
    if not layers:
        return [], None
    folders = safe_names(layers)
    found = []
    held = run.datasets()
    for layer in layers:
        maps = run.activations(layer, "maps") if _has_maps(run, layer, held) else None
        if maps is not None and maps.values.ndim == 5:
            found.append(_export_layer(target, f"activations/{folders[layer]}", layer, maps))
    dead = write_table(target.folder, "tables/dead_filters.csv", _plain(run.dead_filters()))
    return found, dead


def _has_maps(run: Run, layer: str, held: dict[str, tuple[int, ...]]) -> bool:
    return layout.activation_dataset(layer, "maps") in held


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[c for c in ("batch", "wall_time") if c in table])


def _export_layer(target: Target, folder: str, layer: str, maps: Snapshots) -> FeatureMapsIndex:
    # (snapshot, sample, row, column, filter), of the first sample; an array for each of the others.
    snapshots, samples, rows, columns, filters = maps.values.shape
    shown = min(filters, _MOST_TILES)
    tiling = Tiling(shown, rows, columns, whole=True)
    moments, outlines = [], []
    dead_now = 0
    for i in spread(snapshots, _MOST_TIMES):
        step, epoch, values = int(maps.steps[i]), float(maps.epochs[i]), maps.values[i]
        dead = np.flatnonzero((values[..., :shown] == 0).all(axis=(0, 1, 2)))
        dead_now = int((values == 0).all(axis=(0, 1, 2)).sum())
        name, outline = f"maps_{step:07d}.vti", f"dead_{step:07d}.vtp"
        if target.lacks(f"{folder}/{name}"):
            arrays = {f"sample_{s}": _picture(tiling, values[s, :, :, :shown]) for s in range(samples)}
            write_image_data(target.path(f"{folder}/{name}"), cell_data=arrays)
            points, lines = tiling.outlines(dead)
            write_poly_data(target.path(f"{folder}/{outline}"), points, lines=lines)
        moments.append((epoch, float(step), name))
        outlines.append((epoch, float(step), outline))
    tiles: TilesIndex = {
        "file": write_time_series(target, f"{folder}/maps.pvd", moments),
        "pattern": f"{folder}/maps_{{step:07d}}.vti",
        "labels": write_tile_labels(target, f"{folder}/numbers.vtp", tiling),
        "outlines": write_time_series(target, f"{folder}/dead.pvd", outlines),
        "size": tiling.size,
        "tiles": shown,
        "of": filters,
        "about": f"{rows} x {columns} values each",
        "times": times_of(moments),
        "range": finite_range(maps.values),
        "change_range": (0.0, 1.0),
    }
    return {"layer": layer, "samples": samples, "tiles": tiles, "dead": dead_now}


def _picture(tiling: Tiling, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(row, column, filter)` as one picture `(x, y, 1)` of all tiles, with NaN where none is.

    Large maps have too many values for a face each.
    """
    width, height = (round(n) for n in tiling.size)
    rows, columns = maps.shape[:2]
    picture = np.full((height, width), np.nan, np.float32)
    for number, (x, y) in enumerate(tiling.corners()):
        left, top = round(x), height - round(y)
        picture[top : top + rows, left : left + columns] = maps[:, :, number]
    return picture[::-1].T[:, :, None]
