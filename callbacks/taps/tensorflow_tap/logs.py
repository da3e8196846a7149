"""Logs: what a train step returns, as values of its batch alone.

Keras' metrics run on over an epoch, so the tensors that a step returns are of two kinds: what it computed
from this batch, which is taken as it is; and results of metrics, of which only what this batch added is
taken, and put through the metric's own `result`. What is neither is recorded as a running value, under a
name that says so, or not at all, and then the run says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from tensorview_insitu.explain.shadows import Shadows
from tensorview_insitu.run import layout

from ..columns import Column, Kind
from .graphs import apart, current_graph, graph_of, origin, passed_through
from .rings import Cell
from .witness import Result, unwitnessed

Taken = Mapping[int, tuple[Any, Any]]
# Where it cannot be known what a returned tensor is.
_UNKNOWN = {
    "call": "for it comes out of a function or condition inside train_step that updates metrics",
    "whole": "for it is a whole number, and the model runs eagerly",
}
_MEAN_RESULT = keras.metrics.Mean.result
_SAME = np.float32(1e-6)  # how far two computations of one number are apart at the most, of its size


class Nested:
    """What functions and conditions inside the step add to metrics: in cells, as no tensor leaves them.

    A function is traced once and called ever again, so this outlives the step in which it was traced.
    """

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self._cells: dict[int, tuple[Any, Cell]] = {}
        self._results: list[tuple[keras.metrics.Metric, str | None]] = []
        self._assigned: dict[int, Any] = {}

    def assigned(self, variable: Any) -> None:
        """A variable is given another value in there."""
        self._assigned[id(variable)] = variable

    def assigns(self, variable: Any) -> bool:
        """Whether it is given another value in there."""
        return id(variable) in self._assigned

    @property
    def said_results(self) -> bool:
        """Whether any metric said its result in there."""
        return bool(self._results)

    def add(self, variable: Any, value: Any) -> None:
        """Add to what this step has added to a variable."""
        if id(variable) not in self._cells:
            with tf.init_scope():
                self._cells[id(variable)] = (variable, Cell(np.zeros(2, np.float32), self._strategy))
        self._cells[id(variable)][1].here.assign_add(tf.stack([tf.cast(value, tf.float32), 1.0]))

    def reset(self, variable: Any) -> None:
        """The step has added nothing yet."""
        if id(variable) in self._cells:
            self._cells[id(variable)][1].here.assign(np.zeros(2, np.float32))

    def resulted(self, metric: keras.metrics.Metric, key: str | None) -> None:
        """A metric said its result inside such a function."""
        if not any(known is metric and name == key for known, name in self._results):
            self._results.append((metric, key))

    def metric_called(self, name: str) -> tuple[keras.metrics.Metric, str | None] | None:
        """The one metric of that name that said its result in there."""
        found = [(metric, key) for metric, key in self._results if name == (key or metric.name)]
        # A metric inside a list of metrics is told of twice, alone and in the list's dict.
        alone = [(metric, key) for metric, key in found if key is None]
        return (alone or found)[0] if len(alone or found) == 1 else None

    def take(self) -> dict[int, tuple[Any, Any]]:
        """By variable, the sum that this step added, and of how many numbers."""
        taken = {}
        for key, (_, cell) in self._cells.items():
            both = cell.here.read_value()
            with tf.control_dependencies([both]):
                cell.here.assign(np.zeros(2, np.float32))
            taken[key] = (both[0], both[1])
        return taken


class Logs:
    """What the metrics did in one step, and from that the columns of what the step returned.

    Args:
        model: the model.
        nested: what functions inside its steps add.
        replicas: how many train together.
        note: takes what could not be done.
        first: whether it is the first step of all.
    """

    def __init__(
        self,
        model: Any,
        nested: Nested,
        replicas: int,
        note: Callable[[str], None],
        *,
        first: bool = False,
    ) -> None:
        self._model = model
        self._nested = nested
        self._replicas = replicas
        self._note = note
        self.not_updated: list[str] = []  # what the step returns of a metric that it does not update
        self._graph = current_graph()
        self._first = first
        self._used: set[int] = set()  # variables that held something before the first step
        self._added: dict[int, list[Any]] = {}
        self._assigned: set[int] = set()
        self._results: list[Result] = []
        self._alive: list[Any] = []  # an id is of use only while its thing lives
        self._tape: Any = None
        self._watched: set[int] = set()
        if self._graph is None:
            # Eager tensors have no graph to look at; a tape over the metrics' state knows as much.
            self._tape = tf.GradientTape(persistent=True, watch_accessed_variables=False)
            self._tape.__enter__()
            for variable in self._state_variables():
                self._watch(variable)

    # ---- while the step runs

    def added(self, variable: Any, value: Any) -> None:
        """`value` is about to be added to a variable."""
        if variable.shape != () or not keras.backend.is_float_dtype(variable.dtype):
            self.assigned(variable)  # a count, or a vector: no metric's mean
            return
        self._look_whether_used(variable)
        if self._tape is not None and id(variable) not in self._watched and variable.value is not None:
            self._watch(variable)  # made by this step
        if current_graph() is self._graph:
            self._alive.append(variable)
            self._added.setdefault(id(variable), []).append(value)
        else:
            self._nested.add(variable, value)

    def _watch(self, variable: Any) -> None:
        self._watched.add(id(variable))
        self._tape.watch(variable.value)

    def assigned(self, variable: Any) -> None:
        """A variable is about to be given another value."""
        self._alive.append(variable)
        self._assigned.add(id(variable))
        if current_graph() is not self._graph:
            self._nested.assigned(variable)

    def _look_whether_used(self, variable: Any) -> None:
        """Whether it holds what an earlier training left: Keras resets no metric that it has not built."""
        if not self._first or id(variable) in self._added or variable.value is None:
            return
        with tf.init_scope():
            try:
                if float(variable.numpy()) != 0:
                    self._used.add(id(variable))
            except Exception:  # one that this step makes has no value yet
                return

    def reset(self, metric: keras.metrics.Metric) -> None:
        """A metric begins anew: what it says from now on is of this batch."""
        for variable in metric.variables:
            self._assigned.discard(id(variable))
            self._added.pop(id(variable), None)
            self._used.discard(id(variable))
            self._nested.reset(variable)

    def resulted(self, result: Result) -> None:
        """A metric said its result."""
        if current_graph() is self._graph:
            self._results.append(result)
        else:
            self._nested.resulted(result.metric, result.key)

    def end(self) -> None:
        """The step has returned, or failed."""
        if self._tape is not None:
            self._tape.__exit__(None, None, None)

    # ---- when it has returned

    def columns(self, logs: Any) -> list[tuple[Column, list[Any]]]:
        """The columns of what the step returned, and the tensors of each one's parts."""
        if not isinstance(logs, Mapping):
            self._note("train_step returns no dict, so Keras prints no metric, and none is recorded by batch")
            return []
        nested = self._nested.take()
        made = [self._column(name, value, nested) for name, value in _flat(logs).items()]
        return [column for column in made if column is not None]

    def _column(self, name: str, value: Any, nested: Taken) -> tuple[Column, list[Any]] | None:
        if name in layout.STEPS_COLUMNS:
            self._note(f"{name} is not recorded by batch: the run's tables have a column of that name")
            return None
        scalar = _scalar(value)
        if scalar is None:
            self._note(f"{name} is not recorded by batch: it is no number")
            return None
        source = self._source(name, value)
        if isinstance(source, str):
            if source in _UNKNOWN:
                self._note(
                    f"{name} is not recorded by batch: it may be of one batch or run on over the epoch, and "
                    f"nothing tells which, {_UNKNOWN[source]}"
                )
                return None
            if source == "batch" and self._replicas > 1:
                self._note(
                    f"{name} by batch is that of the first of {self._replicas} replicas, as Keras prints"
                )
            kind: Kind = "value" if source == "batch" else "running"
            return Column(name, kind, 1), [scalar]
        found = self._of_metric(name, source, scalar, nested)
        if found is None or not source.by_name:
            return found
        column, parts = found
        is_its = _is_result(source, scalar)
        return replace(column, by_name=True), [tf.where(is_its, part, np.float32(np.nan)) for part in parts]

    def _of_metric(
        self, name: str, source: Result, scalar: Any, nested: Taken
    ) -> tuple[Column, list[Any]] | None:
        metric, key = source.metric, source.key
        variables = metric.variables
        touched = [self._touched(variable, nested) for variable in variables]
        if variables and not any(touched):
            self.not_updated.append(name)
            return None
        state = self._batch_state(metric, nested)
        running = Column(name, "running", 1), [scalar]
        if state is None:
            if self._replicas > 1:
                self._note(f"{name} has no value of one batch when several replicas train")
                return None
            return running
        epsilon = max(float(np.finfo(_numpy_dtype(v.dtype)).eps) for v in variables)
        used = any(id(v) in self._used for v in variables)
        if key is None and _is_plain_mean(metric):
            return Column(name, "mean", 2, epsilon=epsilon, began_used=used), state
        try:
            value = self._result_of(metric, key, state)
        except Exception:  # a user's own code, which was written for other calls
            return running
        column = Column(name, "result", 1 + len(state), _finish(metric, key), epsilon, used)
        return column, [value, *state]

    def _batch_state(self, metric: keras.metrics.Metric, nested: Taken) -> list[Any] | None:
        """What this batch added to each variable of a metric; None where that is not its state."""
        means = {id(v) for mean in _means_in(metric) for v in (mean.total, mean.count)}
        state = []
        for variable in metric.variables:
            sums = self._added.get(id(variable), [])
            if id(variable) not in means or id(variable) in self._assigned or self._nested.assigns(variable):
                return None
            # What was added in a graph that is neither the step's nor known: it cannot be reached.
            if any(graph_of(value) is not self._graph for value in sums if tf.is_tensor(value)):
                return None
            parts = [tf.cast(apart(value), tf.float32) for value in sums]
            if id(variable) in nested:
                total, count = nested[id(variable)]
                parts.append(total if parts else tf.where(count > 0, total, np.float32(np.nan)))
            if not parts:
                return None
            state.append(parts[0] if len(parts) == 1 else tf.add_n(parts))
        return state or None

    def _result_of(self, metric: keras.metrics.Metric, key: str | None, state: list[Any]) -> Any:
        if self._replicas > 1:
            state = tf.distribute.get_replica_context().all_reduce("SUM", state)
        own = [tf.cast(part, v.dtype) for part, v in zip(state, metric.variables, strict=True)]
        with unwitnessed():
            value = metric.stateless_result(own)
        value = tf.cast(value if key is None else value[key], tf.float32)
        # Of a metric that was not updated nothing can be said, whatever its result makes of zeros.
        return tf.where(tf.reduce_any(tf.math.is_nan(tf.stack(state))), np.float32(np.nan), value)

    def _touched(self, variable: Any, nested: Taken) -> bool:
        key = id(variable)
        return key in self._added or key in self._assigned or key in nested or self._nested.assigns(variable)

    # ---- where a returned tensor comes from

    def _source(self, name: str, value: Any) -> Result | str:
        if (result := self._result_that_is(value)) is not None:
            return result
        if not tf.is_tensor(value):
            return "batch"  # a number that does not change
        value = tf.convert_to_tensor(value)
        called = self._nested.metric_called(name)
        if self._graph is None:
            if self._nested.said_results:
                return Result(*called, value, by_name=True) if called is not None else "call"
            return self._eager_origin(value)
        results = [result.value for result in self._results]
        found = origin(value, results, self._state_variables())
        return Result(*called, value, by_name=True) if found == "call" and called is not None else found

    def _eager_origin(self, value: Any) -> str:
        state = [v.value for v in self._state_variables()]
        if not state:
            return "batch"
        if not value.dtype.is_floating:
            return "whole"
        gradients = self._tape.gradient(value, state)
        return "batch" if all(gradient is None for gradient in gradients) else "state"

    def _result_that_is(self, value: Any) -> Result | None:
        candidates = [value]
        if self._graph is not None and tf.is_tensor(value):
            candidates.append(passed_through(value))
        for result in self._results:
            if any(result.value is one for one in candidates):
                return result
        return None

    def _state_variables(self) -> list[Any]:
        """The float variables of all metrics that are known."""
        metrics = [*self._model.metrics, *(result.metric for result in self._results)]
        found = {id(v): v for metric in metrics for v in metric.variables}
        return [v for v in found.values() if keras.backend.is_float_dtype(v.dtype)]


