"""InSituRecorder: the one callback a user adds to `fit`."""

from __future__ import annotations

import atexit
import functools
import logging
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import keras
import numpy as np

from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.identity import FAILED, FINISHED, INTERRUPTED
from tensorview_insitu.run.rows import Rows, concatenate
from tensorview_insitu.run.writer import RunWriter, refuse_taken

from .clock import Clock
from .layers import LayerVariable, variables, walk
from .quantities import Biases, GradientNorms, Kernels, LayerVariables, Metrics, Quantity
from .schedule import batches, kept
from .taps.tap import Drained, Tap, Wanted

_DRAIN_SECONDS = 1.0
_log = logging.getLogger("tensorview_insitu")
_Hook = TypeVar("_Hook", bound=Callable[..., None])


def _never_stops_training(hook: _Hook) -> _Hook:
    """What goes wrong in a hook ends the recording with one warning, and never the training."""

    @functools.wraps(hook)
    def guarded(self: InSituRecorder, *args: Any, **kwargs: Any) -> None:
        if self._given_up:
            return
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            self._give_up(error)
            if self._strict:
                raise

    return cast(_Hook, guarded)


class InSituRecorder(keras.callbacks.Callback):
    """Callback that records what happens inside a training into a run on disk.

    With no further argument: the true loss and metrics, learning rate and the gradient norm of every
    variable at every batch; what Keras reports, the convolutions' kernels and all biases at every
    epoch. It does not change the training by one bit, and nothing that goes wrong in it ends the
    training: it warns once and the run says what is missing.

    Args:
        path: the run's folder, as `"runs/cxr"`; a new one.
        quantities: what to record, in place of the default
            `[Metrics(), GradientNorms(), Kernels(), Biases()]`.
        overwrite: replace an older run in that folder.
        strict: raise where the recorder would otherwise warn and let the training go on: for those to
            whom a training without its record is worth nothing.

    Raises:
        RunExistsError: the folder already holds a run or other files.
        ValueError: a quantity is given twice, or is none.

    Example:
        >>> from tensorview_insitu.callbacks import InSituRecorder
        >>> model.fit(x, y, callbacks=[InSituRecorder("runs/cxr")])     # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | Path,
        quantities: Sequence[Quantity] | None = None,
        *,
        overwrite: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.quantities = _checked(quantities)
        self._overwrite = overwrite
        self._strict = strict
        refuse_taken(self.path, overwrite=overwrite)
        self._writer: RunWriter | None = None
        self._tap: Tap | None = None
        self._tapped: list[Any] = []
        self._names: dict[int, str] = {}
        self._clock = Clock()
        self._open = False  # the model is tapped, or the run not finished
        self._training = False
        self._given_up = False
        self._initial_taken = False
        self._described = False
        self._warned = False
        self._status = FINISHED
        self._last_drain = 0.0
        self._pending_calls = 0

    # ---- hooks, in the order in which training calls them

    def set_model(self, model: keras.Model) -> None:
        """Wrap the model's train step: Keras builds its train function right after this.

        Raises:
            ValueError: a quantity names a layer that the model does not have.
            RunExistsError: another recorder took the folder meanwhile.
        """
        super().set_model(model)
        for quantity in self.quantities:
            quantity.check(model)
        if self._writer is None and not self._given_up:
            try:
                self._writer = RunWriter(self.path, overwrite=self._overwrite)
            except RunExistsError:
                raise  # the user's own mistake, told before the training starts
            except OSError as error:
                self._give_up(error)
                if self._strict:
                    raise
            else:
                atexit.register(_close_at_exit, weakref.ref(self))
        self._attach(model)

    @_never_stops_training
    def _attach(self, model: keras.Model) -> None:
        if self._training:  # the fit before this one ended in an exception that nobody told us of
            self._end(INTERRUPTED)
        if not _same(self._tapped, _compiled_state(model)):
            self._tap = self._new_tap(model)
            self._clock.start_tap()
        self._open = True
        if self._tap is not None:
            self._tap.install()

    @_never_stops_training
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take the snapshot before training, and listen for a training that ends in an exception."""
        assert self._writer is not None
        self._training = True
        self._status = INTERRUPTED
        self._last_drain = time.monotonic()
        self._writer.resume()
        self._clock.begin_fit()
        self._described = False
        if all(layer.built for _, layer in walk(self.model)):
            self._describe()
            self._take_initial()
        if self._tap is not None:
            self.model.train_function = self._telling_of_failure(self.model.train_function)

    @_never_stops_training
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note which epoch the next batches belong to."""
        self._clock.begin_epoch(epoch)

    @_never_stops_training
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Read the ring when it may be full, or once a second.

        Here and not in on_train_batch_end: on asynchronous backends that hook alone would make all
        callbacks wait for every batch.
        """
        at_once = int(getattr(self.model, "steps_per_execution", 1) or 1)
        if self._tap is not None and (
            self._pending_calls + at_once > self._tap.capacity
            or time.monotonic() - self._last_drain > _DRAIN_SECONDS
        ):
            self._record_batches(epoch_end=False)
        self._clock.begin_batch(batch, at_once)
        self._pending_calls += at_once

    @_never_stops_training
    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """A lone `evaluate` needs no tap: `set_model` did not know."""
        self._release_unless_training()

    @_never_stops_training
    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """A lone `predict` needs no tap."""
        self._release_unless_training()

    @_never_stops_training
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record what came since, the epoch's logs, and the snapshots due at its end."""
        self._record_batches(epoch_end=True)
        block = self._epoch_scalars(logs or {})
        for quantity in self._per_epoch():
            block.update(self._snapshot(quantity, self._clock.step))
        self._write(block, epoch_end=True)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the model as it was found, and pack the run."""
        if self._given_up:
            self._release()
        else:
            self._finish()

    @_never_stops_training
    def _finish(self) -> None:
        self._end(FINISHED)

    # ---- for those who want a promise also for a training that ends in an exception

    def __enter__(self) -> InSituRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._status = _status_of(error)
        self.close()

    def close(self) -> None:
        """Finish the run now, if a training that ended in an exception left it open."""
        if self._open:
            self._close()

    @_never_stops_training
    def _close(self) -> None:
        self._end(self._status)

    # ---- the tap

    def _new_tap(self, model: keras.Model) -> Tap | None:
        metrics, norms = self._quantity(Metrics), self._quantity(GradientNorms)
        snapshots = self._per_batch()
        if metrics is None and norms is None and not snapshots:
            return None
        if keras.backend.backend() != "tensorflow":
            self._note(
                "batches, gradient norms and learning rate are not recorded: this version takes them from "
                f"the TensorFlow backend only. Received: backend={keras.backend.backend()!r}"
            )
            return None
        if model.optimizer is None:
            self._note("batches are not recorded: the model was compiled without an optimizer")
            return None
        from .taps.tensorflow import TensorFlowTap

        self._names.clear()  # by id, which a variable of an older model may have had

        def selector(quantities: list[LayerVariables]) -> Callable[[], list[LayerVariable]]:
            return lambda: [v for quantity in quantities for v in quantity.select(model)]

        by_rhythm: dict[int, list[LayerVariables]] = {}
        for quantity in snapshots:
            by_rhythm.setdefault(batches(quantity.every) or 1, []).append(quantity)
        wanted = Wanted(
            metrics=metrics is not None,
            gradient_norms=norms is not None,
            name_of=self._name_of,
            initial=self._initial_variables,
            snapshots={every: selector(some) for every, some in by_rhythm.items()},
        )
        return TensorFlowTap(model, wanted)

    def _telling_of_failure(self, train_function: Callable[..., Any]) -> Callable[..., Any]:
        # After an exception or Ctrl-C, TensorFlow's fit does not call on_train_end.
        @functools.wraps(train_function)
        def telling(*args: Any) -> Any:
            try:
                return train_function(*args)
            except BaseException as error:
                if self._tap is None or not self._tap.is_end_of_data(error):
                    self._fail(error)
                raise

        telling.__dict__["tapped"] = train_function
        return telling

    @_never_stops_training
    def _fail(self, error: BaseException) -> None:
        assert self._writer is not None
        self._writer.describe(error=f"{type(error).__name__}: {error}"[:1000])
        self._end(_status_of(error))

    def _release_unless_training(self) -> None:
        if not self._training:
            self._release()

    def _name_of(self, variable: Any) -> str:
        if id(variable) not in self._names:
            for path, layer in walk(self.model):
                for own in variables(path, layer):
                    self._names[id(own.variable)] = own.path
        return self._names.setdefault(id(variable), variable.path)

    # ---- taking

    def _take_initial(self) -> None:
        """The snapshot of step 0; of a model that its first step builds, the tap takes it."""
        if self._initial_taken:
            return
        self._initial_taken = True
        block: dict[str, Rows] = {}
        for quantity in self._layer_variables():
            block.update(self._snapshot(quantity, 0))
        self._write(block)

    def _initial_variables(self) -> list[LayerVariable]:
        if self._initial_taken:
            return []
        self._initial_taken = True
        return [v for quantity in self._layer_variables() for v in quantity.select(self.model)]

    def _describe(self) -> None:
        assert self._writer is not None
        self._described = True
        self._writer.describe(
            model=self.model.name,
            backend=keras.backend.backend(),
            steps_per_epoch=(self.params or {}).get("steps"),
            planned_epochs=(self.params or {}).get("epochs"),
            layers=[
                {
                    "path": path,
                    "class": type(layer).__name__,
                    "variables": {v.name: list(v.variable.shape) for v in variables(path, layer)},
                }
                for path, layer in walk(self.model)
            ],
        )

    def _snapshot(self, quantity: LayerVariables, step: int) -> dict[str, Rows]:
        return {
            layout.variable_dataset(v.layer, v.name): _rows_of(v, np.array([step]), v.variable.numpy()[None])
            for v in quantity.select(self.model)
        }

    def _record_batches(self, *, epoch_end: bool) -> None:
        self._last_drain, self._pending_calls = time.monotonic(), 0
        drained = self._tap.drain() if self._tap is not None and self._tap.works else None
        count = drained.count if drained is not None else self._clock.uncounted
        lost = drained.lost if drained is not None else 0
        if lost:
            self._note(f"{lost} batches were overwritten before they were read")
        if count and not self._described:
            self._describe()
        table = self._clock.rows(count, lost)
        block: dict[str, Rows] = {}
        if count:
            steps = table[:, 0].astype(np.int64)
            block[layout.STEPS] = Rows(steps, table, {"columns": list(layout.STEPS_COLUMNS)})
            if drained is not None:
                block.update(self._tables(drained, steps, epoch_end=epoch_end))
        if block:
            self._write(block)

    def _tables(self, drained: Drained, steps: Any, *, epoch_end: bool) -> dict[str, Rows]:
        block: dict[str, Rows] = {}
        metrics, norms = self._quantity(Metrics), self._quantity(GradientNorms)
        if metrics is not None and drained.metric_names:
            mask = kept(metrics.every, steps, epoch_end=epoch_end)
            about = {"columns": list(drained.metric_names)}
            block[layout.BATCH_SCALARS] = Rows(steps[mask], drained.metrics[mask].astype(np.float64), about)
        if norms is not None and drained.variable_names:
            mask = kept(norms.every, steps, epoch_end=epoch_end)
            about = {"columns": list(drained.variable_names)}
            block[layout.GRADIENT_NORMS] = Rows(steps[mask], drained.gradient_norms[mask], about)
        for chosen, calls, values in drained.snapshots:
            start = 0
            for v in chosen if len(calls) else ():
                size = int(np.prod(v.variable.shape))
                shaped = values[:, start : start + size].reshape(-1, *v.variable.shape)
                start += size
                name = layout.variable_dataset(v.layer, v.name)
                rows = _rows_of(v, self._clock.step_of_call(calls), shaped)
                block[name] = concatenate([block[name], rows]) if name in block else rows
        return block

    def _epoch_scalars(self, logs: dict[str, Any]) -> dict[str, Rows]:
        if self._quantity(Metrics) is None:
            return {}
        known = {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
        row = np.array([[float(self._clock.epoch), *known.values()]])
        steps = np.array([self._clock.step])
        return {layout.EPOCH_SCALARS: Rows(steps, row, {"columns": ["epoch", *known]})}

    def _write(self, block: dict[str, Rows], *, epoch_end: bool = False) -> None:
        assert self._writer is not None
        self._writer.write(block, epoch_end=epoch_end)
        self._tell_problems()

    def _end(self, status: str) -> None:
        self._training = self._open = False
        assert self._writer is not None
        try:
            if self._clock.epoch:
                self._record_batches(epoch_end=False)
        finally:
            self._release()
        self._writer.finish(status)
        self._tell_problems()

    def _release(self) -> None:
        if self._tap is not None:
            function = self.model.train_function
            self.model.train_function = getattr(function, "tapped", function)
            self._tap.remove()
            self._tapped = _compiled_state(self.model)

    # ---- what to record

    def _quantity(self, kind: type[Quantity]) -> Any:
        return next((q for q in self.quantities if type(q) is kind), None)

    def _layer_variables(self) -> list[LayerVariables]:
        return [q for q in self.quantities if isinstance(q, LayerVariables)]

    def _per_epoch(self) -> list[LayerVariables]:
        some = self._layer_variables()
        # Where no tap reaches the batches, the epoch's end must do.
        return some if self._tap is None else [q for q in some if batches(q.every) is None]

    def _per_batch(self) -> list[LayerVariables]:
        return [q for q in self._layer_variables() if batches(q.every) is not None]

    # ---- what could not be done

    def _tell_problems(self) -> None:
        for problem in self._tap.problems if self._tap is not None else ():
            self._note(problem)
        if self._writer is not None and self._writer.problems and not self._warned:
            if self._strict:
                raise RuntimeError(self._writer.problems[0])
            self._warn(self._writer.problems[0])

    def _note(self, problem: str) -> None:
        if self._writer is not None and problem not in self._writer.problems:
            self._writer.note(problem)

    def _give_up(self, error: Exception) -> None:
        self._given_up = True
        if self._tap is not None:
            self._tap.detach()
        problem = f"recording stopped: {type(error).__name__}: {error}"
        _log.debug(problem, exc_info=error)
        self._note(problem)
        if not self._strict:
            self._warn(problem)
        if self._writer is not None:
            self._writer.finish(self._status)

    def _warn(self, problem: str) -> None:
        self._warned = True
        message = f"InSituRecorder({str(self.path)!r}): {problem}. The training goes on."
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        except RuntimeWarning:
            # Warnings are errors here; a recorder still has no say in whether a training ends.
            _log.error(message)


def _rows_of(v: LayerVariable, steps: Any, values: Any) -> Rows:
    about = {"dims": ["snapshot", *v.dims], "filter_axis": 1 + v.filter_axis}
    return Rows(np.asarray(steps, np.int64), np.asarray(values, np.float32), about)


def _checked(quantities: Sequence[Quantity] | None) -> list[Quantity]:
    if quantities is None:
        return [Metrics(), GradientNorms(), Kernels(), Biases()]
    chosen = list(quantities)
    for quantity in chosen:
        if not isinstance(quantity, Quantity):
            raise ValueError(
                "Expected quantities to be a list such as [Metrics(), Kernels(every='batch')]. "
                f"Received: {quantity!r}."
            )
    kinds = [type(quantity).__name__ for quantity in chosen]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f"Expected each quantity once. Received {kind} {kinds.count(kind)} times.")
    return chosen


def _compiled_state(model: keras.Model) -> list[Any]:
    """What a tapped train function was built for; a function for other things must be traced anew."""
    modes = [model.run_eagerly, model.jit_compile, getattr(model, "steps_per_execution", 1)]
    return [model, model.optimizer, *modes, *model.metrics, *model.trainable_variables]


def _same(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _status_of(error: BaseException) -> str:
    return INTERRUPTED if isinstance(error, KeyboardInterrupt | SystemExit) else FAILED


def _close_at_exit(recorder: weakref.ref[InSituRecorder]) -> None:
    alive = recorder()
    if alive is not None:
        alive.close()
