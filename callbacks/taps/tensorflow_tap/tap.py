"""TensorFlowTap: rings of variables that the compiled step writes.

Keras builds its train function out of a wrapped `train_step`, which puts a few operations into the compiled
step: after each one a row (what it returned, as values of its batch, and the norm of each gradient) goes
into a ring buffer that the host reads now and then. There is no second backward pass, and nothing is read
after every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow
from numpy.typing import NDArray

from tensorview_insitu.explain.walk import walk
from tensorview_insitu.run import layout
from tensorview_insitu.text.listed import listed
from tensorview_insitu.text.one_line import told

from ...layers import LayerVariable
from ...schedule import Schedule
from ..columns import Column
from ..tap import Drained, DrainedCopies, DrainedUpdates, Piece, Wanted
from .applied import Applied, Optimizers, Sites
from .logs import Logs, Nested, expected_columns
from .rings import CAPACITY, ArrayRing, Cell, RowRing, StepRings
from .sampling import Sampling
from .trace import ours, why_unlike
from .updates import Update
from .witness import Result, witnessed

_ONCE = Schedule(every=1)
_METRICS = "loss and metrics"
_GRADIENTS = "gradients and updates"
_T = TypeVar("_T")


class TensorFlowTap:
    """Takes numbers out of every `train_step` of one model.

    Args:
        model: compiled; it need not be built yet, but for several replicas.
        wanted: what to take.
    """

    def __init__(self, model: keras.Model, wanted: Wanted) -> None:
        self.capacity = CAPACITY
        self.problems: list[str] = []
        self.traced: Any = None
        self._model = model
        self._wanted = wanted
        self._strategy = model.distribute_strategy
        self._replicas = self._strategy.num_replicas_in_sync
        self._steps: Cell | None = None
        self._norm_names: tuple[str, ...] = ()
        self._sampling: Sampling | None = None  # of the gradient norms
        self._rings: StepRings | None = None
        self._of_replicas: RowRing | None = None
        self._optimizers = Optimizers()
        self._nested = Nested(self._strategy)
        self._sites = Sites(self._strategy)
        self._initial: tuple[Sequence[Piece], ArrayRing] | None = None
        self._copies: list[tuple[Sequence[Piece], ArrayRing]] = []
        self._updates: list[Update] = []
        self._not_updated: set[str] = set()
        self._updated: set[str] = set()
        self._allocated = False
        self._broken = False
        self._without: set[str] = set()  # what is left out, because it failed
        if self._replicas > 1 and not isinstance(self._strategy, tf.distribute.MirroredStrategy):
            # Where other processes train too, an operation that only this one does would wait for them.
            self._broken = True
            self._note(f"batches are not recorded under {type(self._strategy).__name__}")

    @property
    def works(self) -> bool:
        """Whether rows come out of it."""
        return not self._broken

    # ---- on the host

    def prepare(self) -> None:
        """Count steps, and where several replicas train make what they write to."""
        if self._broken:
            return
        if self._rings is not None:
            # What came since is of others, who went on with this trace.
            self._rings.skip()
            for ring in self._array_rings():
                ring.skip()
        if self._steps is None:
            self._steps = Cell(self._wanted.steps_before, self._strategy, tf.int64)
        if self._replicas > 1 and self._rings is None:
            # Keras builds a model for several replicas before this, and replicas cannot make variables.
            self._guarded(self._allocate_for_replicas)

    def started(self, train_function: Callable[..., Any]) -> Callable[..., Any]:
        """The same, or what leaves the gradient norms out at most steps."""
        if self._wanted.gradient_norms is None:
            return train_function
        if self._sampling is None or self._sampling.full is not train_function:
            self._sampling = Sampling(self._model, train_function)
            self._sampling.count(self._wanted.steps_before if self._rings is None else self._rings.steps_read)
            if self._rings is not None:
                self._sampling.settle(self._wanted.gradient_norms())
        return self._sampling.train_function

    def why_unlike(self, untapped: Any, tapped: Any, args: Sequence[Any]) -> str:
        """Why the tapped function would not do what the untapped does; empty where it would."""
        return why_unlike(untapped, tapped, args)

    def drain(self) -> Drained | None:
        """What came since the last call."""
        if self._rings is None:
            return None
        rows = self._rings.drain()
        if self._sampling is not None:
            self._sampling.count(self._rings.steps_read)
        for name in sorted(self._not_updated - self._updated):
            self._note(
                f"{name} has no value of a batch: Keras prints it, but train_step was not seen to update it"
            )
        self._note_several(self._sites.several())
        sources = ([self._initial] if self._initial is not None else []) + self._copies
        values = self._values(rows.columns)
        drained = Drained(
            count=rows.count,
            columns=rows.columns,
            metric_names=tuple(values),
            metrics=_table(rows.count, values),
            variable_names=tuple(rows.norms),
            gradient_norms=_table(rows.count, rows.norms),
            copies=[DrainedCopies(pieces, *ring.drain()) for pieces, ring in sources],
            updates=[DrainedUpdates(u.taking, u.variables, *u.ring.drain()) for u in self._updates],
            lost=rows.lost,
        )
        if any(ring.lost for ring in [*(ring for _, ring in sources), *(u.ring for u in self._updates)]):
            self._note(
                "some arrays were overwritten before they were read: they are too large for every batch"
            )
        return drained

    def updates_taken(self) -> int | None:
        """How many updates the one optimizer says that it has done."""
        optimizer = self._optimizers.once_a_step
        return None if optimizer is None else int(optimizer.iterations.numpy())

    def thin(self, request: int, stride: int) -> None:
        """Copy the pieces of that request only at steps divisible by `stride`, from now on."""
        if request < len(self._copies):
            self._copies[request][1].thin(stride)

    def is_end_of_data(self, error: BaseException) -> bool:
        """TensorFlow says OutOfRange where Python says StopIteration."""
        return isinstance(error, tf.errors.OutOfRangeError | StopIteration)

    def _values(self, columns: Mapping[Column, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        values: dict[str, NDArray[np.float64]] = {}
        for column, parts in columns.items():
            name = self._optimizers.recorded_name(column, columns)
            if column.kind == "running" and any(other.name == name for other in columns):
                self._note(
                    f"what {column.name} says of the epoch so far is not recorded by batch: another metric "
                    f"is called {name}"
                )
                continue
            ours = column.values(parts)
            # Steps that were traced apart may know the same number by other parts.
            values[name] = np.where(np.isnan(ours), values.get(name, ours), ours)
        return values

    # ---- inside the step: runs once per trace (or once per step with run_eagerly)

    def tapped(self, train_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same step, which writes a row into the ring."""

        def tapped_train_step(data: Any) -> Any:
            step = None if self._broken else self._guarded(self._begin_step)
            if step is None:
                return train_step(data)
            with witnessed(step):
                try:
                    logs = train_step(data)
                finally:
                    step.end()
            if not self._broken:
                self._guarded(lambda: self._after_step(step, logs))
            return logs

        return tapped_train_step

    def _guarded(self, do: Callable[[], _T]) -> _T | None:
        # Our own mistake must not end a training. What the step itself raises is not caught here.
        try:
            with ours():
                return do()
        except Exception as error:
            self._broken = True
            self._note(f"batches are not recorded: {told(error)}")
            return None

    def unless_it_fails(self, part: str, do: Callable[[], _T]) -> _T | None:
        """One thing that fails is one thing that is missing."""
        if part in self._without:
            return None
        try:
            with ours():
                return do()
        except Exception as error:
            self._without.add(part)
            self._note(f"{part} are not recorded by batch: {told(error)}")
            return None

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _begin_step(self) -> _Step:
        self.unless_it_fails(_GRADIENTS, self._begin_updates)
        logs = None
        if self._wanted.metrics:
            logs = self.unless_it_fails(
                _METRICS,
                lambda: Logs(self._model, self._nested, self._replicas, self._note, first=self._is_first()),
            )
        applied = Applied(
            self._optimizers,
            self._sites,
            self._wanted.name_of,
            rates=self._wanted.metrics,
            norms=self._wanted.gradient_norms is not None and not self._leaving_out,
            replicas=self._replicas,
        )
        return _Step(self, logs, applied)

    def _begin_updates(self) -> None:
        if not self._allocated and self._is_built():
            # Most likely these are the variables; it is sure when the first optimizer is applied.
            with tf.init_scope():
                self._updates = self._made_updates()
        self._take_initial(())
        for update in self._updates:
            update.begin_step(self._step())

    def _take_initial(self, set_by_step: Collection[int]) -> None:
        if self._initial is None:
            return
        pieces, ring = self._initial
        ring.write_once(tf.constant(self._wanted.steps_before, tf.int64), lambda: _row(pieces))
        copied = {piece.dataset for piece in pieces}
        names = [self._wanted.name_of(v) for v in self._model.variables if id(v) in set_by_step]
        names = [n for n in names if "/" in n and layout.variable_dataset(*n.rsplit("/", 1)) in copied]
        # The graph of a step that makes variables is traced once more, before it runs.
        if names and tf.executing_eagerly():
            self._note(
                f"{listed(names)} of step 0 are what the first step, which builds the model, had made of "
                "them before it applied an optimizer"
            )

    def before_apply(self, step: _Step, optimizer: Any, grads: Sequence[Any], given: Any) -> None:
        """An optimizer is about to be applied."""
        # The first moment at which a model that is built by its first step has all its variables,
        # and the last before they change.
        if not self._allocated:
            with tf.init_scope():
                self._allocate_for_updates()
        self._take_initial(step.set_by_step)
        for update in self._updates:
            update.begin_late(self._step(), step.given.graph, step.set_by_step)
            if names := update.set_before:
                self._note(
                    f"the update norms of {listed(names)} are missing for the first step: it builds the "
                    "model, and sets them before it applies an optimizer"
                )
        variables = given if given is not None else optimizer._trainable_variables
        gradients = step.given.applying(optimizer, grads, variables)
        for update in self._updates:
            update.applying(gradients, optimizer.loss_scale_factor, self._step())

    def _after_step(self, step: _Step, logs: Any) -> None:
        found: list[tuple[Column, list[Any]]] = []
        of_logs = step.logs
        if of_logs is not None:
            found += self.unless_it_fails(_METRICS, lambda: of_logs.columns(logs)) or []
            self._not_updated |= set(of_logs.not_updated)
            self._updated |= {column.name for column, _ in found}
        step.given.finish()
        self._optimizers.end_of_step(step.given)
        found += step.given.rates()
        self._note_several(step.given.given_several)
        for name, reason in self._optimizers.not_read.items() if self._wanted.metrics else ():
            self._note(f"the learning rate of {name} is not recorded by batch: {reason}")
        if self._wanted.metrics and not step.given.rates() and not self._optimizers.not_read:
            # A step that runs eagerly says nothing of the next.
            self._note("no learning rate is recorded by batch where train_step applies no Keras optimizer")
        if self._rings is None:
            with tf.init_scope():
                self._allocate()
        assert self._rings is not None
        at = self._step()
        others = [ring.write(at, partial(_row, pieces)) for pieces, ring in self._copies]
        others += self.unless_it_fails(_GRADIENTS, lambda: [u.write(at) for u in self._updates]) or []
        ring = self._of_replicas or self._rings.ring(
            [column for column, _ in found], self._names_of_norms(step.given)
        )
        parts = self._parts(ring, found)
        self._rings.write(ring, parts, self._vector(ring, step.given), others)

    def _note_several(self, names: Sequence[str]) -> None:
        taken = [update for update in self._updates if update.taking != "update_norms"]
        if not names or (self._wanted.gradient_norms is None and not taken):
            return
        self._note(
            f"the gradient norms of {listed(names)} are those of the last of several gradients in a step"
        )

    def _names_of_norms(self, applied: Applied) -> tuple[str, ...]:
        if self._wanted.gradient_norms is None:
            return ()
        if not self._leaving_out:
            self._norm_names = applied.names(self._norm_names)
        return self._norm_names

    def _parts(self, ring: RowRing, found: Sequence[tuple[Column, list[Any]]]) -> list[Any]:
        by_column = dict(found)
        unknown = [column.name for column in by_column if column not in ring.columns]
        if unknown:
            self._note(f"{', '.join(unknown)} by batch is not recorded when several replicas train")
        nothing = tf.constant(np.nan, tf.float32)
        return [part for column in ring.columns for part in by_column.get(column, [nothing] * column.width)]

    def _vector(self, ring: RowRing, applied: Applied) -> Any:
        if not ring.norms:
            return None
        if self._leaving_out:
            return tf.fill((len(ring.norms),), np.float32(np.nan))
        return applied.norms(ring.norms)

    @property
    def _leaving_out(self) -> bool:
        return self._sampling is not None and self._sampling.leaving_out

    def _step(self) -> Any:
        """The number of the step that runs."""
        assert self._steps is not None
        return self._steps.here.read_value() + 1

    def _is_first(self) -> bool:
        """Whether no step has run yet."""
        assert self._steps is not None
        with tf.init_scope():
            return int(self._steps.numpy()) == self._wanted.steps_before

    # ---- variables of our own

    def _allocate_for_replicas(self) -> None:
        if not all(layer.built for layer in self._model._flatten_layers(include_self=False)):
            raise ValueError("a model that several replicas train must be built before fit")
        self._allocate_for_updates()
        self._allocate()
        columns = expected_columns(self._model) if self._wanted.metrics else []
        inner = getattr(self._model.optimizer, "inner_optimizer", self._model.optimizer)
        if self._wanted.metrics and inner is not None:
            columns.append(self._optimizers.column(inner))
        assert self._rings is not None
        self._of_replicas = self._rings.ring(columns, self._norm_names)

    def _allocate_for_updates(self) -> None:
        self._allocated = True
        if self._initial is None and (pieces := self._wanted.initial()):
            ring = ArrayRing(_ONCE, sum(p.size for p in pieces), self._strategy, capacity=1)
            self._initial = (pieces, ring)
        if self._wanted.gradient_norms is not None:
            if self._sampling is not None:
                self._sampling.settle(self._wanted.gradient_norms())
            self._norm_names = tuple(self._wanted.name_of(v) for v in self._model.trainable_variables)
        self._updates = self._made_updates()

    def _made_updates(self) -> list[Update]:
        """One for each request that has variables; those that there are stay, where theirs are the same."""
        requests = [(request, request.select()) for request in self._wanted.updates]
        made = []
        for request, variables in requests:
            for update in self._updates:
                if update.request is request and _same_variables(update.variables, variables):
                    made.append(update)
                    break
            else:
                if variables:
                    made.append(Update(request, variables, self._wanted.name_of, self._strategy))
        return made

    def _is_built(self) -> bool:
        return bool(self._model.built) and all(layer.built for _, layer in walk(self._model))

    def _allocate(self) -> None:
        if not self._allocated:
            self._allocate_for_updates()
            if self._initial is not None:
                self._initial = None
                self._note(
                    "the model as it was before training is not recorded: its first step builds it, "
                    "and applies no Keras optimizer"
                )
        at_once = int(getattr(self._model, "steps_per_execution", 1) or 1)
        assert self._steps is not None
        self._rings = StepRings(self._steps, at_once, self._strategy)
        for request in self._wanted.copies:
            pieces = request.select()
            width = max(1, sum(piece.size for piece in pieces))  # TensorFlow cannot write into nothing
            ring = ArrayRing(request.schedule, width, self._strategy, thinnable=self._wanted.thinnable)
            ring.thin(request.stride())
            self._copies.append((pieces, ring))
        # All rings are read together: the one that is full first says when.
        self.capacity = min([self._rings.capacity, *(ring.capacity for ring in self._array_rings())])

    def _array_rings(self) -> list[ArrayRing]:
        return [ring for _, ring in self._copies] + [update.ring for update in self._updates]


