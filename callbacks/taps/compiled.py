"""Compile a function that asks the model, for the backend; the model is afterwards as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[[], Any], model: keras.Model) -> Callable[[], Any]:
    """What asks the model: traced at its first call where the backend is TensorFlow.

    What the model writes while it is asked (the state of random numbers, of a recurrent layer) is put back.
    """
    if keras.backend.backend() != "tensorflow":
        return lambda: _asked(function, model)
    import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

    from tensorview_insitu.explain.untouched import as_they_were, random_as_it_was, written_by

    traced: list[tuple[Any, Any]] = []

    def ask() -> Any:
        if not traced:
            with random_as_it_was():
                concrete = tf.function(function).get_concrete_function()
            traced.append((concrete, written_by(concrete)))
        concrete, written = traced[0]
        with as_they_were(written):
            return concrete()

    return ask


def _asked(function: Callable[[], Any], model: keras.Model) -> Any:
    trained = {id(variable) for variable in model.trainable_variables}
    others = [variable for variable in model.variables if id(variable) not in trained]
    before = [keras.ops.copy(variable.value) for variable in others]
    try:
        return function()
    finally:
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
