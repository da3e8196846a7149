"""How LeNet-5's weights travel at several learning rates: does a training that freezes walk straight?

In situ TensorView (Chen et al., 2018) shows three weights of a training as a path, and it is said that a
healthy one (learning rate 0.001) winds while one at 0.05 freezes into a straight line within some hundred
steps, as its gradients vanish; network and optimizer are not known to us. This trains LeNet-5 on
handwritten digits at several rates, records every step, and reports what comes out: how straight each path
is (distance from its first to its last point, as a share of its length), when it has gone 99 % of its way,
and the gradient norms. With --render it draws the path at each rate beside its gradient norms.

    python scripts/learning_rate_study.py OUT [--rates 0.001 0.01 0.05] [--optimizer adam] [--steps 400]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from gallery import sheet
from tensorview_insitu.callbacks import Biases, GradientNorms, InSituRecorder, Kernels, Metrics

from tensorview_insitu.cli.render import render
from tensorview_insitu.demo.digits import load_digits
from tensorview_insitu.export.run import export_run
from tensorview_insitu.run.reader import Run

_LAYER = "c3"


def lenet(optimizer: Any) -> Any:
    """LeNet-5 for images of 32 x 32 (LeCun et al., 1998), with tanh and average pooling."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(6, 5, activation="tanh", name="c1"),
            layers.AveragePooling2D(2, name="s2"),
            layers.Conv2D(16, 5, activation="tanh", name="c3"),
            layers.AveragePooling2D(2, name="s4"),
            layers.Conv2D(120, 5, activation="tanh", name="c5"),
            layers.Flatten(name="flatten"),
            layers.Dense(84, activation="tanh", name="f6"),
            layers.Dense(10, activation="softmax", name="output"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def study(folder: Path, rate: float, optimizer: str, steps: int, batch: int, seed: int) -> dict[str, float]:
    """Train at one rate; what was measured."""
    keras.utils.set_random_seed(seed)
    samples = load_digits()
    images = np.asarray(samples.images).repeat(4, axis=1).repeat(4, axis=2)
    model = lenet({"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[optimizer](rate))
    epochs = max(1, round(steps / -(-len(images) // batch)))
    recorder = InSituRecorder(
        folder,
        [Metrics(), GradientNorms(), Kernels("batch", [_LAYER]), Biases("batch", [_LAYER])],
        overwrite=True,
    )
    model.fit(images, samples.labels, batch_size=batch, epochs=epochs, verbose=0, callbacks=[recorder])
    return measured(Run.open(folder))


def measured(run: Run) -> dict[str, float]:
    """How straight the path of the layer is, how soon it is gone, and what the gradients do."""
    kernel = run.variable(_LAYER, "kernel").values
    path = kernel.reshape(len(kernel), -1).astype(np.float64)
    moves = np.linalg.norm(np.diff(path, axis=0), axis=1)
    length = moves.cumsum()
    norms = run.gradient_norms()[f"{_LAYER}/kernel"].to_numpy(np.float64)
    turns = [float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) or 1.0)) for a, b in _pairs(path)]
    scalars = run.scalars("epoch")
    return {
        "straightness": float(np.linalg.norm(path[-1] - path[0]) / max(length[-1], 1e-12)),
        "turn_cosine": float(np.median(turns)),
        "steps_to_99_percent": float(np.searchsorted(length, 0.99 * length[-1]) + 1),
        "first_gradient": float(np.median(norms[:20])),
        "last_gradient": float(np.median(norms[-20:])),
        "last_move_share": float(np.median(moves[-20:]) / max(np.median(moves[:20]), 1e-30)),
        "loss": float(scalars["loss"].iloc[-1]),
        "accuracy": float(scalars["accuracy"].iloc[-1]),
    }


def _pairs(path: np.ndarray) -> Any:
    steps = np.diff(path, axis=0)
    return zip(steps[:-1], steps[1:], strict=True)


def main() -> None:
    """Train at all rates, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="where the runs go")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.01, 0.05])
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--render", action="store_true", help="draw weight_trajectory and gradient_norms of each"
    )
    options = parser.parse_args()
    columns = measured_names()
    pictures: list[tuple[str, Path]] = []
    print(f"{'rate':>8} {'seed':>5}" + "".join(f"{name:>21}" for name in columns))
    for rate in options.rates:
        for seed in options.seeds:
            folder = options.out / f"{options.optimizer}_{rate:g}_{seed}"
            found = study(folder, rate, options.optimizer, options.steps, options.batch, seed)
            print(f"{rate:>8g} {seed:>5}" + "".join(f"{found[name]:>21.4g}" for name in columns), flush=True)
            if options.render:
                export_run(Run.open(folder))
                for picture in render(str(folder), ["weight_trajectory", "gradient_norms"]):
                    pictures.append((f"{options.optimizer}, learning rate {rate:g}: {picture.stem}", picture))
    if pictures:
        # Paths in the upper row, gradient norms below: a column for each training.
        ordered = sorted(pictures, key=lambda pair: pair[1].stem, reverse=True)
        sheet(ordered, options.out / "paths.png", columns=len(pictures) // 2)
        print(options.out / "paths.png")


def measured_names() -> list[str]:
    """The columns of the table."""
    return [
        "straightness",
        "turn_cosine",
        "steps_to_99_percent",
        "first_gradient",
        "last_gradient",
        "last_move_share",
        "loss",
        "accuracy",
    ]


if __name__ == "__main__":
    main()