class _Step:
    """Witness of one step: what it does goes to its logs, and to what optimizers are given.

    Args:
        tap: the tap.
        logs: takes what metrics do; None where nobody asks.
        given: takes what optimizers are given.
    """

    def __init__(self, tap: TensorFlowTap, logs: Logs | None, given: Applied) -> None:
        self.logs = logs
        self.given = given
        self.set_by_step: set[int] = set()  # ids of the variables that it has given another value
        self._tap = tap
        self._applying: list[Any] = []  # optimizers, each called by the one before

    def end(self) -> None:
        """The step has returned, or failed."""
        self._of_metrics(lambda logs: logs.end())

    def added(self, variable: Any, value: Any) -> None:
        """`value` is about to be added to a variable."""
        self.set_by_step.add(id(variable))
        self._of_metrics(lambda logs: logs.added(variable, value))

    def assigned(self, variable: Any) -> None:
        """A variable is about to be given another value."""
        self.set_by_step.add(id(variable))
        self._of_metrics(lambda logs: logs.assigned(variable))

    def reset(self, metric: keras.metrics.Metric) -> None:
        """A metric begins anew."""
        self._of_metrics(lambda logs: logs.reset(metric))

    def resulted(self, result: Result) -> None:
        """A metric said its result."""
        self._of_metrics(lambda logs: logs.resulted(result))

    def applying(self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any] | None) -> None:
        """An optimizer is about to be applied."""
        handed_on = bool(self._applying)
        self._applying.append(optimizer)
        if not gradients:  # Keras passes over an empty list
            return
        if handed_on:
            # What an optimizer hands on to another is no second gradient: train_step gave the first.
            self._tap.unless_it_fails(_GRADIENTS, lambda: self.given.handed_on(optimizer))
            return
        self._tap.unless_it_fails(
            _GRADIENTS, lambda: self._tap.before_apply(self, optimizer, gradients, variables)
        )

    def applied(self, optimizer: Any) -> None:
        """It was applied, or failed."""
        self._applying.pop()

    def _of_metrics(self, tell: Callable[[Logs], None]) -> None:
        logs = self.logs
        if logs is not None:
            self._tap.unless_it_fails(_METRICS, lambda: tell(logs))


def _same_variables(some: Sequence[LayerVariable], others: Sequence[LayerVariable]) -> bool:
    return [id(v.variable) for v in some] == [id(v.variable) for v in others]


def _table(count: int, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    return np.column_stack(list(columns.values())) if columns else np.zeros((count, 0))


def _row(pieces: Sequence[Piece]) -> Any:
    values = [tf.reshape(tf.cast(piece.value(), tf.float32), (-1,)) for piece in pieces]
    return tf.concat(values, 0) if values else tf.zeros(1)
