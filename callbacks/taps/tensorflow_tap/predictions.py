"""What the layers answer to each sample that is predicted: a ring that the compiled predict step writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from tensorview_insitu.explain.hearing import FiltersLast, hearing
from tensorview_insitu.text.one_line import told

from .rings import Cell, rows_between

_BYTES = 32 << 20
_MOST_SAMPLES = 65_536


class TensorFlowPredictionTap:
    """Takes the mean of every feature map for every sample out of `predict_step`.

    Args:
        model: the model.
        wants: whether a layer's answers are taken.

    Attributes:
        problems: what could not be taken.
    """

    def __init__(self, model: keras.Model, wants: Callable[[str, keras.Layer], bool]) -> None:
        self.problems: list[str] = []
        self.traced: Any = None
        self._model = model
        self._wants = wants
        self._widths: dict[str, int] = {}
        self._rows: Cell | None = None
        self._count: Cell | None = None
        self._read = 0

    def prepare(self) -> None:
        """Leave out what an earlier `predict` that broke off has left."""
        self.drain()

    def started(self, predict_function: Callable[..., Any]) -> Callable[..., Any]:
        """The same."""
        return predict_function

    def why_unlike(self, untapped: Any, tapped: Any, args: Sequence[Any]) -> str:
        """Empty: what it adds to a prediction changes nothing of it."""
        return ""

    def drain(self) -> tuple[dict[str, np.ndarray], int]:
        """By layer `(samples, filters)` since the last call, and how many samples were lost before."""
        if self._rows is None or self._count is None:
            return {}, 0
        count, capacity = int(self._count.numpy()), int(self._rows.each[0].shape[0])
        start = max(self._read, count - capacity)
        lost, self._read = start - self._read, count
        rows = rows_between(self._rows.numpy(), start, count)
        found, at = {}, 0
        for path, width in self._widths.items():
            found[path] = rows[:, at : at + width]
            at += width
        return found, lost

    def tapped(self, predict_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same step, which writes what the layers answer into the ring."""
        if self._model.distribute_strategy.num_replicas_in_sync > 1:
            return predict_step

        def tapped_predict_step(data: Any) -> Any:
            answers: dict[str, Any] = {}
            filters_last = FiltersLast(self._model)

            def hear(path: str, answer: Any) -> None:
                self._guarded(path, lambda: means(path, answer))

            def means(path: str, answer: Any) -> None:
                answer = filters_last(path, answer)
                if answer.shape[-1] is not None:
                    space = list(range(1, len(answer.shape) - 1))
                    mean = tf.reduce_mean(tf.cast(answer, tf.float32), space)
                    answers[path] = _of_samples(mean, _samples_in(data))

            def wanted(path: str, layer: keras.Layer) -> bool:
                return bool(self._guarded(path, lambda: self._wants(path, layer)))

            with hearing(self._model, wanted, hear):
                outputs = predict_step(data)
            if answers:
                self._guarded("all layers", lambda: self._write(answers))
            return outputs

        return tapped_predict_step

    def _guarded(self, path: str, do: Callable[[], Any]) -> Any:
        # Our own mistake must not end a prediction. What the step itself raises is not caught here.
        try:
            return do()
        except Exception as error:
            problem = f"the activations of {path} are not recorded while it predicts: {told(error)}"
            if problem not in self.problems:
                self.problems.append(problem)
            return None

    def _write(self, answers: dict[str, Any]) -> None:
        if self._rows is None:
            self._widths = {path: int(answer.shape[-1]) for path, answer in answers.items()}
            width = sum(self._widths.values())
            samples = int(np.clip(_BYTES // (4 * width), 1, _MOST_SAMPLES))
            with tf.init_scope():
                strategy = self._model.distribute_strategy
                self._rows = Cell(np.zeros((samples, width), np.float32), strategy)
                self._count = Cell(0, strategy, tf.int64)
        assert self._count is not None
        values = tf.concat([answers[path] for path in self._widths], axis=1)
        count, capacity = tf.shape(values, tf.int64)[0], int(self._rows.each[0].shape[0])
        first = self._count.here.read_value()
        where = (first + tf.range(count, dtype=tf.int64)) % capacity
        written = self._rows.here.scatter_nd_update(where[:, None], values)
        with tf.control_dependencies([written]):
            self._count.here.assign_add(count)


def _samples_in(data: Any) -> Any:
    return tf.shape(keras.tree.flatten(data)[0])[0]


def _of_samples(rows: Any, count: Any) -> Any:
    """The rows, where there is one for each sample; else as many of NaN: a layer may fold its batch."""
    filler = tf.fill([tf.maximum(count - tf.shape(rows)[0], 0), rows.shape[1]], np.float32(np.nan))
    cut = tf.concat([rows[:count], filler], 0)
    return tf.where(tf.equal(tf.shape(rows)[0], count), cut, np.float32(np.nan))
