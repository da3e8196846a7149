"""What a step does to some variables: the gradients that they are given, and how far they move."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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

    What a step moves is what its variables differ by from its begin to its end, whoever moved them: several
    optimizers, a function that is called again and again, `train_step` itself.

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
        self.request = request
        self.taking = request.taking
        self.variables = list(variables)
        self._names = [name_of(v.variable) for v in self.variables]
        self._widths = [width_of(request.taking, v) for v in self.variables]
        self.ring = ArrayRing(request.schedule, sum(self._widths), strategy)
        self._moves = request.taking == "update_norms"
        self._held = None if self._moves else Held(sum(self._widths), strategy)
        self._before = [
            Cell(np.zeros(v.variable.shape, np.float32), strategy) for v in self.variables * self._moves
        ]
        self._strategy = strategy
        self._sure = False  # whether the weights are kept at the begin of the step that is traced
        # Whether they are: of other graphs than the step's only a variable tells. What is traced there is
        # called ever again, also by steps that were traced later.
        self._kept: Cell | None = None
        self._late: set[int] = set()  # variables that were set before they could be kept

    def begin_step(self, step: Any) -> None:
        """A step begins: keep the weights."""
        if self._moves:
            self._late = set()
            self._keep_surely(step)

    def begin_late(self, step: Any, graph: Any, assigned: Collection[int]) -> None:
        """As `begin_step`, where the step has made the variables itself; before anything is applied.

        Args:
            step: its number.
            graph: the step's.
            assigned: the ids of the variables that it has set already.
        """
        if not self._moves or self._sure:
            return
        self._late |= {place for place, v in enumerate(self.variables) if id(v.variable) in assigned}
        if current_graph() is graph and self._kept is None:
            self._keep_surely(step)
            return
        if self._kept is None:
            with tf.init_scope():
                self._kept = Cell(False, self._strategy, tf.bool)
        kept = self._kept.here

        def keep() -> Any:
            kept.assign(True)
            self._when_due(step, self._keep_weights)
            return tf.constant(0)

        tf.cond(kept.read_value(), lambda: tf.constant(0), keep)

    def _keep_surely(self, step: Any) -> None:
        self._sure = True
        if self._kept is not None:
            self._kept.here.assign(True)
        self._when_due(step, self._keep_weights)

    def applying(self, gradients: Mapping[str, Any], scale: Any, step: Any) -> None:
        """An optimizer is about to be applied to these gradients, by name."""
        if self._moves:
            return
        places = [place for place, name in enumerate(self._names) if name in gradients]
        parts = [partial(self._part, v, gradients.get(n), scale) for n, v in self._named()]
        self._when_due(step, lambda: self._write({place: parts[place]() for place in places}))

    @property
    def set_before(self) -> list[str]:
        """The variables that this step set before its weights could be kept: they have no norms in it."""
        return [self._names[place] for place in sorted(self._late)]

    def write(self, step: Any) -> Any:
        """The step ends: put its row into the ring; something to wait for."""
        if self._held is not None:
            return self.ring.write(step, self._held.take)
        if self._kept is None:
            return self.ring.write(step, lambda: self._row_of_moves(self._sure))
        kept = self._kept.here.read_value()
        with tf.control_dependencies([self.ring.write(step, lambda: self._row_of_moves(kept))]):
            return self._kept.here.assign(False)

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
            dense = _norms_along(dense, others)
        return tf.reshape(dense, (-1,))

    def _keep_weights(self) -> None:
        for before, v in zip(self._before, self.variables, strict=True):
            before.here.assign(tf.cast(v.variable.value, tf.float32))

    def _row_of_moves(self, kept: Any) -> Any:
        vectors = []
        for cell, v in zip(self._before, self.variables, strict=True):
            before = cell.here.read_value()
            vectors += [tf.cast(v.variable.value, tf.float32) - before, before]
        known = np.repeat([place not in self._late for place in range(len(self.variables))], 2)
        return tf.where(tf.logical_and(kept, known), norms(vectors), np.float32(np.nan))

    def _write(self, parts: Mapping[int, Any]) -> None:
        """Hold the values of some variables; of the others what is held, or nothing, stays."""
        assert self._held is not None
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


# Squares below float32's least normal number are lost: of so many numbers that is nothing beside this.
_LEAST_SQUARE = 1e-30


def norms(vectors: Sequence[Any]) -> Any:
    """The L2 norm of each gradient, over the whole range of float32; `(vectors,)`."""
    dense = [_dense(vector) for vector in vectors]
    squares = 2.0 * tf.stack([tf.cast(tf.nn.l2_loss(one), tf.float32) for one in dense])
    sizes = tf.stack([tf.cast(tf.size(one), tf.float32) for one in dense])
    return _roots(squares, sizes, lambda: tf.stack([_exact_squares(one) for one in dense]))


def _norms_along(dense: Any, axes: Sequence[int]) -> Any:
    """The L2 norm along some axes of a float32 tensor, over its whole range."""
    squares = tf.reduce_sum(tf.square(dense), axes)
    each = tf.cast(tf.size(dense), tf.float32)
    return _roots(squares, each, lambda: _exact_squares(dense, axes))


def _roots(squares: Any, sizes: Any, exact: Callable[[], Any]) -> Any:
    """The roots of sums of squares; from `exact` ones, in float64, where float32 does not hold the squares.

    Args:
        squares: in float32.
        sizes: how many numbers were squared for each.
        exact: gives them in float64; it takes time, and is asked only then. A sum that is zero may be one.
    """

    def exact_roots() -> Any:
        return tf.cast(tf.sqrt(exact()), tf.float32)

    if not tf.executing_eagerly():
        # As one operation: what a condition passes over takes time too, each operation for itself.
        whole = {"_noinline": True}
        exact_roots = tf.function(exact_roots, autograph=False, experimental_attributes=whole)
    too_small, too_large = squares < sizes * _LEAST_SQUARE, tf.math.is_inf(squares)
    return tf.cond(tf.reduce_any(too_small | too_large), exact_roots, lambda: tf.sqrt(squares))


def _exact_squares(dense: Any, axes: Sequence[int] | None = None) -> Any:
    return tf.reduce_sum(tf.square(tf.cast(dense, tf.float64)), axes)


def _dense(gradient: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        # An embedding's gradient names a row once per use: only their sum is the gradient.
        rows, where = tf.unique(gradient.indices)
        gradient = tf.math.unsorted_segment_sum(gradient.values, where, tf.size(rows))
    # What a condition asks for is asked for as well: it is given what stands apart.
    return apart(tf.cast(gradient, tf.float32))
