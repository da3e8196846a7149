"""What recording costs a training: paired step ratios, with a noise-floor row.

All variants train the same network on the same data in one process. Every step is done once by each
variant, in random order, so that whatever else the machine does falls on all of them alike; the figure is
the median over steps of (time with a variant) / (time of the plain one). The row `plain'` is a second plain
training: what it shows is noise, and no other row means more than that. Where its variables happen to lie in
memory makes a model faster or slower by some percent, so all are built several times. An epoch's end is
given as a share of an epoch of 100 steps; what is done once (tracing, the first snapshot) as seconds more
than plain.

    python scripts/benchmark_overhead.py [small|paper|resnet50|vgg16 ...] [--steps 200] [--epochs 4]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf  # noqa: TID251 - the second backward pass that others need
from keras.callbacks import CallbackList
from tensorview_insitu.callbacks import (
    Activations,
    Biases,
    Budget,
    GradientNorms,
    InSituRecorder,
    Kernels,
    Metrics,
)

from tensorview_insitu.demo.networks import paper_network

Make = Callable[[Path, np.ndarray, np.ndarray], list[Any]]


class SecondBackward(keras.callbacks.Callback):
    """Gradient norms as one gets them without a tap: the gradients computed again after each batch."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.x, self.y = tf.constant(x), tf.constant(y)
        self.norms: list[np.ndarray] = []
        self._function = tf.function(self._again)

    def _again(self) -> Any:
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(y=self.y, y_pred=self.model(self.x, training=True))
        gradients = tape.gradient(loss, self.model.trainable_variables)
        return tf.stack([tf.norm(gradient) for gradient in gradients])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Once more."""
        self.norms.append(self._function().numpy())


def tensorboard(folder: Path, x: np.ndarray, y: np.ndarray) -> list[Any]:
    """What TensorBoard's callback offers of the same."""
    return [keras.callbacks.TensorBoard(str(folder), histogram_freq=1, update_freq="batch")]


EVERY_BATCH = (Metrics, GradientNorms, lambda: Kernels("batch"), Biases)

VARIANTS: dict[str, Make] = {
    "plain": lambda folder, x, y: [],
    "plain'": lambda folder, x, y: [],
    "CSVLogger": lambda folder, x, y: [keras.callbacks.CSVLogger(str(folder) + ".csv")],
    "TensorBoard, histograms, by batch": tensorboard,
    "second backward pass": lambda folder, x, y: [SecondBackward(x, y)],
    "ours": lambda folder, x, y: [InSituRecorder(folder)],
    "ours, all kernels every batch": lambda folder, x, y: [
        InSituRecorder(folder, [q() for q in EVERY_BATCH])
    ],
    "ours, activations of 4 samples": lambda folder, x, y: [
        InSituRecorder(folder, [Metrics(), GradientNorms(), Kernels(), Biases(), Activations(x[:4])])
    ],
    "ours, with a budget": lambda folder, x, y: [
        InSituRecorder(
            folder,
            [Metrics(), GradientNorms(), Kernels("batch"), Biases(), Activations(x[:4])],
            budget=Budget(step_overhead=0.02),
        )
    ],
}


def small_network() -> Any:
    """Four layers with variables, steps of a few milliseconds."""
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu")(inputs)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(32, 3, activation="relu")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    return compiled(keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x)))


def compiled(model: Any) -> Any:
    """Compiled as in the paper."""
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def application(kind: Any, size: int) -> Any:
    """A network of keras.applications with random weights."""
    return compiled(kind(weights=None, input_shape=(size, size, 3), classes=10))


NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, int, int], int, float]] = {
    # the network, its images, the batch size, the share of --steps that is done with it
    "small": (small_network, (16, 16, 1), 32, 1.0),
    "paper": (lambda: paper_network(10, 64), (64, 64, 1), 8, 0.1),
    "resnet50": (lambda: application(keras.applications.ResNet50, 64), (64, 64, 3), 8, 0.1),
    "vgg16": (lambda: application(keras.applications.VGG16, 32), (32, 32, 3), 8, 0.1),
}


class Training:
    """A `fit` that is done step by step."""

    def __init__(
        self, model: Any, callbacks: list[Any], x: np.ndarray, y: np.ndarray, batch: int, steps: int
    ):
        self.model = model
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch).repeat()
        self.data = iter(data)
        begin = time.perf_counter()
        self.callbacks = CallbackList(
            callbacks, add_history=True, model=model, epochs=1000, steps=steps, verbose=0
        )
        model.make_train_function()
        self.callbacks.on_train_begin()
        self.callbacks.on_epoch_begin(0)
        self.step(0)
        self.first_seconds = time.perf_counter() - begin
        self.seconds: list[float] = []
        self.epoch_ends: list[float] = []

    def step(self, number: int) -> float:
        """Do one step; its time in seconds."""
        start = time.perf_counter()
        self.callbacks.on_train_batch_begin(number)
        logs = self.model.train_function(self.data)
        self.callbacks.on_train_batch_end(number, logs)
        return time.perf_counter() - start

    def end_epoch(self, number: int) -> float:
        """End an epoch and begin the next; its time in seconds."""
        start = time.perf_counter()
        self.callbacks.on_epoch_end(number, dict(self.model.get_metrics_result()))
        seconds = time.perf_counter() - start
        self.model.reset_metrics()
        self.callbacks.on_epoch_begin(number + 1)
        return seconds


