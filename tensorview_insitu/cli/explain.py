"""`explain MODEL IMAGES...`: what a saved model looks at."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorview_insitu.cli.command import add_command
from tensorview_insitu.cli.progress import progress_bar
from tensorview_insitu.cli.say import say

if TYPE_CHECKING:
    from tensorview_insitu.explain.network import Explanation

_PIXELS = "0,1"


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "explain",
        run,
        "Explain what a saved Keras model looks at: raw maps (.npy, .vti), overlays and a contact sheet "
        "(PNG), and a ParaView state.",
        "tensorview-insitu explain model.keras x-ray.png --method grad_cam --method occlusion -o explained",
    )
    parser.add_argument("model", metavar="MODEL", help="a .keras file")
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="a picture, or a .npy array (*spatial, channels) as the model takes it",
    )
    parser.add_argument(
        "--method",
        metavar="M",
        action="append",
        help="grad_cam (the default), saliency, occlusion, ...; once for each",
    )
    parser.add_argument("--class", dest="target", metavar="C", type=int, help="default: the strongest one")
    parser.add_argument("--layer", metavar="L", help="of Grad-CAM and its like; default: the last with maps")
    parser.add_argument(
        "--pixels",
        metavar="LOW,HIGH",
        default=_PIXELS,
        help="what black and white of a picture are to the model: 0,1 (the default), 0,255, -1,1",
    )
    parser.add_argument("--size", metavar="WxH", help="for a model that takes pictures of any size")
    parser.add_argument("-o", "--output", metavar="DIR", default="explained", help="where to (explained)")
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="load a .h5 file or a model with code of its own in it: it may do anything to this machine",
    )


def run(options: argparse.Namespace) -> int:
    """Explain each image by each method."""
    from tensorview_insitu.cli.render import size_of
    from tensorview_insitu.explain.methods import OF_A_LAYER, WITHOUT_CLASS, method_named

    names = list(dict.fromkeys(options.method or ["grad_cam"]))
    methods = {name: method_named(name) for name in names}
    low, high = _pixels(options.pixels)
    size = size_of(options.size.lower(), smallest=1) if options.size else None
    paths = [Path(image) for image in options.images]
    for path in [Path(options.model), *paths]:
        if not path.is_file():
            raise FileNotFoundError(f"No file at {path}.")

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tensorview_insitu.cli.explained import write_explained
    from tensorview_insitu.cli.pictures import load_images
    from tensorview_insitu.explain.keras_network import KerasNetwork
    from tensorview_insitu.explain.network import chosen_classes
    from tensorview_insitu.loading.model import load_model

    network = KerasNetwork(load_model(Path(options.model), trust=options.trust_model))
    images = load_images(paths, network.image_shape, size, low, high)
    found: dict[str, Explanation] = {}
    classes = chosen_classes(network, images, options.target)
    with progress_bar("explaining") as progress:
        for number, (name, method) in enumerate(methods.items()):
            progress(number, len(methods))
            settings: dict[str, Any] = {"layer": options.layer} if name in OF_A_LAYER else {}
            settings |= {} if name in WITHOUT_CLASS else {"target": classes}
            found[name] = method(network, images, **settings)
            progress(number + 1, len(methods))
    for line in _ignored(options, methods, paths, network.image_shape):
        say(f"ignored: {line}")
    folder = Path(options.output)
    for path in write_explained(folder, Path(options.model).stem, paths, images, network, classes, found):
        say(path)
    return 0


def _ignored(
    options: argparse.Namespace,
    methods: Collection[str],
    paths: Sequence[Path],
    shape: Sequence[int | None],
) -> Iterator[str]:
    """What was asked for and makes no difference, in sentences."""
    from tensorview_insitu.explain.methods import OF_A_LAYER, WITHOUT_CLASS

    if options.layer is not None and (others := [name for name in methods if name not in OF_A_LAYER]):
        yield f"--layer, by {', '.join(others)}: of no layer"
    if options.target is not None and (others := [name for name in methods if name in WITHOUT_CLASS]):
        yield f"--class, by {', '.join(others)}: of a filter, of no class"
    arrays = [path.name for path in paths if path.suffix.lower() == ".npy"]
    if options.pixels != _PIXELS and arrays:
        yield f"--pixels, by {', '.join(arrays)}: arrays are taken as they are"
    if options.size is not None and len(arrays) == len(paths):
        yield "--size: arrays are taken as they are"
    elif options.size is not None and None not in shape[:-1]:
        yield f"--size: the model takes pictures of {shape[1]} x {shape[0]} pixels"


def _pixels(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not low < high:
        raise ValueError(f"Expected --pixels as LOW,HIGH, such as 0,255. Received: {text}")
    return low, high
