"""What the optimizer's update does to some variables: their gradients, and how far they move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from ...layers import LayerVariable
from ..tap import FromUpdates
from .rings import ArrayRing, Cell, Held


class Update:
    """One request, and the ring that its rows go to.

    Args:
        request: what to take, and when.
        variables: of which.
        name_of: a variable's name in the run.
        strategy: TensorFlow's.
    """

    def __init__(
        self,
        request: FromUpdates,
        variables: Sequence[LayerVariable],
        name_of: Callable[[Any], str],
        strategy: Any,
    ) -> None:
        self.taking = request.taking
        self.variables = list(variables)
        self._names = [name_of(v.variable) for v in self.variables]
        self._widths = [width_of(request.taking, v) for v in self.variables]
        self.ring = ArrayRing(request.schedule, sum(self._widths), strategy)
        self._held = Held(sum(self._widths), strategy)
        moves = request.taking == "update_norms"
        self._before = [
            Cell(np.zeros(v.variable.shape, np.float32), strategy) for v in self.variables * moves
        ]

    def before(self, gradients: Mapping[str, Any], scale: Any, step: Any) -> None:
        """The optimizer is about to be called with these gradients, by name."""
        if self.taking == "update_norms":
            self._when_due(step, self._keep_weights)
            return

        def take() -> None:
            parts = []
            for name, v, width in zip(self._names, self.variables, self._widths, strict=True):
                gradient = gradients.get(name)
                if gradient is None:
                    parts.append(tf.fill((width,), tf.constant(np.nan, tf.float32)))
                    continue
                dense = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
                if scale is not None:
                    dense = dense / tf.cast(scale, tf.float32)
                if self.taking == "filter_gradient_norms":
                    others = [axis for axis in range(len(dense.shape)) if axis != v.filter_axis]
                    dense = tf.sqrt(tf.reduce_sum(tf.square(dense), others))
                parts.append(tf.reshape(dense, (-1,)))
            self._held.write(tf.concat(parts, 0))

        self._when_due(step, take)

    def after(self, step: Any) -> None:
        """The optimizer was called."""
        if self.taking == "update_norms":
            self._when_due(step, self._write_moves)

    def write(self, step: Any) -> Any:
        """The step ends: put its row into the ring; something to wait for."""
        return self.ring.write(step, self._held.take)

    def _when_due(self, step: Any, do: Callable[[], None]) -> None:
        def and_zero() -> Any:
            do()
            return tf.constant(0)

        due = self.ring.due(step)
        if due is True:
            do()
        else:
            tf.cond(due, and_zero, lambda: tf.constant(0))

    def _keep_weights(self) -> None:
        for v, cell in zip(self.variables, self._before, strict=True):
            cell.here.assign(tf.cast(v.variable.value, tf.float32))

    def _write_moves(self) -> None:
        vectors = []
        for v, cell in zip(self.variables, self._before, strict=True):
            before = cell.here.read_value()
            vectors += [tf.cast(v.variable.value, tf.float32) - before, before]
        self._held.write(norms(vectors))


def width_of(taking: str, v: LayerVariable) -> int:
    """How many values one row has for this variable."""
    if taking == "gradients":
        return v.size
    return int(v.variable.shape[v.filter_axis]) if taking == "filter_gradient_norms" else 2


def norms(vectors: Sequence[Any]) -> Any:
    """The L2 norm of each; NaN where there is None."""
    squares = [tf.constant(np.nan, tf.float32) if v is None else _half_square(v) for v in vectors]
    return tf.sqrt(2.0 * tf.stack(squares))


def _half_square(gradient: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        # An embedding's gradient names a row once per use: only their sum is the gradient.
        rows, where = tf.unique(gradient.indices)
        gradient = tf.math.unsorted_segment_sum(gradient.values, where, tf.size(rows))
    return tf.nn.l2_loss(tf.cast(gradient, tf.float32))
