"""Explanations over time: maps over their images, all of them as a volume (epoch, across, up), and a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.labels import Label, write_labels
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.time_series import times_of, write_time_series
from tensorview_insitu.index import ExplanationGridIndex, ExplanationIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run
from tensorview_insitu.text.file_names import safe_names

_MOST_TIMES = 500
_MOST_LAYERS = 64  # of a volume along its epochs
_MOST_SAMPLES = 8  # of the grid
_OTHER_FILES = "(images|grid|names).*"  # beside the folders of the methods

Floats = NDArray[np.float32]


@dataclass
class Explained:
    """What one method says of a few samples.

    Args:
        name: what it is called.
        method: the method.
        layer: the layer it looked at, or nothing.
        about: of the layer and the score, in words.
        images: `(sample, row, column)`, grey.
        maps: `(moment, sample, row, column)`.
        steps: `(moment,)`.
        epochs: `(moment,)`.
    """

    name: str
    method: str
    layer: str
    about: str
    images: Floats
    maps: Floats
    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]


def export_explanations(
    parts: Parts, run: Run, target: Target
) -> tuple[list[ExplanationIndex], ExplanationGridIndex | None]:
    """Write the explanations of a run that are pictures, or volumes seen from the front."""
    names = run.explanations()
    folders = safe_names(names)
    found: list[Explained] = []

    def export(name: str, folder: str) -> ExplanationIndex | None:
        one = _of_run(run, name)
        if one is None:
            parts.note(f"explanations/{name} is not exported: its maps are no pictures; Run reads them")
            return None
        doubts = run.untrusted(layout.explanation_dataset(name, "focus"))
        written = write_explanation(target, folder, one, run.focus(name), doubts)
        found.append(one)
        return written

    written = []
    for name in names:
        folder = f"explanations/{folders[name]}"
        files = [f"{folder}/*"]
        made = parts.make(f"explanations/{name}", partial(export, name, folder), None, files=files)
        written += [made] if made is not None else []
    kept, left_out = of_one_size(found)
    grid = parts.make(
        "explanation_grid",
        lambda: write_grid(target, kept) if kept else None,
        None,
        files=[f"explanations/{name}" for name in ("*.vti", "*.vtp", "*.pvd")],
    )
    if grid is not None:
        for one in left_out:
            parts.note(
                f"explanation_grid is without {one.name}: its pictures are of another size or number "
                f"than those of {kept[0].name}"
            )
        if grid["samples"] < kept[0].maps.shape[1]:
            parts.note(
                f"explanation_grid shows the first {grid['samples']} of {kept[0].maps.shape[1]} samples"
            )
    return written, grid


def of_one_size(found: list[Explained]) -> tuple[list[Explained], list[Explained]]:
    """Those whose pictures are of the size and number of the first's, and the others."""
    kept = [one for one in found if one.maps.shape[1:] == found[0].maps.shape[1:]]
    return kept, [one for one in found if one.maps.shape[1:] != found[0].maps.shape[1:]]


def _of_run(run: Run, name: str) -> Explained | None:
    maps = run.explanation(name)
    # As they were when the recording began: a resumed run has them twice.
    images = run.explanation(name, "images").values[0]
    if maps.values.ndim not in (4, 5):
        return None
    seen = maps.values if maps.values.ndim == 4 else maps.values.max(axis=2)
    grey = images.mean(axis=-1) if maps.values.ndim == 4 else images.mean(axis=(1, -1))
    layer, why = maps.attributes.get("layer", ["", ""])
    parts = [f"layer {layer}, {why}" if layer else "", str(maps.attributes.get("score", ""))]
    if maps.values.ndim == 5:
        parts.append("strongest along the depth")
    return Explained(
        name,
        str(maps.attributes["method"]),
        layer,
        "; ".join(part for part in parts if part),
        grey,
        seen,
        maps.steps,
        maps.epochs,
    )


def write_explanation(
    target: Target,
    folder: str,
    one: Explained,
    focus: pd.DataFrame,
    doubts: Mapping[str, str] | None = None,
) -> ExplanationIndex:
    """Write the maps of one method.

    Args:
        target: where to.
        folder: of its files.
        one: the method and its maps.
        focus: the table of numbers, a row for each moment.
        doubts: why columns of it are not to be trusted.
    """
    moments, samples, rows, columns = one.maps.shape
    images = {f"image_{s}": _upright(one.images[s]) for s in range(samples)}
    write_image_data(target.path(f"{folder}/image.vti"), cell_data=images)
    files, frames = [], []
    frame = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float64)
    for i in spread(moments, _MOST_TIMES):
        step, epoch = int(one.steps[i]), float(one.epochs[i])
        name, now = f"maps_{step:07d}.vti", f"now_{step:07d}.vtp"
        if target.lacks(f"{folder}/{name}", one.maps[i]):
            arrays = {f"map_{s}": _upright(one.maps[i, s]) for s in range(samples)}
            write_image_data(target.path(f"{folder}/{name}"), cell_data=arrays)
        corners = np.column_stack([np.full(4, epoch), frame])
        if target.lacks(f"{folder}/{now}", corners):
            write_poly_data(target.path(f"{folder}/{now}"), corners, lines=[np.array([0, 1, 2, 3, 0])])
        files.append((epoch, float(step), name))
        frames.append((epoch, float(step), now))
    plain = focus.drop(columns=[c for c in ("batch", "wall_time") if c in focus])
    return {
        "name": one.name,
        "method": one.method,
        "layer": one.layer,
        "samples": samples,
        "size": (columns, rows),
        "file": write_time_series(target, f"{folder}/maps.pvd", files),
        "image": f"{folder}/image.vti",
        "image_range": finite_range(one.images),
        "ranges": [finite_range(one.maps[:, s]) for s in range(samples)],
        "volumes": [_write_volume(target, folder, one, s) for s in range(samples)] if moments > 1 else [],
        "now": write_time_series(target, f"{folder}/now.pvd", frames),
        "epoch_range": (float(one.epochs[0]), float(one.epochs[-1])),
        "focus": write_table(target, f"{folder}/focus.csv", plain, doubts),
        "about": one.about,
        "times": times_of(files),
    }


