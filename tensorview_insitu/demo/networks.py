"""The two networks of the demonstration."""

from __future__ import annotations

from typing import Any

import keras


def digits_network(classes: int) -> Any:
    """A small network for 8 x 8 digits, whose first layer has 64 filters of 3 x 3.

    Returns:
        A compiled keras.Model.
    """
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(64, 3, activation="relu", name="conv1")(inputs)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(64, 3, padding="same", activation="relu", name="conv2")(x)
    x = keras.layers.Flatten()(x)
    outputs = keras.layers.Dense(classes, activation="softmax", name="classes")(x)
    return _compiled(keras.Model(inputs, outputs, name="digits"))


def paper_network(classes: int, size: int) -> Any:
    """The network of the paper, for grey images of `size` x `size`.

    Returns:
        A compiled keras.Model.
    """
    inputs = keras.Input((size, size, 1))
    x = keras.layers.Conv2D(64, 3, name="conv1")(inputs)
    x = keras.layers.BatchNormalization(name="norm1")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(64, 3, name="conv2")(x)
    x = keras.layers.BatchNormalization(name="norm2")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Flatten()(x)
    outputs = keras.layers.Dense(classes, activation="softmax", name="classes")(x)
    return _compiled(keras.Model(inputs, outputs, name="paper"))


def _compiled(model: Any) -> Any:
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
