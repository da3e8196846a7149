"""Write explanations of single images: raw maps, overlays, a contact sheet, and a state for ParaView."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu import __version__
from tensorview_insitu.explain.methods import SIGNED
from tensorview_insitu.explain.network import Explanation, Floats, Network, answers_of
from tensorview_insitu.export.explanations import Explained, shares, write_explanation, write_grid
from tensorview_insitu.export.files import Target
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.manifest import read_manifest
from tensorview_insitu.index import Times, empty_index, write_index
from tensorview_insitu.text.file_names import safe_names
from tensorview_insitu.text.printable import printable

_TILE = 192  # the least side of a picture on the contact sheet
_STRONGEST = 0.65  # opacity of a map at its largest value


def write_explained(
    folder: Path,
    model: str,
    paths: Sequence[Path],
    images: Floats,
    network: Network,
    classes: NDArray[np.int64],
    found: Mapping[str, Explanation],
) -> list[Path]:
    """Write everything; the files that a person opens first.

    Args:
        folder: where to.
        model: its name.
        paths: of the images: their names are those of the files.
        images: `(batch, *spatial, channels)`.
        network: the network.
        classes: `(batch,)`.
        found: by method.

    Raises:
        OSError: the folder cannot be written.
    """
    from tensorview_insitu.paraview_states.states import write_states

    target = Target(folder, read_manifest(folder))
    with target.ledger.begun():
        stems = list(safe_names(f"{number} {path.stem}" for number, path in enumerate(paths)).values())
        for method, one in found.items():
            for stem, image, values in zip(stems, images, one.maps, strict=True):
                _write_raw(target, f"maps/{method}/{stem}", image, values)
        grey = _pictures(images)
        flat = {method: _flat(one.maps) for method, one in found.items()}
        written = []
        for method, maps in flat.items():
            for stem, picture, values in zip(stems, grey, maps, strict=True):
                path = target.path(f"overlays/{method}/{stem}.png")
                _save(path, _overlay(picture, values, signed=method in SIGNED))
                written.append(path)
        probabilities = answers_of(network, images, classes)
        answer = "probability" if network.gives_probabilities else "score"
        captions = [
            f"{path.stem}, class {c}: {answer} {p:.2f}"
            for path, c, p in zip(paths, classes, probabilities, strict=True)
        ]
        sheet = folder / "contact_sheet.png"
        _write_sheet(sheet, grey, flat, captions)
        target.ledger.finish(_write_index(target, model, grey, found, flat, classes, {answer: probabilities}))
    states = write_states(folder, ["explanation_grid", "explanation"]).written
    return [sheet, *written, *(path for path in states if path.suffix == ".pvsm")]


def _write_raw(target: Target, name: str, image: Floats, values: Floats) -> None:
    np.save(target.path(f"{name}.npy"), values)
    axes = tuple(reversed(range(values.ndim)))
    arrays = {"map": values.transpose(axes), "image": image.mean(axis=-1).transpose(axes)}
    # The first row of a picture is its uppermost; y runs upwards.
    arrays = {key: np.ascontiguousarray(one[:, ::-1]) for key, one in arrays.items()}
    write_image_data(target.path(f"{name}.vti"), cell_data=arrays)


def _flat(maps: Floats) -> Floats:
    """Maps as pictures: of a volume the value of largest size along its depth."""
    if maps.ndim == 3:
        return maps
    at = np.abs(maps).argmax(axis=1, keepdims=True)
    return np.take_along_axis(maps, at, axis=1)[:, 0]


def _pictures(images: Floats) -> Floats:
    """`(batch, row, column, 1 or 3)` from 0 to 1."""
    flat = images if images.ndim == 4 else images.mean(axis=1)
    low, high = flat.min(axis=(1, 2, 3), keepdims=True), flat.max(axis=(1, 2, 3), keepdims=True)
    scaled: Floats = (flat - low) / np.maximum(high - low, 1e-12)
    return scaled if scaled.shape[-1] == 3 else scaled.mean(axis=-1, keepdims=True)


def _coloured(values: Floats, *, signed: bool) -> Floats:
    from tensorview_insitu.paraview_states import colour_maps

    share = shares(values)
    places = ((1 + np.sign(values) * share) / 2).astype(np.float32) if signed else share
    table = np.array(
        colour_maps.at("cool_to_warm" if signed else "viridis", np.linspace(0, 1, 256).tolist()), np.float32
    )
    colours: Floats = table[np.round(places * 255).astype(int)]
    return colours


def _overlay(picture: Floats, values: Floats, *, signed: bool) -> Floats:
    """The map over its picture: the weaker it is, the more of the picture is seen."""
    opacity = _STRONGEST * np.sqrt(shares(values))[..., None]
    mixed = (1 - opacity) * picture + opacity * _coloured(values, signed=signed)
    return np.asarray(mixed, np.float32)


def _image(values: Floats) -> Any:
    from PIL import Image

    rgb = np.broadcast_to(values, (*values.shape[:2], 3))
    return Image.fromarray(np.round(255 * np.clip(rgb, 0, 1)).astype(np.uint8))


def _save(path: Path, values: Floats) -> None:
    _image(values).save(path)


def _write_sheet(path: Path, pictures: Floats, maps: Mapping[str, Floats], captions: Sequence[str]) -> None:
    """Rows of images; of each: itself, and every method's map and overlay."""
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = pictures.shape[1:3]
    enlarged = max(1, -(-_TILE // min(rows, columns)))
    width, height = columns * enlarged, rows * enlarged
    gap, line = 12, 26
    titles = ["image", *(f"{name}{what}" for name in maps for what in ("", ", over it"))]
    sheet = Image.new(
        "RGB",
        (gap + len(titles) * (width + gap), line + gap + len(pictures) * (height + line + gap)),
        "white",
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for number, title in enumerate(titles):
        _write_text(draw, font, title.replace("_", " "), gap + number * (width + gap), 8, width)
    for row, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        tiles = [picture]
        for name, of_method in maps.items():
            signed = name in SIGNED
            tiles += [
                _coloured(of_method[row], signed=signed),
                _overlay(picture, of_method[row], signed=signed),
            ]
        top = line + gap + row * (height + line + gap)
        for number, tile in enumerate(tiles):
            large = _image(tile).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(large, (gap + number * (width + gap), top))
        _write_text(draw, font, caption, gap, top + height + 5, sheet.width - 2 * gap)
    sheet.save(path)


def _write_text(draw: Any, font: Any, text: str, x: int, y: int, width: int) -> None:
    text = printable(text)
    while text and draw.textlength(text, font=font) > width:
        text = text[:-2] + "…" if len(text) > 2 else ""
    draw.text((x, y), text, fill="black", font=font)


def _write_index(
    target: Target,
    model: str,
    pictures: Floats,
    found: Mapping[str, Explanation],
    flat: Mapping[str, Floats],
    classes: NDArray[np.int64],
    answers: Mapping[str, Floats],
) -> str:
    """Write index.json; its run id."""
    times: Times = {"epochs": [0.0], "steps": [0.0]}
    index = empty_index(
        {
            "name": model,
            "run_id": hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:32],
            "status": "finished",
            "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "steps": 0,
            "epochs": 0.0,
        },
        __version__,
        times,
    )
    numbers: dict[str, list[float]] = {"step": [0.0], "epoch": [0.0]}
    for sample, chosen in enumerate(classes):
        numbers[f"class_{sample}"] = [float(chosen)]
        numbers |= {f"{name}_{sample}": [float(values[sample])] for name, values in answers.items()}
    shown = [
        Explained(
            method,
            method,
            str(one.about.get("layer", "")),
            f"layer {one.about['layer']}, {one.about['layer_why']}" if "layer" in one.about else "",
            pictures.mean(axis=-1),
            flat[method][None],
            np.zeros(1, np.int64),
            np.zeros(1),
        )
        for method, one in found.items()
    ]
    index["explanations"] = [
        write_explanation(target, f"explanations/{one.name}", one, pd.DataFrame(numbers)) for one in shown
    ]
    index["explanation_grid"] = write_grid(target, shown)
    write_index(target.folder, index)
    return index["run"]["run_id"]