def expected_columns(model: Any) -> list[Column]:
    """The columns of what a step that Keras wrote will return; before any step."""
    columns = []
    for name, metric in _printed_metrics(model).items():
        if _is_plain_mean(metric):
            columns.append(Column(name, "mean", 2))
        elif isinstance(metric, keras.metrics.Mean):
            columns.append(Column(name, "result", 3, _finish(metric, None)))
    return columns


def _printed_metrics(model: Any) -> dict[str, Any]:
    """Every metric of the model under the name that Keras prints for it."""
    found: dict[str, Any] = {}
    for metric in model.metrics:
        inner = getattr(metric, "metrics", None)
        if inner is None:
            found[metric.name] = metric
        elif inner:  # those of compile(): it alone knows what it calls them
            shadows = Shadows()
            for one in inner:
                shadows.put(one, "result", lambda one=one: one)
            found |= metric.result()
            shadows.remove()
    return found


def _flat(logs: Mapping[str, Any]) -> dict[str, Any]:
    """As Keras flattens logs for its callbacks: of equal names the last in alphabetical order counts."""
    flat: dict[str, Any] = {}
    for name, value in sorted(logs.items()):
        flat |= _flat(value) if isinstance(value, Mapping) else {name: value}
    return {name: flat.pop(name) for name in [*logs, *flat] if name in flat}


