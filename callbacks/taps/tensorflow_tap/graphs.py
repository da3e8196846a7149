"""Where a tensor of a traced step comes from: from a metric's state, or from this batch alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

_PASSING = ("Identity", "Cast", "StopGradient", "EnsureShape")
# TensorFlow reorders chains of these.
_CHAINED = {
    "Mul": tf.multiply,
    "AddV2": tf.add,
    "Add": tf.add,
    "Sub": tf.subtract,
    "RealDiv": tf.divide,
    "Neg": tf.negative,
    "Identity": tf.identity,
}
# What they compute lies in a graph of their own.
_CALLS = (
    "PartitionedCall",
    "StatefulPartitionedCall",
    "If",
    "StatelessIf",
    "Case",
    "StatelessCase",
    "While",
    "StatelessWhile",
)

Origin = Literal["batch", "state", "call"]


def current_graph() -> Any:
    """The graph that is built now; None in eager execution."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def graph_of(value: Any) -> Any:
    """The graph of a tensor; None for an eager one."""
    return None if tf.executing_eagerly() or isinstance(value, tf.__internal__.EagerTensor) else value.graph


def passed_through(tensor: Any) -> Any:
    """The tensor that this one is another form of: the same number, copied or cast."""
    while isinstance(tensor, tf.Tensor) and tensor.op.type in _PASSING:
        tensor = tensor.op.inputs[0]
    return tensor


def apart(tensor: Any) -> Any:
    """The same value, computed without asking for sums and products that the step needs only inside.

    TensorFlow reorders chains of them, `(g * scale) * rate` to `g * (scale * rate)`, but only where nobody
    else asks for what is between: to ask would change the last bit of the weights. So what is asked for is
    computed again, in float64, where it is no copy that TensorFlow would find and share.
    """
    if tf.executing_eagerly() or not isinstance(tensor, tf.Tensor) or not _is_chained(tensor):
        return tensor
    done: dict[int, Any] = {}

    def again(one: Any) -> Any:
        if id(one) not in done:
            if not _is_chained(one):
                done[id(one)] = tf.cast(one, tf.float64)
            elif one.op.type == "Sum":
                done[id(one)] = again(one.op.inputs[0])
            else:
                done[id(one)] = _CHAINED[one.op.type](*[again(part) for part in one.op.inputs])
        return done[id(one)]

    return again(tensor)


def _is_chained(tensor: Any) -> bool:
    if tensor.dtype != tf.float32:
        return False
    # The sum over a scalar, as Keras' Mean takes it, is the scalar.
    sum_of_one = tensor.op.type == "Sum" and tensor.op.inputs[0].shape.rank == 0
    return sum_of_one or tensor.op.type in _CHAINED


def origin(tensor: Any, results: Iterable[Any], variables: Iterable[Any]) -> Origin:
    """What a tensor of a graph is computed from.

    Args:
        tensor: of the graph that is built now.
        results: tensors that stand for a metric's state.
        variables: the Keras variables that hold it.

    Returns:
        `"state"` when a metric's state goes into it, `"batch"` when none does, `"call"` when that is
        decided in a function's or condition's own graph.
    """
    state = {id(result) for result in results}
    handles = _handles(tensor.graph, variables)
    seen: set[int] = set()
    waiting = [tensor]
    found: Origin = "batch"
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if id(one) in state or id(one) in handles:
            return "state"
        inputs = list(one.op.inputs)
        if one.op.type in _CALLS and any(id(i) in handles for i in inputs):
            found = "call"
            inputs = [i for i in inputs if id(i) not in handles]
        waiting += inputs
    return found


def _handles(graph: Any, variables: Iterable[Any]) -> set[int]:
    """The tensors by which a graph knows these variables."""
    outside = {id(variable.value.handle) for variable in variables}
    inside = {id(inner) for outer, inner in getattr(graph, "captures", ()) if id(outer) in outside}
    return outside | inside
