"""TensorFlowTap: rings of variables that the compiled step writes.

`set_model` comes before Keras builds its train function, so wrapping `train_step` there puts a few
operations into the compiled step: after each one a row (the batch's own loss and metrics, the norm of
each gradient) goes into a ring buffer that the host reads now and then. There is no second backward
pass, and nothing is read after every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from tensorview_insitu.explain.shadows import Shadows

from ...schedule import Schedule
from ..tap import Drained, DrainedCopies, DrainedUpdates, Piece, Wanted
from .listening import Heard, listening, printed_metrics
from .rings import CAPACITY, ArrayRing, Cell, Held, RowRing
from .sampling import Sampling
from .updates import Update, norms

_LEARNING_RATE = "learning_rate"
_ONCE = Schedule(every=1)


class TensorFlowTap:
    """Takes numbers out of every `train_step` of one model.

    Args:
        model: compiled; it need not be built yet, but for several replicas.
        wanted: what to take.
    """

    def __init__(self, model: keras.Model, wanted: Wanted) -> None:
        self.capacity = CAPACITY
        self.problems: list[str] = []
        self._model = model
        self._wanted = wanted
        self._optimizer = model.optimizer
        # LossScaleOptimizer hands its inner optimizer gradients that are unscaled already.
        self._inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        self._strategy = model.distribute_strategy
        self._replicas = self._strategy.num_replicas_in_sync
        self._shadows = Shadows()
        self._steps: Cell | None = None
        self._norms: Held | None = None
        self._norm_names: tuple[str, ...] = ()
        self._graph: Any = None  # of the step that is traced now
        self._vector: Any = None  # its gradient norms, where they are in that graph
        self._sampling: Sampling | None = None  # of the gradient norms
        self._ring: RowRing | None = None
        self._initial: tuple[Sequence[Piece], ArrayRing] | None = None
        self._copies: list[tuple[Sequence[Piece], ArrayRing]] = []
        self._updates: list[Update] = []
        self._broken = False
        self._train_functions: tuple[Any, Any] = (None, None)
        self._installed = False
        if self._replicas > 1 and not isinstance(self._strategy, tf.distribute.MirroredStrategy):
            # Where other processes train too, an operation that only this one does would wait for them.
            self._broken = True
            self._note(f"batches are not recorded under {type(self._strategy).__name__}")

    @property
    def works(self) -> bool:
        """Whether rows come out of it."""
        return not self._broken

    # ---- on the host

    def install(self) -> None:
        """Wrap `train_step` and the optimizer's `apply`, and have Keras build its function anew."""
        model = self._model
        if self._broken:
            return
        if self._steps is None:
            self._steps = Cell(self._wanted.steps_before, self._strategy, tf.int64)
        if self._replicas > 1 and self._ring is None:
            # Keras builds a model for several replicas before this, and replicas cannot make variables.
            self._guarded(self._allocate_before_the_first_step)
        self._shadows.put(self._inner, "apply", self._with_norms(self._inner.apply))
        self._shadows.put(model, "train_step", self._with_row(model.train_step))
        untapped, tapped = model.train_function, self._train_functions[1]
        still_valid = tapped is not None and untapped is self._train_functions[0]
        self._train_functions = (untapped, None)
        # A tapped function from an earlier fit is used again: tracing takes a second or more.
        model.train_function = tapped if still_valid else None
        self._installed = True

    def started(self, train_function: Callable[..., Any]) -> Callable[..., Any]:
        """The same, or what leaves the gradient norms out at most steps."""
        if self._wanted.gradient_norms is None:
            return train_function
        if self._sampling is None or self._sampling.full is not train_function:
            self._sampling = Sampling(self._model, train_function)
            self._sampling.count(self._wanted.steps_before if self._ring is None else self._ring.steps_read)
            if self._ring is not None:
                self._sampling.settle(self._wanted.gradient_norms())
        return self._sampling.train_function

    def detach(self) -> None:
        """Put `train_step` and `apply` back; the function that a running `fit` calls stays."""
        self._shadows.remove()

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
        if self._sampling is not None:
            self._sampling.count(self._ring.steps_read)
        sources = ([self._initial] if self._initial is not None else []) + self._copies
        drained = Drained(
            count=len(metrics),
            metric_names=self._ring.metric_names,
            metrics=metrics,
            variable_names=self._ring.variable_names,
            gradient_norms=norms,
            copies=[DrainedCopies(pieces, *ring.drain()) for pieces, ring in sources],
            updates=[DrainedUpdates(u.taking, u.variables, *u.ring.drain()) for u in self._updates],
            lost=lost,
        )
        if any(ring.lost for ring in [*(ring for _, ring in sources), *(u.ring for u in self._updates)]):
            self._note(
                "some arrays were overwritten before they were read: they are too large for every batch"
            )
        return drained

    def thin(self, request: int, stride: int) -> None:
        """Copy the pieces of that request only at steps divisible by `stride`, from now on."""
        if request < len(self._copies):
            self._copies[request][1].thin(stride)

    def is_end_of_data(self, error: BaseException) -> bool:
        """TensorFlow says OutOfRange where Python says StopIteration."""
        return isinstance(error, tf.errors.OutOfRangeError | StopIteration)

    # ---- inside the step: runs once per trace (or once per step with run_eagerly)

    def _with_row(self, train_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def tapped_train_step(data: Any) -> Any:
            if self._broken:
                return train_step(data)
            learning_rate = self._guarded(self._before_step)
            with listening() as heard:
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
            result = apply(grads, trainable_variables)
            if not self._broken:
                self._guarded(self._after_apply)
            return result

        return tapped_apply

    def _guarded(self, do: Callable[[], Any]) -> Any:
        # Our own mistake must not end a training. What the step itself raises is not caught here.
        try:
            return do()
        except Exception as error:
            self._broken = True
            self._note(f"batches are not recorded: {type(error).__name__}: {error}")
            return None

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _before_step(self) -> Any:
        self._graph, self._vector = _current_graph(), None
        if not self._wanted.metrics or self._optimizer is None:
            return None
        return tf.cast(tf.convert_to_tensor(self._optimizer.learning_rate), tf.float32)

    def _before_apply(self, grads: Sequence[Any], given: Any) -> None:
        # The first moment at which a model that is built by its first step has all its variables,
        # and the last before they change.
        if self._ring is None:
            with tf.init_scope():
                self._allocate_for_updates()
        if self._initial is not None:
            pieces, ring = self._initial
            ring.write_once(tf.constant(self._wanted.steps_before, tf.int64), lambda: _row(pieces))
        taking_norms = self._norms is not None and not self._leaving_out
        if not taking_norms and not self._updates:
            return
        if self._replicas > 1:
            # Each replica has the gradient of its share of the batch: their sum is the batch's.
            there = [i for i, gradient in enumerate(grads) if gradient is not None]
            summed = tf.distribute.get_replica_context().all_reduce("SUM", [grads[i] for i in there])
            grads = [summed[there.index(i)] if i in there else None for i in range(len(grads))]
        variables = given if given is not None else self._inner._trainable_variables
        scale = self._inner.loss_scale_factor
        gradients = {
            self._wanted.name_of(variable): gradient
            for variable, gradient in zip(variables, grads, strict=True)
            if gradient is not None
        }
        if taking_norms:
            vector = norms([gradients.get(name) for name in self._norm_names])
            vector = vector if scale is None else vector / tf.cast(scale, tf.float32)
            # Inside a tf.cond (LossScaleOptimizer) no tensor leaves: a variable has to hold it.
            self._vector = vector if _current_graph() is self._graph else None
            if self._vector is None:
                assert self._norms is not None
                self._norms.write(vector)
        for update in self._updates:
            update.before(gradients, scale, self._step())

    def _after_apply(self) -> None:
        for update in self._updates:
            update.after(self._step())

    def _after_step(self, heard: Heard, learning_rate: Any) -> None:
        sums: dict[str, tuple[Any, Any]] = {}
        if self._wanted.metrics:
            sums = self._metric_sums(heard)
            if learning_rate is not None and learning_rate.shape.rank == 0:
                sums[_LEARNING_RATE] = (learning_rate, tf.constant(1.0))
        if self._ring is None:
            with tf.init_scope():
                self._allocate(tuple(sums))
        assert self._ring is not None
        step = self._step()
        others = [ring.write(step, partial(_row, pieces)) for pieces, ring in self._copies]
        others += [update.write(step) for update in self._updates]
        vector = self._vector
        if vector is None and self._norms is not None and self._ring.variable_names:
            vector = self._norms.nothing if self._leaving_out else self._norms.take()
        self._ring.write(sums, vector, others)

    @property
    def _leaving_out(self) -> bool:
        return self._sampling is not None and self._sampling.leaving_out

    def _step(self) -> Any:
        """The number of the step that runs."""
        assert self._steps is not None
        return self._steps.here.read_value() + 1

    def _metric_sums(self, heard: Heard) -> dict[str, tuple[Any, Any]]:
        graph = _current_graph()
        sums = {}
        for name, metric in printed_metrics(self._model).items():
            pairs = heard.get(id(metric), [])
            # A metric updated inside a tf.cond or a loop lives in that graph: unreachable from here.
            if pairs and all(_graph_of(value) is graph for pair in pairs for value in pair):
                total = tf.add_n([tf.cast(pair[0], tf.float32) for pair in pairs])
                sums[name] = (total, tf.add_n([tf.cast(pair[1], tf.float32) for pair in pairs]))
            elif self._replicas > 1:
                self._note(f"{name} has no value of one batch when several replicas train")
            else:
                result = metric.result()
                if not isinstance(result, dict) and len(result.shape) == 0:
                    sums[name] = (tf.cast(result, tf.float32), tf.constant(1.0))
        return sums

    # ---- variables of our own

    def _allocate_before_the_first_step(self) -> None:
        if not all(layer.built for layer in self._model._flatten_layers(include_self=False)):
            raise ValueError("a model that several replicas train must be built before fit")
        self._allocate_for_updates()
        metrics = tuple(printed_metrics(self._model)) if self._wanted.metrics else ()
        scalar_rate = (
            self._wanted.metrics and len(tf.convert_to_tensor(self._optimizer.learning_rate).shape) == 0
        )
        self._allocate((*metrics, *((_LEARNING_RATE,) if scalar_rate else ())))

    def _allocate_for_updates(self) -> None:
        if self._initial is None and (pieces := self._wanted.initial()):
            ring = ArrayRing(_ONCE, sum(p.size for p in pieces), self._strategy, capacity=1)
            self._initial = (pieces, ring)
        if self._wanted.gradient_norms is not None and self._norms is None:
            if self._sampling is not None:
                self._sampling.settle(self._wanted.gradient_norms())
            self._norm_names = tuple(self._wanted.name_of(v) for v in self._model.trainable_variables)
            self._norms = Held(len(self._norm_names), self._strategy)
        if not self._updates:
            requests = [(request, request.select()) for request in self._wanted.updates]
            self._updates = [
                Update(request, variables, self._wanted.name_of, self._strategy)
                for request, variables in requests
                if variables
            ]

    def _allocate(self, metric_names: tuple[str, ...]) -> None:
        at_once = int(getattr(self._model, "steps_per_execution", 1) or 1)
        assert self._steps is not None
        self._ring = RowRing(metric_names, self._norm_names, self._steps, at_once, self._strategy)
        for request in self._wanted.copies:
            pieces = request.select()
            width = sum(piece.size for piece in pieces)
            ring = ArrayRing(request.schedule, width, self._strategy, thinnable=self._wanted.thinnable)
            ring.thin(request.stride())
            self._copies.append((pieces, ring))
        arrays = [ring for _, ring in self._copies] + [update.ring for update in self._updates]
        # All rings are read together: the one that is full first says when.
        self.capacity = min([self._ring.capacity, *(ring.capacity for ring in arrays)])


def _row(pieces: Sequence[Piece]) -> Any:
    values = [tf.reshape(tf.cast(piece.value(), tf.float32), (-1,)) for piece in pieces]
    return tf.concat(values, 0) if values else tf.zeros(0)


def _current_graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _graph_of(value: Any) -> Any:
    return None if tf.executing_eagerly() else getattr(value, "graph", None)
