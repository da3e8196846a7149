"""What a training did, told without the recorder: by two plain callbacks, and Keras alone.

`Watch` notes what every callback can see. `Witness` trains the same program once more and asks each step for
its own numbers: it resets every metric before the step, so that what the step returns is of this batch alone,
and adds the old totals again after it. A number reaches Python by `py_function`, or at once where the step
runs eagerly. That the watched training and the witnessed one are the same one is checked, not believed: both
are watched, and all their metrics' totals and weights must agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@dataclass
class Made:
    """Every metric and optimizer that a program makes, wherever it keeps them; in the order of making."""

    metrics: list[Any] = field(default_factory=list)
    optimizers: list[Any] = field(default_factory=list)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """While it lasts, note what is made."""
        with (
            _after(keras.metrics.Metric, "__init__", self.metrics.append),
            _after(keras.optimizers.Optimizer, "__init__", self.optimizers.append),
        ):
            yield

    def totals(self) -> list[np.ndarray]:
        """The state of all metrics."""
        return [v.numpy() for v in _unique(v for metric in self.metrics for v in metric.variables)]


class Watch(keras.callbacks.Callback):
    """Notes what Keras tells every callback, and the weights at every epoch's end.

    Args:
        made: what the program makes.
    """

    def __init__(self, made: Made) -> None:
        super().__init__()
        self.made = made
        self.models: list[Any] = []
        self.first_weights: dict[str, np.ndarray] = {}
        self.batches: list[dict[str, float]] = []
        self.totals: list[list[np.ndarray]] = []
        self.steps: list[tuple[int, int]] = []  # epoch and batch, from 1, over all fits
        self.fits: list[int] = []  # of each step
        self.epochs: list[dict[str, float]] = []
        self.weights: list[dict[str, np.ndarray]] = []
        self.steps_at_epoch_end: list[int] = []
        self._fit = self._epoch = self._batch = 0

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        if not any(model is known for known in self.models):
            self.models.append(model)

    def on_train_begin(self, logs: Any = None) -> None:
        self._fit += 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if not self.steps:
            self.first_weights = self._weights()  # none, where the first step builds the model

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch += 1
        self._batch = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Of several steps at once, this is the number of the last: of the last that would fit, at the end.
        batch = min(batch, (self.params.get("steps") or np.inf) - 1)
        for number in range(self._batch, batch + 1):
            self.steps.append((self._epoch, number + 1))
            self.fits.append(self._fit)
        self._batch = batch + 1
        self.batches.append(dict(logs or {}))
        self.totals.append(self.made.totals())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(dict(logs or {}))
        self.weights.append(self._weights())
        self.steps_at_epoch_end.append(len(self.steps))

    def state(self) -> list[np.ndarray]:
        """Everything that the program's models and optimizers hold now."""
        owners = [*self.models, *self.made.optimizers, *self.made.metrics]
        return [v.numpy() for v in _unique(v for owner in owners for v in owner.variables)]

    def _weights(self) -> dict[str, np.ndarray]:
        return {v.path: v.numpy() for v in _unique(self.model.weights)}


@dataclass
class Step:
    """What one step found: its returned logs, the rate of each optimizer that was applied, and the gradients.

    Norms are by the identity of their variable; where a variable got several gradients, the last one's.
    """

    values: dict[str, float] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    norms: dict[int, float] = field(default_factory=dict)


class Witness(keras.callbacks.Callback):
    """Notes what every step finds for its batch alone.

    Args:
        made: what the program makes.
        eager: run each step as plain Python. Not for programs that draw from `tf.random`, which draws other
            numbers then.
    """

    def __init__(self, made: Made, *, eager: bool) -> None:
        super().__init__()
        self.made = made
        self.steps: list[Step] = []
        self.variables: dict[int, Any] = {}
        self.first_weights: dict[str, np.ndarray] = {}  # as the first update finds them
        self._eager = eager
        self._open = contextlib.ExitStack()

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        model.train_function = None
        if self._eager:
            model.jit_compile, model.run_eagerly = False, True
        self._open.enter_context(_in_place(vars(model), "train_step", self._witnessed(model.train_step)))
        apply = keras.optimizers.Optimizer.apply
        witness = self

        def applied(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            variables = trainable_variables
            variables = optimizer._trainable_variables if variables is None else list(variables)
            witness._note_update(optimizer, grads, variables)
            return apply(optimizer, grads, variables)

        self._open.enter_context(_replaced(keras.optimizers.Optimizer, "apply", applied))

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def close(self) -> None:
        """Leave Keras as it was, also where a training did not end by itself."""
        self._open.close()
        if self.model is not None:
            self.model.train_function = None

    def _witnessed(self, train_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def step_by_itself(data: Any) -> Any:
            self._tell(lambda: self.steps.append(Step()))
            totals = _unique(v for metric in self.made.metrics for v in metric.variables)
            before = [tf.identity(v.value) for v in totals]
            for metric in self.made.metrics:
                metric.reset_state()
            logs = train_step(data)
            for name, value in _flat(logs).items():
                if len(np.shape(value)) == 0:
                    self._tell(lambda v, n=name: self.steps[-1].values.update({n: float(v)}), value)
            for variable, total in zip(totals, before, strict=True):
                variable.assign_add(total)
            return logs

        return step_by_itself

    def _note_update(self, optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
        for weight in self.model.weights:
            self._tell(lambda v, p=weight.path: self.first_weights.setdefault(p, v), weight.value)
        rate = optimizer.learning_rate
        self._tell(lambda v: self.steps[-1].rates.update({id(optimizer): float(v)}), rate)
        scale = optimizer.loss_scale_factor or 1.0
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is None:
                continue
            key = id(variable)
            self.variables[key] = variable
            dense = tf.cast(tf.convert_to_tensor(gradient), tf.float64)
            norm = tf.sqrt(tf.reduce_sum(tf.square(dense))) / scale
            self._tell(lambda v, k=key: self.steps[-1].norms.update({k: float(v)}), norm)

    def _tell(self, note: Callable[..., None], *values: Any) -> None:
        def told(*them: Any) -> None:
            note(*(np.asarray(keras.ops.convert_to_numpy(one)) for one in them))

        if tf.executing_eagerly():
            told(*values)
        else:
            tf.py_function(told, list(values), [])


def _flat(logs: Any) -> dict[str, Any]:
    """The names that Keras prints: it flattens what is nested."""
    found: dict[str, Any] = {}
    for name, value in (logs or {}).items():
        found.update(_flat(value) if isinstance(value, dict) else {name: value})
    return found


def _unique(variables: Any) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


@contextlib.contextmanager
def _in_place(holder: dict[str, Any], name: str, value: Any) -> Iterator[None]:
    holder[name] = value
    try:
        yield
    finally:
        del holder[name]


@contextlib.contextmanager
def _replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _after(owner: type, name: str, note: Callable[[Any], None]) -> contextlib.AbstractContextManager[None]:
    plain = getattr(owner, name)

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        note(self)

    return _replaced(owner, name, noted)
