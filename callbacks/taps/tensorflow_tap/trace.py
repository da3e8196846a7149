"""Trace: what a function of TensorFlow does as it was traced, to tell whether another does the same.

TensorFlow traces a train function once and goes on with that trace, whatever changes in Python later: a layer
that is frozen without `compile`, a number that `train_step` reads. A tapped function is traced later, and
could do what the training would not have done.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

_SCOPE = "tensorview_insitu"
_OURS = re.compile(rf"(^|/){_SCOPE}(_\d+)?/")
# Attributes that name something, and by another name in every trace.
_NAMES = ("shared_name", "container", "config_proto", "config", "token", "Tin", "Tout", "output_shapes")
# Where the inputs of what is called begin among the inputs of these.
_AFTER_THE_CONDITION = {"If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1}


@dataclass(frozen=True)
class Trace:
    """What a traced function does.

    Args:
        digest: of its operations, but for those of a tap.
        draws: whether it draws random numbers that TensorFlow counts by itself: they would begin anew.
    """

    digest: str
    draws: bool

    def goes_on_as(self, other: Trace) -> bool:
        """Whether a training can go on with the other in place of this."""
        return self.digest == other.digest and not self.draws


def ours() -> contextlib.AbstractContextManager[Any]:
    """What is put into a graph while this lasts is not the step's."""
    scope: contextlib.AbstractContextManager[Any] = tf.name_scope(_SCOPE)
    return scope


def why_unlike(untapped: Any, tapped: Any, args: Sequence[Any]) -> str:
    """Why a training would not go on with a tapped function as with the one that it replaces.

    Args:
        untapped: the train function of the model.
        tapped: what Keras built with a tapped step; traced here if it is compared.
        args: what is to be trained on.

    Returns:
        A sentence; empty where it would.
    """
    if not any(one.experimental_get_tracing_count() for one in _compiled(untapped)):
        return ""  # without us it would be traced now
    before = trace_of(untapped, args)
    now = trace_of(tapped, args)
    if before is None or now is None:
        why = "it cannot be told whether that is what would be traced now"
    elif before.digest != now.digest:
        why = "the model, its layers or its train_step have changed since"
    elif before.draws:
        why = "in another trace its random numbers would begin anew"
    else:
        return ""
    return (
        f"TensorFlow goes on with the train function that an earlier training traced, and {why}; "
        "model.make_train_function(force=True) before fit has it traced anew"
    )


def trace_of(function: Any, args: Sequence[Any]) -> Trace | None:
    """What a function that Keras built does with such arguments; traced now, if it was not yet.

    Args:
        function: `model.train_function`.
        args: what it is called with.

    Returns:
        None where that cannot be told: it is no traced function, or it is called step by step.
    """
    compiled = _compiled(function)
    # Given anything else than such an iterator, Keras calls another function for each step.
    if not compiled or not isinstance(args[0], tf.data.Iterator | tf.distribute.DistributedIterator):
        return None
    graph = compiled[0].get_concrete_function(*args).graph
    definition = graph.as_graph_def()
    outside = {inner.op.name: f"outside {id(outer)}" for outer, inner in graph.captures}
    reading = _Reading({one.signature.name: one for one in definition.library.function})
    _, found = reading.operations(definition.node, outside)
    return Trace(_hash(sorted(found)), reading.draws)


def _compiled(function: Any) -> list[Any]:
    """The functions of TensorFlow that a Python function calls: that over the iterator comes first."""
    if hasattr(function, "get_concrete_function"):
        return [function]
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    inside = zip(code.co_freevars if code is not None else (), cells, strict=True)
    found = [(name, cell.cell_contents) for name, cell in inside]
    found.sort(key=lambda item: "iterator" not in item[0])
    return [one for _, one in found if hasattr(one, "experimental_get_tracing_count")]


class _Reading:
    """Reads operations, and those of the functions that they call."""

    def __init__(self, library: Mapping[str, Any]) -> None:
        self._library = library
        self.draws = False

    def operations(
        self, nodes: Sequence[Any], arguments: Mapping[str, str]
    ) -> tuple[dict[str, str], list[str]]:
        """What each operation computes from what.

        Args:
            nodes: of one graph or function.
            arguments: what its arguments are.

        Returns:
            A text for each by its name, arguments among them; and those of the operations.
        """
        kept = {node.name: node for node in nodes if not _OURS.search(node.name)}
        known: dict[str, str] = {}
        found: list[str] = []
        for node in _inputs_first(kept):
            inputs = [_token(name, known, arguments) for name in node.input if not name.startswith("^")]
            if node.op in ("Placeholder", "Arg"):
                known[node.name] = arguments.get(node.name, "argument")
                continue
            self._look_for_seeds(node)
            called = [*self._called(node, inputs)]
            # What a tap hands into a function is among the inputs of the call: those are the callee's.
            text = _hash([node.op, *_attributes(node), *(called or inputs)])
            known[node.name] = text
            found.append(text)
        return known, found

    def _called(self, node: Any, inputs: Sequence[str]) -> Iterator[str]:
        given = inputs[_AFTER_THE_CONDITION.get(node.op, 0) :]
        for name, attribute in sorted(node.attr.items()):
            for function in [attribute.func, *attribute.list.func]:
                if function.name in self._library:
                    callee = self._library[function.name]
                    names = [argument.name for argument in callee.signature.input_arg]
                    arguments = dict(zip(names, given, strict=False))
                    known, found = self.operations(callee.node_def, arguments)
                    returned = [callee.ret[one.name] for one in callee.signature.output_arg]
                    kept = [_token(one, known, arguments) for one in returned if not _OURS.search(one)]
                    yield _hash([name, *sorted(found), *kept])

    def _look_for_seeds(self, node: Any) -> None:
        if "seed" in node.attr and "seed2" in node.attr:
            self.draws |= bool(node.attr["seed"].i or node.attr["seed2"].i)


def _inputs_first(nodes: Mapping[str, Any]) -> Iterator[Any]:
    """All nodes, each after those that it takes something from."""
    done: set[str] = set()
    for first in nodes:
        waiting = [first]
        while waiting:
            name = waiting[-1]
            before = {_producer(one) for one in nodes[name].input if not one.startswith("^")}
            missing = [one for one in before if one in nodes and one not in done]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if name not in done:
                done.add(name)
                yield nodes[name]


def _token(name: str, known: Mapping[str, str], arguments: Mapping[str, str]) -> str:
    producer = _producer(name)
    return known.get(producer, arguments.get(producer, "argument")) + _output(name)


def _producer(name: str) -> str:
    return name.lstrip("^").split(":")[0]


def _output(name: str) -> str:
    # In a function `node:output:0`, in a graph `node:1`, or `node` for the first.
    return ":" + name.split(":", 1)[1] if ":" in name else ""


def _attributes(node: Any) -> Iterator[str]:
    for name, attribute in sorted(node.attr.items()):
        is_function = attribute.WhichOneof("value") == "func" or attribute.list.func
        if not name.startswith("_") and name not in _NAMES and not is_function:
            yield f"{name}={attribute.SerializeToString(deterministic=True).hex()}"


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
