"""What every layer answers in one forward pass, of any model.

While the pass is traced, each layer's `call` is shadowed by one that hands its answer on. So layers in
nested, subclassed and shared models are heard alike, in the order in which they are called, and nothing
is left in them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from tensorview_insitu.explain.shadows import Shadows
from tensorview_insitu.explain.walk import walk

Hear = Callable[[str, Any], None]


def has_answers(layer: keras.Layer) -> bool:
    """Whether a layer computes something of its own: not one that only holds, reshapes or drops."""
    if isinstance(layer, keras.layers.RNN):
        return True  # it holds a cell, but what that answers within the loop over time nobody can hear
    if any(layer._flatten_layers(recursive=False, include_self=False)):
        return False
    return not isinstance(
        layer,
        keras.layers.InputLayer
        | keras.layers.Dropout
        | keras.layers.SpatialDropout1D
        | keras.layers.SpatialDropout2D
        | keras.layers.SpatialDropout3D
        | keras.layers.GaussianNoise
        | keras.layers.GaussianDropout
        | keras.layers.Flatten
        | keras.layers.Reshape
        | keras.layers.ZeroPadding1D
        | keras.layers.ZeroPadding2D
        | keras.layers.ZeroPadding3D,
    )


@contextlib.contextmanager
def hearing(model: keras.Model, wants: Callable[[str, keras.Layer], bool], hear: Hear) -> Iterator[None]:
    """While it lasts, `hear(path, answer)` is called with what each layer wanted answers.

    The second call of a shared layer is heard as `path@2`. Answers that are no single tensor of floating
    point numbers are passed over.
    """
    calls: dict[str, int] = {}
    shadows = Shadows()

    def shadow(path: str, layer: keras.Layer) -> None:
        call, with_states = layer.call, isinstance(layer, keras.layers.RNN)

        def heard_call(*args: Any, **kwargs: Any) -> Any:
            answer = call(*args, **kwargs)
            # A recurrent layer may give its states as well.
            first = answer[0] if with_states and isinstance(answer, list | tuple) else answer
            if keras.backend.is_float_dtype(getattr(first, "dtype", "int32")) and len(first.shape) > 1:
                calls[path] = calls.get(path, 0) + 1
                hear(path if calls[path] == 1 else f"{path}@{calls[path]}", first)
            return answer

        shadows.put(layer, "call", heard_call)

    try:
        for path, layer in walk(model):
            if wants(path, layer):
                shadow(path, layer)
        yield
    finally:
        shadows.remove()


_UNITS_LAST = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding, keras.layers.RNN)


class FiltersLast:
    """Turns the answers of one model's layers so that their filters lie along the last axis.

    A layer that does not say where its channels are (an activation) has them where all convolutions of the
    model have theirs; where those differ, where Keras has them by default.
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers = dict(walk(model))
        of_convolutions = {
            getattr(layer, "data_format", None)
            for layer in self._layers.values()
            if hasattr(layer, "kernel_size")
        } - {None}  # a layer of one's own may have a kernel, and not say it
        default = keras.config.image_data_format()
        self._common = of_convolutions.pop() if len(of_convolutions) == 1 else default

    def __call__(self, path: str, answer: Any) -> Any:
        """What the layer at `path` (`path@2` in its second call) answered."""
        layer = self._layers.get(path, self._layers.get(path.rpartition("@")[0]))
        common = "channels_last" if isinstance(layer, _UNITS_LAST) else self._common
        if getattr(layer, "data_format", common) == "channels_first" and len(answer.shape) > 2:
            return keras.ops.moveaxis(answer, 1, -1)
        return answer
