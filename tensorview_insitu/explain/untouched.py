"""A model is asked, and afterwards everything that it wrote meanwhile is as it was.

A layer may write when it is called, also outside of training: the state of its random numbers, what a
recurrent layer keeps from batch to batch, a counter. A training that is asked about a probe must go on as if
it had not been.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID251 - part of the one door to TensorFlow

_WRITING = (
    "Assign",
    "Rng",
    "Scatter",
    "StatefulUniform",
    "StatefulStandard",
    "StatefulTruncated",
    "StatefulRandom",
)
_READING = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp")


@dataclass(frozen=True)
class Written:
    """A variable that a traced function may write.

    Args:
        handle: TensorFlow's, in eager execution.
        dtype: of its values.
    """

    handle: Any
    dtype: Any


def written_by(traced: Any) -> list[Written]:
    """The variables that a concrete function may write."""
    graph = traced.graph
    calls_write = any(
        _writes(node) for function in graph.as_graph_def().library.function for node in function.node_def
    )
    found = []
    for outer, inner in graph.captures:
        data = getattr(outer, "_handle_data", None)
        if inner.dtype != tf.resource or data is None or not data.is_set:
            continue  # no variable: an iterator, a table
        using = [operation for operation in inner.consumers() if operation.type not in _READING]
        if any(calls_write or _writes(operation.node_def) for operation in using):
            found.append(Written(outer, tf.as_dtype(data.shape_and_type[0].dtype)))
    return found


def _writes(node: Any) -> bool:
    return any(word in node.op for word in _WRITING)


@contextlib.contextmanager
def as_they_were(written: Sequence[Written]) -> Iterator[None]:
    """When this ends, these variables have the values that they had."""
    before = [tf.raw_ops.ReadVariableOp(resource=one.handle, dtype=one.dtype) for one in written]
    try:
        yield
    finally:
        for one, value in zip(written, before, strict=True):
            tf.raw_ops.AssignVariableOp(resource=one.handle, value=value)


@contextlib.contextmanager
def random_as_it_was() -> Iterator[None]:
    """When this ends, Python's and NumPy's random numbers go on from where they were."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
