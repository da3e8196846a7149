"""What the layers answer to a few fixed samples: feature maps, and statistics of every filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tensorview_insitu.explain.hearing import FiltersLast, has_answers, hearing
from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Block, Rows

from ..arrays import to_numpy
from ..layers import spatial_dims
from ..probe import check_probe
from ..schedule import Every
from ..taps.compiled import compiled
from .frozen import array, freeze
from .quantity import OfLayers, Probed
from .reductions import Statistics, statistics

_MAP_BYTES = 256 << 10


@dataclass(frozen=True, eq=False)
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

    probe: Any = field(repr=False)
    every: Every = "epoch"
    layers: Sequence[str] | None = None
    maps: int = field(default=1, kw_only=True)
    map_size: int = field(default=64, kw_only=True)

    record: ClassVar[str] = "Activations"

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze(self, probe=keras.tree.map_structure(array, self.probe))
        lengths = {len(one) if one.ndim else 0 for one in keras.tree.flatten(self.probe)}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(
                "Expected probe to be one or more samples, (samples, ...), as predict takes them. "
                f"Received: arrays with {sorted(lengths)} samples."
            )
        if self.maps < 0 or self.map_size < 1:
            raise ValueError(
                f"Expected maps >= 0 and map_size >= 1. Received: maps={self.maps}, map_size={self.map_size}."
            )

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when `model` lacks a layer that is named, or cannot take the probe."""
        super().check(model)
        check_probe(model, self.probe)

    def begin(self, model: keras.Model) -> Callable[[int], Block]:
        """What gives the rows of one moment."""
        return _Answers(self, model).take

    def wants(self, path: str, layer: keras.Layer) -> bool:
        """Whether a layer's answers are recorded."""
        return path in self.layers if self.layers is not None else has_answers(layer)


class _Answers:
    """What one model answers in one run: its pass is traced once."""

    def __init__(self, quantity: Activations, model: keras.Model) -> None:
        self._quantity = quantity
        self._model = model
        # torch warns of arrays that it could write into but must not.
        self._probe = keras.tree.map_structure(np.array, quantity.probe)
        self._about: list[tuple[str, tuple[str, ...], int]] = []
        self._function = compiled(self._answers, model)

    def take(self, step: int) -> dict[str, Rows]:
        """The rows of one moment."""
        answers = self._function()
        at = np.array([step], np.int64)
        block: dict[str, Rows] = {}
        dead: dict[str, float] = {}
        for (path, dims, stride), (measured, maps) in zip(self._about, answers, strict=True):
            numbers = to_numpy(measured).astype(np.float32)[None]
            block[layout.activation_dataset(path, "statistics")] = Rows(at, numbers, Statistics.about)
            low, high = numbers[0, 3], numbers[0, 4]
            dead[path] = float(np.sum((low == 0) & (high == 0)))
            if self._quantity.maps:
                shown = to_numpy(maps).astype(np.float32)[None]
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

    def _answers(self) -> list[tuple[Any, Any]]:
        answers: list[tuple[Any, Any]] = []
        self._about = []

        filters_last = FiltersLast(self._model)

        def hear(path: str, answer: Any) -> None:
            answer = ops.cast(filters_last(path, answer), "float32")
            stride = self._stride(answer.shape[1:])
            dims = spatial_dims(len(answer.shape) - 2)
            shown = answer[(slice(0, self._quantity.maps), *[slice(None, None, stride)] * len(dims))]
            self._about.append((path, dims, stride))
            answers.append((statistics(answer, tuple(range(len(answer.shape) - 1))), shown))

        with hearing(self._model, self._quantity.wants, hear):
            if self._model._call_has_training_arg:
                self._model(self._probe, training=False)
            else:
                self._model(self._probe)
        return answers

    def _stride(self, shape: tuple[int, ...]) -> int:
        space = shape[:-1]
        stride = max([1, *(-(-size // self._quantity.map_size) for size in space)])
        while space and 4 * shape[-1] * np.prod([-(-n // stride) for n in space]) > _MAP_BYTES:
            if stride >= max(space):
                break
            stride += 1
        return stride
