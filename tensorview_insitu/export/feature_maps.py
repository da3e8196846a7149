"""What each layer answers to the probe: a tile for each filter, and the dead ones outlined."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.grids import write_tile_labels
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.tiles import Tiling
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import FeatureMapsIndex, TilesIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.reader import Run, Snapshots
from tensorview_insitu.text.file_names import safe_names

_MOST_TILES = 128
_MOST_TIMES = 500
_OTHER_AXES = 3  # of maps: snapshot, sample, filter


def export_feature_maps(parts: Parts, run: Run, target: Target) -> list[FeatureMapsIndex]:
    """Write the maps of all layers that have rows and columns."""
    held = run.datasets()
    layers = _layers(run, held)
    folders = safe_names(layers)
    found = []
    for layer in layers:
        folder = f"activations/{folders[layer]}"
        if layout.activation_dataset(layer, "maps") in held:
            made = parts.make(
                f"feature_maps/{layer}",
                partial(_export, run, target, folder, layer),
                None,
                files=[f"{folder}/*"],
            )
            found += [made] if made is not None else []
            space = len(held[layout.activation_dataset(layer, "maps")]) - _OTHER_AXES
            if space not in (0, 2):
                parts.note(
                    f"the maps of {layer} are not drawn: pictures have two axes, and these have "
                    f"{'one' if space == 1 else space}"
                )
    return found


def _layers(run: Run, held: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The layers whose activations were recorded: as the model calls them, or as their maps are named."""
    try:
        layers = run.activation_layers()
    except NotARunError:  # the table that has them in their order is damaged: it is a part of its own
        layers = []
    beginning, end = f"{layout.ACTIVATIONS}/", "/maps"
    named = [
        layout.unescaped(name.removeprefix(beginning).removesuffix(end))
        for name in held
        if name.startswith(beginning) and name.endswith(end)
    ]
    order = {layer["path"]: number for number, layer in enumerate(run.identity.get("layers", []))}
    named.sort(key=lambda layer: order.get(layer, len(order)))
    return list(dict.fromkeys([*layers, *named]))


def _export(run: Run, target: Target, folder: str, layer: str) -> FeatureMapsIndex | None:
    maps = run.activations(layer, "maps")
    if maps.values.ndim != 5:
        return None
    return _export_layer(target, folder, layer, maps, _dead_at(run.activations(layer, "statistics")))


def _dead_at(statistics: Snapshots) -> dict[int, NDArray[np.int64]]:
    """By step, the filters that answered zero to the whole probe, of which the maps may be a part."""
    names = list(statistics.attributes["statistics"])
    lows, highs = (statistics.values[:, names.index(name)] for name in ("minimum", "maximum"))
    return {
        int(step): np.flatnonzero((low == 0) & (high == 0))
        for step, low, high in zip(statistics.steps, lows, highs, strict=True)
    }


def _export_layer(
    target: Target, folder: str, layer: str, maps: Snapshots, dead_at: Mapping[int, NDArray[np.int64]]
) -> FeatureMapsIndex:
    # (snapshot, sample, row, column, filter), of the first sample; an array for each of the others.
    snapshots, samples, rows, columns, filters = maps.values.shape
    shown = min(filters, _MOST_TILES)
    tiling = Tiling(shown, rows, columns, whole=True)
    moments, outlines = [], []
    dead_now = 0
    for i in spread(snapshots, _MOST_TIMES):
        step, epoch, values = int(maps.steps[i]), float(maps.epochs[i]), maps.values[i]
        dead = dead_at[step]
        dead_now, dead = len(dead), dead[dead < shown]
        name, outline = f"maps_{step:07d}.vti", f"dead_{step:07d}.vtp"
        if target.lacks(f"{folder}/{name}", values):
            arrays = {f"sample_{s}": _picture(tiling, values[s, :, :, :shown]) for s in range(samples)}
            write_image_data(target.path(f"{folder}/{name}"), cell_data=arrays)
        if target.lacks(f"{folder}/{outline}", dead, values.shape):
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