def _scalar(value: Any) -> Any:
    """The value as a float32 scalar; None where it is none."""
    try:
        tensor = tf.convert_to_tensor(value)
        if tensor.dtype == tf.string or tensor.dtype.is_complex or tensor.shape.rank != 0:
            return None
        return tf.cast(tensor, tf.float32)
    except (TypeError, ValueError):
        return None


def _is_result(source: Result, value: Any) -> Any:
    """Whether a number that bears a metric's name is what the metric says, now that the step is done."""
    with unwitnessed():
        said = source.metric.result()
    said = tf.cast(said if source.key is None else said[source.key], tf.float32)
    # Two computations of one formula may round apart; infinities differ by nothing that is a number.
    return tf.logical_or(tf.equal(said, value), tf.abs(said - value) <= _SAME * tf.abs(said))


def _is_plain_mean(metric: keras.metrics.Metric) -> bool:
    own = type(metric).result
    return isinstance(metric, keras.metrics.Mean) and getattr(own, "__wrapped__", own) is _MEAN_RESULT


def _means_in(metric: keras.metrics.Metric) -> Iterator[keras.metrics.Mean]:
    """The means that a metric is, or holds."""
    if isinstance(metric, keras.metrics.Mean):
        yield metric
    for held in keras.tree.flatten([v for k, v in vars(metric).items() if not k.startswith("_")]):
        if isinstance(held, keras.metrics.Metric):
            yield from _means_in(held)


def _finish(metric: keras.metrics.Metric, key: str | None) -> Callable[[Sequence[float]], float]:
    def finish(state: Sequence[float]) -> float:
        own = [
            keras.ops.convert_to_tensor(part, v.dtype)
            for part, v in zip(state, metric.variables, strict=True)
        ]
        with unwitnessed():
            value = metric.stateless_result(own)
        return float(value if key is None else value[key])

    return finish


def _numpy_dtype(dtype: str) -> Any:
    return tf.as_dtype(dtype).as_numpy_dtype
