"""What the optimizer's update does to some variables: their gradients, and how far they move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from ...layers import LayerVariable
from ..tap import FromUpdates
from .graphs import apart, current_graph
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
        self._kept: set[tuple[int, int]] = set()  # in this trace, by graph
        self._applied_to: list[int] = []

    def begin_step(self) -> None:
        """A step is traced anew."""
        self._kept = set()

    def before(self, gradients: Mapping[str, Any], scale: Any, step: Any) -> None:
        """An optimizer is about to be applied to these gradients, by name."""
        self._applied_to = [place for place, name in enumerate(self._names) if name in gradients]
        if self.taking == "update_norms":
            # What is applied twice in a step has moved by both together.
            keys = {place: (place, id(current_graph())) for place in self._applied_to}
            new = [place for place, key in keys.items() if key not in self._kept]
            self._kept |= set(keys.values())
            self._when_due(step, lambda: self._keep_weights(new))
        else:
            places = self._applied_to
            parts = [partial(self._part, v, gradients.get(n), scale) for n, v in self._named()]
            self._when_due(step, lambda: self._write({place: parts[place]() for place in places}))

    def after(self, step: Any) -> None:
        """It was applied."""
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

    def _named(self) -> Iterator[tuple[str, LayerVariable]]:
        return zip(self._names, self.variables, strict=True)

    def _part(self, v: LayerVariable, gradient: Any, scale: Any) -> Any:
        dense = tf.cast(apart(tf.convert_to_tensor(gradient)), tf.float32)
        if scale is not None:
            dense = dense / tf.cast(scale, tf.float32)
        if self.taking == "filter_gradient_norms":
            others = [axis for axis in range(len(dense.shape)) if axis != v.filter_axis]
            dense = tf.sqrt(tf.reduce_sum(tf.square(dense), others))
        return tf.reshape(dense, (-1,))

    def _keep_weights(self, places: Sequence[int]) -> None:
        for place in places:
            self._before[place].here.assign(tf.cast(self.variables[place].variable.value, tf.float32))

    def _write_moves(self) -> None:
        vectors = []
        for place in self._applied_to:
            before = self._before[place].here.read_value()
            vectors += [tf.cast(self.variables[place].variable.value, tf.float32) - before, before]
        if not vectors:
            return
        measured = norms(vectors)
        self._write({place: measured[2 * n : 2 * n + 2] for n, place in enumerate(self._applied_to)})

    def _write(self, parts: Mapping[int, Any]) -> None:
        """Hold the values of some variables; of the others what is held, or nothing, stays."""
        if len(parts) == len(self.variables):
            self._held.write(tf.concat([parts[place] for place in range(len(parts))], 0))
            return
        starts = np.cumsum([0, *self._widths])
        for place, part in parts.items():
            self._held.write_part(int(starts[place]), tf.ensure_shape(part, (self._widths[place],)))


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
    return tf.cast(tf.nn.l2_loss(apart(tf.cast(gradient, tf.float32))), tf.float32)
