"""Compile a function of the model for the backend, where calling it plainly would be slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[[], Any]) -> Callable[[], Any]:
    """The function, traced at its first call where the backend is TensorFlow; else the function itself."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

    traced: Callable[[], Any] = tf.function(function)
    return traced