def shares(maps: Floats) -> Floats:
    """`(..., row, column)`: each map's absolute values, as shares of the largest of them."""
    size = np.abs(maps)
    largest = size.max(axis=(-2, -1), keepdims=True)
    share: Floats = np.divide(size, largest, out=np.zeros_like(size), where=largest > 0)
    return share


def _upright(picture: Floats) -> Floats:
    """`(row, column)` as `(x, y, 1)`, y upwards."""
    return picture[::-1].T[:, :, None]


def _write_volume(target: Target, folder: str, one: Explained, sample: int) -> str:
    """The maps of one sample over (epoch, across, up), between the recorded moments interpolated."""
    count = min(len(one.epochs), _MOST_LAYERS)
    epochs = np.linspace(one.epochs[0], one.epochs[-1], count)
    after = np.clip(np.searchsorted(one.epochs, epochs), 1, len(one.epochs) - 1)
    gap = one.epochs[after] - one.epochs[after - 1]
    weight = np.divide(epochs - one.epochs[after - 1], gap, out=np.ones(count), where=gap > 0)[:, None, None]
    share = shares(one.maps[:, sample])
    layers = (1 - weight) * share[after - 1] + weight * share[after]
    volume = layers[:, ::-1].transpose(0, 2, 1).astype(np.float32)
    name = f"{folder}/volume_{sample}.vti"
    write_image_data(
        target.path(name),
        {
            "share": volume,
            "epoch": np.broadcast_to(epochs.astype(np.float32)[:, None, None], volume.shape),
        },
        origin=(float(epochs[0]), 0.5, 0.5),
        spacing=(float(epochs[-1] - epochs[0]) / (count - 1), 1.0, 1.0),
    )
    return name


def write_grid(target: Target, found: list[Explained]) -> ExplanationGridIndex:
    """Write all maps of all methods as one picture a moment; pictures of one size are expected of all.

    Args:
        target: where to.
        found: the methods; those whose pictures are of another size or number than the first's are left out.
    """
    kept, _ = of_one_size(found)
    samples = min(kept[0].maps.shape[1], _MOST_SAMPLES)
    rows, columns = kept[0].maps.shape[2:]
    gap = max(1, round(0.08 * max(rows, columns)))
    width = (len(kept) + 1) * (columns + gap) - gap
    height = samples * (rows + gap) - gap
    corners = [
        [(s * (rows + gap), m * (columns + gap)) for m in range(len(kept) + 1)] for s in range(samples)
    ]
    grey = np.full((height, width), np.nan, np.float32)
    for s, places in enumerate(corners):
        for top, left in places:
            grey[top : top + rows, left : left + columns] = _stretched(kept[0].images[s])
    write_image_data(target.path("explanations/images.vti"), cell_data={"image": _upright(grey)})
    steps = np.unique(np.concatenate([one.steps for one in kept]))
    epoch_of = {int(s): float(e) for one in kept for s, e in zip(one.steps, one.epochs, strict=True)}
    moments = []
    for i in spread(len(steps), _MOST_TIMES):
        step = int(steps[i])
        name = f"grid_{step:07d}.vti"
        picture = np.full((height, width), np.nan, np.float32)
        for m, one in enumerate(kept, start=1):
            at = int(np.searchsorted(one.steps, step, side="right")) - 1
            for s in range(samples if at >= 0 else 0):  # none yet
                top, left = corners[s][m]
                picture[top : top + rows, left : left + columns] = shares(one.maps[at, s])
        if target.lacks(f"explanations/{name}", picture):
            write_image_data(target.path(f"explanations/{name}"), cell_data={"share": _upright(picture)})
        moments.append((epoch_of[step], float(step), name))
    size = 0.09 * columns
    words = ["image", *(one.name for one in kept)]
    room = 2 * size
    labels = [
        Label(word.replace("_", " "), m * (columns + gap) + columns / 2, height + room / 2, size, "middle")
        for m, word in enumerate(words)
    ]
    write_labels(target.path("explanations/names.vtp"), labels)
    return {
        "file": write_time_series(target, "explanations/grid.pvd", moments),
        "images": "explanations/images.vti",
        "labels": "explanations/names.vtp",
        "size": (float(width), float(height) + room),
        "methods": [one.name for one in kept],
        "samples": samples,
        "times": times_of(moments),
    }


def _stretched(image: Floats) -> Floats:
    low, high = finite_range(image)
    return (image - low) / (high - low) if high > low else np.zeros_like(image)
