"""Other ways back through a ReLU than its derivative, for any TensorFlow graph, without cloning a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf  # noqa: TID251 - part of the one door to TensorFlow

from tensorview_insitu.explain.network import ExplainError, Rule

_REPLACED = ("Relu", "Relu6")
# What bends a signal and is no ReLU: the rules say nothing of it.
_OTHER_ACTIVATIONS = {
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid (or swish)",
    "Erf": "gelu",
    "LeakyRelu": "leaky_relu",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Softmax": "softmax",
    "Exp": "exp",
}
_CLOSED = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf")


class _Count:
    """How often one of the rules was asked for: that a rule is in force is proven, not assumed."""

    asked = 0


@tf.RegisterGradient("TensorViewDeconvolution")
def _deconvolution(op: Any, signal: Any) -> Any:
    _Count.asked += 1
    return tf.nn.relu(signal)


@tf.RegisterGradient("TensorViewGuided")
def _guided(op: Any, signal: Any) -> Any:
    _Count.asked += 1
    open_ = op.outputs[0] > 0
    if op.type == "Relu6":
        open_ = tf.logical_and(open_, op.outputs[0] < 6)
    return tf.where(open_, tf.nn.relu(signal), tf.zeros_like(signal))


@tf.RegisterGradient("TensorViewLinear")
def _linear(op: Any, signal: Any) -> Any:
    _Count.asked += 1
    return signal


_NAMES = {
    "deconvolution": "TensorViewDeconvolution",
    "guided": "TensorViewGuided",
    "linear": "TensorViewLinear",
}


@contextlib.contextmanager
def ruling(rule: Rule) -> Iterator[None]:
    """What is traced meanwhile passes signals back by that rule, with `tf.gradients` (a tape ignores it)."""
    if rule == "gradient":
        yield
        return
    graph = tf.compat.v1.get_default_graph()
    with graph.gradient_override_map({kind: _NAMES[rule] for kind in _REPLACED}):
        yield


def signal_back(target: Any, images: Any, rule: Rule, signal: Any = None) -> Any:
    """`target`'s gradient by `images`, or what comes of `signal` at it; by the rule it was traced with.

    Raises:
        ExplainError: the rule does not cover what lies between, or nothing does.
    """
    between = operations_between(images, target)
    if rule != "gradient":
        _refuse_uncovered(between, rule)
    before = _Count.asked
    back = tf.gradients(target, images, grad_ys=signal)[0]
    if back is None:
        raise ExplainError("What is to be explained does not depend on the image in a differentiable way.")
    bent = [op for op in between if op.type in _REPLACED]
    if rule != "gradient" and _Count.asked - before < len(bent):
        raise ExplainError(
            f"The {rule} rule reached {_Count.asked - before} of this model's {len(bent)} ReLUs: "
            "TensorFlow did not take it over. Nothing is returned rather than a plain gradient."
        )
    return back


def operations_between(start: Any, end: Any) -> list[Any]:
    """The operations on the ways from one tensor to another."""
    upstream, waiting = set(), [end.op]
    while waiting:
        op = waiting.pop()
        if op not in upstream:
            upstream.add(op)
            waiting += [tensor.op for tensor in op.inputs]
    depends = {start.op}
    found = []
    for op in start.graph.get_operations():  # in the order in which they were made
        if any(tensor.op in depends for tensor in op.inputs):
            depends.add(op)
            if op in upstream:
                found.append(op)
    return found


def _refuse_uncovered(between: list[Any], rule: Rule) -> None:
    there = set(between)
    for op in between:
        if op.type in _OTHER_ACTIVATIONS:
            what = f"the activation {_OTHER_ACTIVATIONS[op.type]} ({op.name})"
        elif op.type in _CLOSED:
            what = f"a part that cannot be looked into ({op.name})"
        elif op.type in ("Mul", "BatchMatMulV2") and all(tensor.op in there for tensor in op.inputs):
            what = f"a product of two signals, as in a gate or in attention ({op.name})"
        else:
            continue
        raise ExplainError(
            f"The {rule} rule is defined for networks of ReLUs; this one has {what}. "
            "Saliency, integrated gradients, Grad-CAM, occlusion, LIME and RISE take any network."
        )
