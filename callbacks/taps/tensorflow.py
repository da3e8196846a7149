"""The tap for the TensorFlow backend: rings of variables that the compiled step writes.

`set_model` comes before Keras builds its train function, so wrapping `train_step` there puts a few
operations into the compiled step: after each one a row (the batch's own loss and metrics, the norm of
each gradient) goes into a ring buffer that belongs to nobody, neither model nor optimizer, and that
the host reads now and then. There is no second backward pass, and nothing is read after every batch.

The batch's own loss: Keras' `Mean` adds each batch's sum and count to its totals with `assign_add`;
the tap listens to what is added. The totals themselves are Keras' alone, so nothing can change.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from ..layers import LayerVariable
from .tap import Drained, Wanted

_CAPACITY = 256
_SNAPSHOT_RING_BYTES = 32 << 20
_LEARNING_RATE = "learning_rate"


class TensorFlowTap:
    """Takes numbers out of every `train_step` of one model.

    Args:
        model: compiled; it need not be built yet.
        wanted: what to take.
    """

    def __init__(self, model: keras.Model, wanted: Wanted) -> None:
        self.capacity = _CAPACITY
        self.problems: list[str] = []
        self._model = model
        self._wanted = wanted
        self._optimizer = model.optimizer
        # LossScaleOptimizer hands its inner optimizer gradients that are unscaled already.
        self._inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        self._patches: list[tuple[Any, str, Any]] = []
        self._norms: _Norms | None = None
        self._ring: _Ring | None = None
        self._initial: _SnapshotRing | None = None
        self._snapshot_rings: list[_SnapshotRing] = []
        self._broken = False
        self._train_functions: tuple[Any, Any] = (None, None)
        self._installed = False
        if model.distribute_strategy.num_replicas_in_sync > 1:
            self._broken = True
            self.problems.append("batches are not recorded when several replicas train")

    @property
    def works(self) -> bool:
        """Whether rows come out of it."""
        return not self._broken

    # ---- on the host

    def install(self) -> None:
        """Wrap `train_step` and the optimizer's `apply`, and have Keras build its function anew."""
        model = self._model
        self._patch(self._inner, "apply", self._with_norms(self._inner.apply))
        self._patch(model, "train_step", self._with_row(model.train_step))
        untapped, tapped = model.train_function, self._train_functions[1]
        still_valid = tapped is not None and untapped is self._train_functions[0]
        self._train_functions = (untapped, None)
        # A tapped function from an earlier fit is used again: tracing takes a second or more.
        model.train_function = tapped if still_valid else None
        self._installed = True

    def detach(self) -> None:
        """Put `train_step` and `apply` back; the function that a running `fit` calls stays."""
        for thing, name, before in reversed(self._patches):
            if before is None:
                thing.__dict__.pop(name, None)
            else:
                thing.__dict__[name] = before
        self._patches.clear()

    def remove(self) -> None:
        """Put `train_step`, `apply` and the train function back; when no `fit` is running."""
        self.detach()
        if self._installed:
            self._installed = False
            untapped = self._train_functions[0]
            self._train_functions = (untapped, self._model.train_function)
            self._model.train_function = untapped

    def drain(self) -> Drained | None:
        """What came since the last call."""
        if self._ring is None:
            return None
        metrics, norms, lost = self._ring.drain()
        return Drained(
            count=len(metrics),
            metric_names=self._ring.metric_names,
            metrics=metrics,
            variable_names=self._ring.variable_names,
            gradient_norms=norms,
            snapshots=tuple(self._drained_snapshots()),
            lost=lost,
        )

    def _drained_snapshots(self) -> Iterator[tuple[list[LayerVariable], np.ndarray, np.ndarray]]:
        if self._initial is not None:
            variables, calls, values = self._initial.drain()
            yield variables, calls - 1, values
        for ring in self._snapshot_rings:
            yield ring.drain()

    def is_end_of_data(self, error: BaseException) -> bool:
        """TensorFlow says OutOfRange where Python says StopIteration."""
        return isinstance(error, tf.errors.OutOfRangeError | StopIteration)

    def _patch(self, thing: Any, name: str, replacement: Any) -> None:
        # Straight into __dict__: __setattr__ of Keras and TensorFlow would track what is assigned.
        self._patches.append((thing, name, thing.__dict__.get(name)))
        thing.__dict__[name] = replacement

    # ---- inside the step: runs once per trace (or once per step with run_eagerly)

    def _with_row(self, train_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def tapped_train_step(data: Any) -> Any:
            if self._broken:
                return train_step(data)
            learning_rate = self._guarded(self._before_step)
            with _listening() as heard:
                logs = train_step(data)
            self._guarded(lambda: self._after_step(heard, learning_rate))
            return logs

        return tapped_train_step

    def _with_norms(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        # Keras' LossScaleOptimizer passes trainable_variables by keyword: the name stays.
        def tapped_apply(grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            if not self._broken:
                self._guarded(lambda: self._before_apply(grads, trainable_variables))
            return apply(grads, trainable_variables)

        return tapped_apply

    def _guarded(self, do: Callable[[], Any]) -> Any:
        # Our own mistake must not end a training. What the step itself raises is not caught here.
        try:
            return do()
        except Exception as error:
            self._broken = True
            self.problems.append(f"batches are not recorded: {type(error).__name__}: {error}")
            return None

    def _before_step(self) -> Any:
        if self._norms is not None:
            self._norms.clear()  # a skipped step leaves NaN, not the norms of the one before
        if not self._wanted.metrics or self._optimizer is None:
            return None
        return tf.cast(tf.convert_to_tensor(self._optimizer.learning_rate), tf.float32)

    def _before_apply(self, grads: Sequence[Any], given: Any) -> None:
        # The first moment at which a model that is built by its first step has all its variables,
        # and the last before they change.
        if self._initial is None and self._ring is None and (chosen := self._wanted.initial()):
            with tf.init_scope():
                self._initial = _SnapshotRing(1, chosen, capacity=1)
        if self._initial is not None:
            self._initial.write_once()
        if self._wanted.gradient_norms:
            self._write_norms(grads, given)

    def _write_norms(self, grads: Sequence[Any], given: Any) -> None:
        variables = given if given is not None else self._inner._trainable_variables
        if self._norms is None:
            with tf.init_scope():
                self._norms = _Norms([self._wanted.name_of(v) for v in self._model.trainable_variables])
        norm_of = {
            self._wanted.name_of(variable): _norm(gradient)
            for variable, gradient in zip(variables, grads, strict=True)
            if gradient is not None
        }
        self._norms.write(norm_of, self._inner.loss_scale_factor)

    def _after_step(self, heard: _Heard, learning_rate: Any) -> None:
        values: dict[str, Any] = {}
        if self._wanted.metrics:
            values = self._metric_values(heard)
            if learning_rate is not None and learning_rate.shape.rank == 0:
                values[_LEARNING_RATE] = learning_rate
        if self._ring is None:
            self._ring = self._first_trace(tuple(values))
        call = self._ring.write(values, self._norms)
        for ring in self._snapshot_rings:
            ring.write(call)

    def _metric_values(self, heard: _Heard) -> dict[str, Any]:
        graph = _current_graph()
        values = {}
        for name, metric in _printed_metrics(self._model).items():
            sums = heard.get(id(metric), [])
            # A metric updated inside a tf.cond or a loop lives in that graph: unreachable from here.
            if sums and all(_graph_of(value) is graph for pair in sums for value in pair):
                total = tf.add_n([tf.cast(pair[0], tf.float32) for pair in sums])
                count = tf.add_n([tf.cast(pair[1], tf.float32) for pair in sums])
                values[name] = total / count
            else:
                result = metric.result()
                if not isinstance(result, dict) and len(result.shape) == 0:
                    values[name] = tf.cast(result, tf.float32)
        return values

    def _first_trace(self, metric_names: tuple[str, ...]) -> _Ring:
        steps_at_once = int(getattr(self._model, "steps_per_execution", 1) or 1)
        with tf.init_scope():
            ring = _Ring(
                metric_names,
                self._norms.names if self._norms is not None else (),
                max(_CAPACITY, 2 * steps_at_once),
            )
            for every, select in self._wanted.snapshots.items():
                if chosen := select():
                    self._snapshot_rings.append(_SnapshotRing(every, chosen))
        # All rings are read together: the one that is full first says when.
        self.capacity = min([ring.capacity, *(r.capacity * r.every for r in self._snapshot_rings)])
        return ring


class _Norms:
    """The gradient norms of the running step, NaN until the optimizer is called.

    A variable, because LossScaleOptimizer calls `apply` inside a tf.cond: no tensor leaves that.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._nan = np.full(len(names), np.nan, np.float32)
        self._vector = tf.Variable(self._nan, trainable=False)

    def clear(self) -> None:
        self._vector.assign(self._nan)

    def write(self, norm_of: dict[str, Any], scale: Any) -> None:
        nan = tf.constant(np.nan, tf.float32)
        vector = tf.stack([norm_of.get(name, nan) for name in self.names])
        self._vector.assign(vector if scale is None else vector / tf.cast(scale, tf.float32))

    def read(self) -> Any:
        return self._vector.read_value()


class _Ring:
    """The last `capacity` rows: metrics, then gradient norms."""

    def __init__(self, metric_names: tuple[str, ...], variable_names: tuple[str, ...], capacity: int) -> None:
        self.metric_names = metric_names
        self.variable_names = variable_names
        self.capacity = capacity
        width = len(metric_names) + len(variable_names)
        self._rows = tf.Variable(np.full((capacity, width), np.nan, np.float32), trainable=False)
        self._calls = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._read = 0

    def write(self, values: dict[str, Any], norms: _Norms | None) -> Any:
        """Put this call's row into the ring; the number of the call, from 1."""
        nan = tf.constant(np.nan, tf.float32)
        # By name: a later trace may know more metrics, or fewer, than the first.
        parts = [tf.reshape(values.get(name, nan), (1,)) for name in self.metric_names]
        if norms is not None and self.variable_names:
            parts.append(norms.read())
        calls = self._calls.read_value()
        written = []
        if parts:
            written = [self._rows.scatter_nd_update([[calls % self.capacity]], [tf.concat(parts, 0)])]
        # A step that fails half-way (its data pipeline, say) must not count.
        with tf.control_dependencies(written):
            self._calls.assign_add(1)
        return calls + 1

    def drain(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Metrics and norms of every new call, and how many before them were lost."""
        calls = int(self._calls.numpy())
        start = max(self._read, calls - self.capacity)
        lost, self._read = start - self._read, calls
        rows = self._rows.numpy()[np.arange(start, calls) % self.capacity]
        split = len(self.metric_names)
        return rows[:, :split], rows[:, split:], lost


class _SnapshotRing:
    """The last snapshots of some variables, taken after every `every`-th call."""

    def __init__(self, every: int, variables: Sequence[LayerVariable], capacity: int = _CAPACITY) -> None:
        self.every = every
        self.variables = list(variables)
        width = sum(int(np.prod(v.variable.shape)) for v in self.variables)
        self.capacity = int(np.clip(_SNAPSHOT_RING_BYTES // (4 * width), 1, capacity))
        self._rows = tf.Variable(tf.zeros((self.capacity, width)), trainable=False)
        self._taken = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._read = 0

    def write(self, call: Any) -> None:
        if self.every == 1:
            self._take()
        else:
            tf.cond(call % self.every == 0, self._take, lambda: tf.constant(0))

    def write_once(self) -> None:
        """Take the first snapshot, and never another."""
        tf.cond(self._taken.read_value() == 0, self._take, lambda: tf.constant(0))

    def _take(self) -> Any:
        flat = [tf.reshape(tf.cast(v.variable.value, tf.float32), (-1,)) for v in self.variables]
        slot = self._taken.read_value() % self.capacity
        written = self._rows.scatter_nd_update([[slot]], [tf.concat(flat, 0)])
        with tf.control_dependencies([written]):
            self._taken.assign_add(1)
        return tf.constant(0)

    def drain(self) -> tuple[list[LayerVariable], np.ndarray, np.ndarray]:
        taken = int(self._taken.numpy())
        start = max(self._read, taken - self.capacity)
        self._read = taken
        numbers = np.arange(start, taken)
        if not len(numbers):
            return self.variables, numbers, np.empty((0, self._rows.shape[1]), np.float32)
        return self.variables, (numbers + 1) * self.every, self._rows.numpy()[numbers % self.capacity]


def _norm(gradient: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        # An embedding's gradient names a row once per use: only their sum is the gradient.
        rows, where = tf.unique(gradient.indices)
        gradient = tf.math.unsorted_segment_sum(gradient.values, where, tf.size(rows))
    return tf.sqrt(2.0 * tf.nn.l2_loss(tf.cast(gradient, tf.float32)))


# ---- listening to Mean

_Heard = dict[int, list[tuple[Any, Any]]]
_here = threading.local()


@contextlib.contextmanager
def _listening() -> Iterator[_Heard]:
    """While it lasts, in this thread: the sum and count that each Mean is given, by its id."""
    heard: _Heard = {}
    before, _here.heard = getattr(_here, "heard", None), heard
    try:
        yield heard
    finally:
        _here.heard = before


def _audible(update_state: Callable[..., Any]) -> Callable[..., Any]:
    def audible_update_state(self: Any, *args: Any, **kwargs: Any) -> Any:
        heard = getattr(_here, "heard", None)
        if heard is None:
            return update_state(self, *args, **kwargs)
        added: dict[str, Any] = {}
        with _overheard(self.total, added, "total"), _overheard(self.count, added, "count"):
            result = update_state(self, *args, **kwargs)
        if len(added) == 2:
            heard.setdefault(id(self), []).append((added["total"], added["count"]))
        return result

    return audible_update_state


@contextlib.contextmanager
def _overheard(variable: Any, added: dict[str, Any], key: str) -> Iterator[None]:
    assign_add = variable.assign_add

    def audible_assign_add(value: Any) -> Any:
        added[key] = value
        return assign_add(value)

    variable.__dict__["assign_add"] = audible_assign_add
    try:
        yield
    finally:
        del variable.__dict__["assign_add"]


# Metrics are made as late as in the first step, so it is their class that listens: once, for good, and
# to nobody outside `_listening`.
keras.metrics.Mean.update_state = _audible(keras.metrics.Mean.update_state)


def _printed_metrics(model: keras.Model) -> dict[str, Any]:
    """Every metric of the model under the name that Keras prints for it."""
    found: dict[str, Any] = {}
    for metric in model.metrics:
        inner = getattr(metric, "metrics", None)
        if inner is None:
            found[metric.name] = metric
        elif inner:  # those of compile(): it alone knows what it calls them
            with contextlib.ExitStack() as stack:
                for one in inner:
                    stack.enter_context(_answering_itself(one))
                found.update(metric.result())
    return found


@contextlib.contextmanager
def _answering_itself(metric: Any) -> Iterator[None]:
    metric.__dict__["result"] = lambda: metric
    try:
        yield
    finally:
        del metric.__dict__["result"]


def _current_graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _graph_of(value: Any) -> Any:
    return None if tf.executing_eagerly() else getattr(value, "graph", None)
