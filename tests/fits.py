"""Named models and fits that tests share."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits
from tensorview_insitu.callbacks import Numbers

BATCH = 32
SAMPLES = 400  # 12 whole batches and one of 16


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Real digits, grey in 0..1, and their classes."""
    data = load_digits()
    return (data.images / 16).astype(np.float32)[..., None], data.target.astype(np.int32)


def network(
    kind: str = "functional",
    optimizer: Any = None,
    seed: int = 0,
    dropout: float = 0.2,
    **compile_options: Any,
) -> Any:
    """A small convolutional network, compiled.

    Args:
        kind: `functional`, `sequential`, `sequential without input`, or `subclassed`.
        optimizer: by default gradient descent with momentum: Adam takes half as long again to trace.
        dropout: its rate.
        seed: of weights, dropout and shuffling.
        **compile_options: for `compile`.
    """
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Conv2D(8, 3, activation="relu", name="conv1"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Conv2D(6, 2, activation="relu", name="conv2"),
        keras.layers.Dropout(dropout, name="dropout"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(10, activation="softmax", name="classes"),
    ]
    if kind == "functional":
        x = inputs = keras.Input((8, 8, 1))
        for layer in layers:
            x = layer(x)
        model = keras.Model(inputs, x, name="digits")
    elif kind == "sequential":
        model = keras.Sequential([keras.Input((8, 8, 1)), *layers], name="digits")
    elif kind == "sequential without input":
        model = keras.Sequential(layers, name="digits")
    elif kind == "subclassed":
        model = Subclassed(layers)
    else:
        raise ValueError(kind)
    model.compile(
        optimizer or keras.optimizers.SGD(0.02, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **compile_options,
    )
    return model


class LargestWeights(Numbers):
    """The largest absolute weight of every kernel: a quantity as a user writes one."""

    def numbers(self, model: Any) -> dict[str, float]:
        kernels = [v for v in model.trainable_variables if v.name == "kernel"]
        return {v.path.removesuffix("/kernel"): float(abs(v.numpy()).max()) for v in kernels}


class Subclassed(keras.Model):
    """The same layers, called from `call`."""

    def __init__(self, layers: list[keras.layers.Layer]) -> None:
        super().__init__(name="digits")
        self.steps = layers

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.steps:
            takes_training = layer.name in ("norm", "dropout")
            x = layer(x, training=training) if takes_training else layer(x)
        return x


def fit(model: Any, callbacks: list[Any], epochs: int = 2, **options: Any) -> Any:
    """Fit on real digits, with validation; the history."""
    x, y = digits()
    settings: dict[str, Any] = {
        "batch_size": BATCH,
        "epochs": epochs,
        "verbose": 0,
        "validation_data": (x[SAMPLES : SAMPLES + 100], y[SAMPLES : SAMPLES + 100]),
    } | options
    return model.fit(x[:SAMPLES], y[:SAMPLES], callbacks=callbacks, **settings)