def measure(network: str, variants: list[str], steps: int, epochs: int, folder: Path) -> list[dict[str, Any]]:
    """The price list of one network."""
    make, shape, batch, share = NETWORKS[network]
    steps = max(4, int(steps * share))
    rng = np.random.default_rng(0)
    x = rng.random((batch * 8, *shape)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    trainings: dict[str, Training] = {}
    memory: dict[str, float] = {}
    for number, variant in enumerate(variants):
        keras.utils.set_random_seed(0)
        gc.collect()
        before = _resident()
        callbacks = VARIANTS[variant](folder / f"{network}{number}", x[:batch], y[:batch])
        trainings[variant] = Training(make(), callbacks, x, y, batch, steps)
        memory[variant] = _resident() - before
    for epoch in range(epochs + 1):
        for number in range(1, steps):
            for variant in rng.permutation(variants):
                seconds = trainings[variant].step(number)
                if epoch:  # the first one warms up
                    trainings[variant].seconds.append(seconds)
        for variant in variants:
            seconds = trainings[variant].end_epoch(epoch)
            if epoch:
                trainings[variant].epoch_ends.append(seconds)
    for training in trainings.values():
        training.callbacks.on_train_end()
    return [_row(network, v, trainings, memory) for v in variants]


def _row(
    network: str, variant: str, trainings: dict[str, Training], memory: dict[str, float]
) -> dict[str, Any]:
    one, plain = trainings[variant], trainings["plain"]
    pairs = np.array(one.seconds) / np.array(plain.seconds)
    extra_ms = np.median(np.array(one.seconds) - np.array(plain.seconds)) * 1e3
    epoch_seconds = np.median(plain.seconds) * 100
    return {
        "network": network,
        "variant": variant,
        "steps": len(pairs),
        "step_ms": round(float(np.median(one.seconds) * 1e3), 3),
        "paired": round(float(np.median(pairs) - 1), 4),
        "extra_ms": round(float(extra_ms), 3),
        "epoch_end": round(
            float((np.median(one.epoch_ends) - np.median(plain.epoch_ends)) / epoch_seconds), 4
        ),
        "first_step_s": round(one.first_seconds - plain.first_seconds, 2),
        "memory_mb": round((memory[variant] - memory["plain'"]) / 1e6, 1),
    }


def _median(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row out of those of several rounds."""
    numbers = [key for key, value in rows[0].items() if isinstance(value, float | int)]
    median = {key: float(np.median([row[key] for row in rows])) for key in numbers}
    return {**rows[0], **median, "steps": sum(row["steps"] for row in rows)}


def _resident() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return float(pages * resource.getpagesize())


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=["small"], metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--steps", type=int, default=200, help="steps in an epoch (fewer for large networks)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs measured, after one to warm up")
    parser.add_argument("--rounds", type=int, default=3, help="times that everything is built anew")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="VARIANT")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    options = parser.parse_args()
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"Expected networks out of {', '.join(NETWORKS)}. Received: {', '.join(unknown)}")
    tf.get_logger().setLevel("ERROR")  # each variant traces the same function of Keras
    variants = list(dict.fromkeys(["plain", "plain'", *options.only]))
    if not options.json:
        print(
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, keras {keras.__version__}"
        )
        print(f"{'':36}{'step':>10}{'paired':>9}{'extra':>10}{'epoch end':>11}{'once':>8}{'memory':>10}")
    for network in options.networks:
        rounds = []
        for _ in range(options.rounds):
            folder = Path(tempfile.mkdtemp(prefix="benchmark"))
            try:
                rounds.append(measure(network, variants, options.steps, options.epochs, folder))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                keras.backend.clear_session()
        rows = [_median(some) for some in zip(*rounds, strict=True)]
        if options.json:
            print("\n".join(json.dumps(row) for row in rows), flush=True)
            continue
        print(f"{network}, {rows[0]['steps']} paired steps")
        for row in rows:
            print(
                f"  {row['variant']:34}{row['step_ms']:>7.2f} ms{row['paired']:>9.1%}"
                f"{row['extra_ms']:>7.3f} ms{row['epoch_end']:>11.1%}"
                f"{row['first_step_s']:>6.1f} s{row['memory_mb']:>7.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
