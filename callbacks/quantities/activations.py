"""What the layers answer to a few fixed samples: feature maps, and statistics of every filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tensorview_insitu.explain.hearing import filters_last, has_answers, hearing
from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Rows

from ..layers import spatial_dims
from ..schedule import Every
from ..taps.compiled import compiled
from .quantity import OfLayers, Probed
from .reductions import Statistics, statistics

_MAP_BYTES = 256 << 10


class Activations(OfLayers, Probed):
    """Feature maps of every layer for the first samples of a probe, statistics of every filter over all.

    The model answers as it does in `predict`. A filter that is zero all over the probe is dead: how many
    each layer has is recorded too. It costs a forward pass of the probe each time, so a probe should be
    a few samples. A model that its first batch builds has no activations at step 0.

    Args:
        probe: `(samples, ...)` as `predict` takes it; a list or dict of arrays for several inputs.
        every: `"epoch"`, `"batch"`, a number of batches, or a schedule.
        layers: the paths of the layers; None takes all that compute something of their own.
        maps: of how many samples the maps are recorded; 0 records only statistics.
        map_size: the most rows and columns of a recorded map: of a larger one every n-th is kept, as
            also when the maps of one sample would take more than 256 kB.

    Raises:
        ValueError: the probe is empty, or a number is wrong.
    """

    def __init__(
        self,
        probe: Any,
        every: Every = "epoch",
        layers: Sequence[str] | None = None,
        *,
        maps: int = 1,
        map_size: int = 64,
    ) -> None:
        super().__init__(every, layers)
        self.probe = keras.tree.map_structure(np.asarray, probe)
        lengths = {len(array) if array.ndim else 0 for array in keras.tree.flatten(self.probe)}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                "Expected probe to be one or more samples, (samples, ...), as predict takes them. "
                f"Received: arrays with {sorted(lengths)} samples."
            )
        if maps < 0 or map_size < 1:
            raise ValueError(
                f"Expected maps >= 0 and map_size >= 1. Received: maps={maps}, map_size={map_size}."
            )
        self.maps = maps
        self.map_size = map_size
        self._function: Any = None
        self._model: keras.Model | None = None
        self._about: list[tuple[str, tuple[str, ...], int]] = []

    def take(self, model: keras.Model, step: int) -> dict[str, Rows]:
        """The rows of one moment."""
        if self._model is not model or self._function is None:
            self._model, self._function = model, compiled(lambda: self._answers(model))
        answers = self._function()
        at = np.array([step], np.int64)
        block: dict[str, Rows] = {}
        dead: dict[str, float] = {}
        for (path, dims, stride), (measured, maps) in zip(self._about, answers, strict=True):
            numbers = np.asarray(ops.convert_to_numpy(measured), np.float32)[None]
            block[layout.activation_dataset(path, "statistics")] = Rows(at, numbers, Statistics.about)
            low, high = numbers[0, 3], numbers[0, 4]
            dead[path] = float(np.sum((low == 0) & (high == 0)))
            if self.maps:
                shown = np.asarray(ops.convert_to_numpy(maps), np.float32)[None]
                about = {
                    "dims": ["snapshot", "sample", *dims, "filter"],
                    "filter_axis": len(dims) + 2,
                    "stride": stride,
                }
                block[layout.activation_dataset(path, "maps")] = Rows(at, shown, about)
        if dead:
            counts = np.array([list(dead.values())], np.float32)
            block[layout.DEAD_FILTERS] = Rows(at, counts, {"columns": list(dead)})
        return block

    def wants(self, path: str, layer: keras.Layer) -> bool:
        """Whether a layer's answers are recorded."""
        return path in self.layers if self.layers is not None else has_answers(layer)

    def _answers(self, model: keras.Model) -> list[tuple[Any, Any]]:
        answers: list[tuple[Any, Any]] = []
        self._about = []

        def hear(path: str, answer: Any) -> None:
            answer = ops.cast(filters_last(answer), "float32")
            stride = self._stride(answer.shape[1:])
            dims = spatial_dims(len(answer.shape) - 2)
            shown = answer[(slice(0, self.maps), *[slice(None, None, stride)] * len(dims))]
            self._about.append((path, dims, stride))
            answers.append((statistics(answer, tuple(range(len(answer.shape) - 1))), shown))

        with hearing(model, self.wants, hear):
            if model._call_has_training_arg:
                model(self.probe, training=False)
            else:
                model(self.probe)
        return answers

    def _stride(self, shape: tuple[int, ...]) -> int:
        space = shape[:-1]
        stride = max([1, *(-(-size // self.map_size) for size in space)])
        while space and 4 * shape[-1] * np.prod([-(-n // stride) for n in space]) > _MAP_BYTES:
            if stride >= max(space):
                break
            stride += 1
        return stride
