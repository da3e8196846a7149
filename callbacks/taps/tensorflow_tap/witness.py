"""Witness: what a train step does with metrics and optimizers, wherever they hang.

Users keep metrics and optimizers in attributes, lists, globals; Keras itself makes some as late as in the
first step. So it is their classes that report, and only to a witness of the step that this thread traces
(or runs). What they do stays Keras' alone: a witness is told what a variable is added, and is given the
tensor that a metric's `result` returned; it changes neither.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import keras
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

_F = TypeVar("_F", bound=Callable[..., Any])
_here = threading.local()
# It hands its inner optimizer gradients that are unscaled: that one reports.
_DELEGATES = (keras.optimizers.LossScaleOptimizer,)


@dataclass(frozen=True)
class Result:
    """A tensor that a metric's `result` returned.

    Args:
        metric: the metric.
        key: of the tensor, where the result is a dict.
        value: the tensor.
        by_name: whether only its name says that it is the metric's.
    """

    metric: keras.metrics.Metric
    key: str | None
    value: Any
    by_name: bool = False


class Witness(Protocol):
    """What is told of a step while it runs."""

    def added(self, variable: Any, value: Any) -> None:
        """`value` is about to be added to a variable."""

    def assigned(self, variable: Any) -> None:
        """A variable is about to be given another value."""

    def reset(self, metric: keras.metrics.Metric) -> None:
        """A metric begins anew."""

    def resulted(self, result: Result) -> None:
        """A metric said its result."""

    def applying(self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any] | None) -> None:
        """An optimizer is about to be applied."""

    def applied(self, optimizer: Any) -> None:
        """It was applied, or failed."""


@contextlib.contextmanager
def witnessed(witness: Witness) -> Iterator[None]:
    """While it lasts, what happens in this thread is told to the witness (of two recorders, to both)."""
    for kind in (keras.metrics.Metric, keras.optimizers.Optimizer):
        _have_report(kind)
    before = _witnesses()
    _here.witnesses = (*before, witness)
    try:
        yield
    finally:
        _here.witnesses = before


@contextlib.contextmanager
def unwitnessed() -> Iterator[None]:
    """While it lasts, nobody is told: what follows is our own doing."""
    before = _witnesses()
    _here.witnesses = ()
    try:
        yield
    finally:
        _here.witnesses = before


def _witnesses() -> tuple[Witness, ...]:
    return getattr(_here, "witnesses", ())


# ---- the methods that report: once wrapped, for good; without a witness they are what they were


def _have_report(kind: Any) -> None:
    """Wrap the methods of a class and of all that derive from it, also of those that came since."""
    for name, reporting in _REPORTING[_root(kind)].items():
        # Of a root the inherited one too: Keras' optimizers have theirs from a private base.
        method = kind.__dict__.get(name) or (getattr(kind, name) if kind in _REPORTING else None)
        if callable(method) and not hasattr(method, "reports") and not issubclass(kind, _DELEGATES):
            wrapped = functools.wraps(method)(reporting(method))
            wrapped.__dict__["reports"] = True
            setattr(kind, name, wrapped)
    for derived in kind.__subclasses__():
        _have_report(derived)


def _root(kind: Any) -> Any:
    return keras.metrics.Metric if issubclass(kind, keras.metrics.Metric) else keras.optimizers.Optimizer


# AutoGraph converts what a user's tf.function calls, and cannot convert all of what we do; but what the
# wrapped methods do must be converted as ever. So a wrapper is a call before, the method, and a call after.
_unconverted: Callable[[_F], _F] = tf.autograph.experimental.do_not_convert


@_unconverted
def _begin(what: str, subject: Any) -> tuple[str, int] | None:
    """Note that a method runs; None for one that another of its kind calls by `super()`."""
    running: set[tuple[str, int]] = _here.__dict__.setdefault("running", set())
    key = (what, id(subject))
    if key in running:
        return None
    running.add(key)
    return key


@_unconverted
def _end(key: tuple[str, int] | None) -> None:
    """It has returned, or failed."""
    if key is not None:
        _here.running.discard(key)


@_unconverted
def _hush() -> tuple[Witness, ...]:
    """Have nobody told of what follows; who was told."""
    before = _witnesses()
    _here.witnesses = ()
    return before


@_unconverted
def _tell_again(witnesses: tuple[Witness, ...]) -> None:
    _here.witnesses = witnesses


@_unconverted
def _tell(report: Callable[..., None], *what: Any) -> None:
    """Have every witness told."""
    for witness in _witnesses():
        report(witness, *what)


def _tell_result(witness: Witness, metric: Any, value: Any) -> None:
    for key, part in value.items() if isinstance(value, dict) else ((None, value),):
        witness.resulted(Result(metric, key, part))


def _result(result: Callable[..., Any]) -> Callable[..., Any]:
    def reporting(self: Any, *args: Any, **kwargs: Any) -> Any:
        outermost = _begin("result", self)
        try:
            value = result(self, *args, **kwargs)
        finally:
            _end(outermost)
        if outermost is not None:
            _tell(_tell_result, self, value)
        return value

    return reporting


def _reset_state(reset_state: Callable[..., Any]) -> Callable[..., Any]:
    def reporting(self: Any, *args: Any, **kwargs: Any) -> Any:
        witnesses = _hush()
        try:
            value = reset_state(self, *args, **kwargs)
        finally:
            _tell_again(witnesses)
        _tell(lambda witness, metric: witness.reset(metric), self)
        return value

    return reporting


def _apply(apply: Callable[..., Any]) -> Callable[..., Any]:
    # Keras' LossScaleOptimizer passes trainable_variables by keyword: the name stays.
    def reporting(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        outermost = _begin("apply", self)
        if outermost is not None:
            grads = list(grads)
            trainable_variables = None if trainable_variables is None else list(trainable_variables)
            _tell(lambda witness, *what: witness.applying(*what), self, grads, trainable_variables)
        try:
            value = apply(self, grads, trainable_variables)
        finally:
            _end(outermost)
            if outermost is not None:
                _tell(lambda witness, optimizer: witness.applied(optimizer), self)
        return value

    return reporting


def _assign_add(assign_add: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def reporting(self: Any, value: Any) -> Any:
        _tell(lambda witness, *what: witness.added(*what), self, value)
        witnesses = _hush()  # it assigns the sum
        try:
            return assign_add(self, value)
        finally:
            _tell_again(witnesses)

    return reporting


def _assign(assign: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def reporting(self: Any, value: Any) -> Any:
        _tell(lambda witness, variable: witness.assigned(variable), self)
        return assign(self, value)

    return reporting


_REPORTING: dict[Any, dict[str, Callable[..., Any]]] = {
    keras.metrics.Metric: {"result": _result, "reset_state": _reset_state},
    keras.optimizers.Optimizer: {"apply": _apply},
}
for _name, _reporting in {"assign_add": _assign_add, "assign": _assign}.items():
    _method = getattr(keras.Variable, _name)
    setattr(keras.Variable, _name, functools.wraps(_method)(_reporting(_method)))
