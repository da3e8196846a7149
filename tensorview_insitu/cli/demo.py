"""`demo [OUT]`: the whole way on real data: train, record, export, render."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from tensorview_insitu.cli.command import add_command
from tensorview_insitu.cli.say import say
from tensorview_insitu.loading.json_text import read_json

_EPOCHS_OF_DIGITS = 20
_EPOCHS_OF_IMAGES = 10
_ASKED_FILE = "demo.json"


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "demo",
        run,
        "Train a small network on real handwritten digits (or the paper's network on a folder of images), "
        "record it, export it and render the views.",
        "tensorview-insitu demo out --epochs 20",
    )
    parser.add_argument("out", metavar="OUT", nargs="?", default="out", help="where to (default: out)")
    parser.add_argument("--images", metavar="DIR", help="a folder with a sub-folder of images per class")
    parser.add_argument("--epochs", type=int, metavar="N", help="default: 20, or 10 with --images")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of weights and shuffling (default: 0)"
    )


def run(options: argparse.Namespace) -> int:
    """Do it all."""
    if options.epochs is not None and options.epochs < 1:
        raise ValueError(f"Expected --epochs to be a positive number. Received: {options.epochs}")
    name = Path(options.images).resolve().name if options.images is not None else "digits"
    folder = Path(options.out) / name
    asked = {"images": options.images, "epochs": options.epochs, "seed": options.seed}
    if _has_run(folder, asked):
        say(f"{folder} holds this training already: using it (another OUT trains anew)")
    else:
        _train(folder, options.images, options.epochs, options.seed)
        (folder / _ASKED_FILE).write_text(json.dumps(asked))

    from tensorview_insitu.cli.export import export
    from tensorview_insitu.cli.paraview_process import NoParaViewError
    from tensorview_insitu.cli.render import render

    for sentence in export(str(folder), None, None, None).failed.values():
        say(f"missing: {sentence}")
    say("rendering the views")
    try:
        pictures = render(str(folder))
    except NoParaViewError as error:
        pictures = []
        say(f"no pictures: {error}")
    _tell(folder, pictures)
    return 0


def _has_run(folder: Path, asked: dict[str, Any]) -> bool:
    try:
        return bool(read_json(folder / _ASKED_FILE, 10_000) == asked)
    except (OSError, ValueError):
        return False


def _train(folder: Path, images: str | None, epochs: int | None, seed: int) -> None:
    from tensorview_insitu.demo.digits import load_digits
    from tensorview_insitu.demo.images import SIZE, load_images
    from tensorview_insitu.run.writer import refuse_taken

    refuse_taken(folder, overwrite=False)
    samples = load_images(Path(images)) if images is not None else load_digits()
    # TensorFlow tells of its CPU features on every start; its errors are still shown.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    from tensorview_insitu.callbacks import (
        Activations,
        Biases,
        Explanations,
        GradientNorms,
        InSituRecorder,
        Kernels,
        Metrics,
        Normalization,
        UpdateNorms,
    )
    from tensorview_insitu.demo.networks import digits_network, paper_network

    keras.utils.set_random_seed(seed)
    training, validation = samples.split(seed)
    classes = len(samples.classes)
    if images is not None:
        model, batch, epochs = paper_network(classes, SIZE), 8, epochs or _EPOCHS_OF_IMAGES
    else:
        model, batch, epochs = digits_network(classes), 32, epochs or _EPOCHS_OF_DIGITS
    # More than the default: enough for every view.
    quantities = [
        Metrics(),
        GradientNorms(),
        Kernels(),
        Biases(),
        Normalization(),
        UpdateNorms(every=5),
        Activations(validation.images[:4]),
        Explanations("grad_cam", validation.images[:4], target=validation.labels[:4]),
        Explanations("saliency", validation.images[:4], target=validation.labels[:4]),
        Explanations("occlusion", validation.images[:4], target=validation.labels[:4]),
    ]
    say(
        f"training {model.name} on {len(training.images)} images of {classes} classes "
        f"({len(validation.images)} for validation), {epochs} epochs",
    )
    model.fit(
        training.images,
        training.labels,
        validation_data=(validation.images, validation.labels),
        batch_size=batch,
        epochs=epochs,
        verbose=2,
        callbacks=[InSituRecorder(folder, quantities)],
    )


def _tell(folder: Path, pictures: list[Path]) -> None:
    export = folder / "paraview"
    say()
    say(f"made in {folder}:")
    say("  run.h5                 everything recorded, one plain HDF5 file")
    say("  paraview/tables        CSV for pandas, Tableau, Excel")
    say("  paraview/layers, ...   VTK time series")
    for state in sorted((export / "states").glob("*.pvsm")):
        say(f"  paraview/states/{state.name} and .py")
    for picture in pictures:
        say(f"  {picture.relative_to(folder.resolve())}")
    say()
    say("open it in ParaView:")
    say(f"  {_program()} open {shlex.quote(str(folder))}")


def _program() -> str:
    # In a virtual environment that is not activated the command has to be called by its path.
    if shutil.which("tensorview-insitu"):
        return "tensorview-insitu"
    return shlex.quote(os.path.relpath(Path(sys.executable).parent / "tensorview-insitu"))
