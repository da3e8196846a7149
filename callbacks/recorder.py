"""InSituRecorder: the one callback a user adds to `fit`."""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, TypeVar, cast

import keras
import numpy as np

from tensorview_insitu.explain.walk import walk
from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.identity import FAILED, FINISHED, INTERRUPTED, RUNNING
from tensorview_insitu.run.rows import Block, Rows
from tensorview_insitu.run.writer import RunWriter, refuse_taken
from tensorview_insitu.text.one_line import one_line, told

from . import living
from .asked import Asked
from .asked_before import asked_otherwise, fingerprints
from .attempts import Attempts
from .audit import Audit, Doubt
from .begun import RECORDED, Begun
from .between_fits import BetweenFits
from .blocks import drained_rows, step_rows, table_rows
from .budget import Budget
from .clock import Clock
from .layers import Names, described
from .left_out import left_out
from .loop import Loop
from .numbers import numbers_of
from .predicted import Predicted
from .quantities import Biases, GradientNorms, Kernels, Metrics, Probed, Quantity, UpdateNorms, Variables
from .render import Render
from .tapping import Gate, Member
from .taps.tap import Copies, Drained, Piece, PredictionTap, Tap, Wanted
from .termination import Termination, uninterrupted
from .thinning import Thinner, step_stride
from .weights_audit import WeightsAudit

_DRAIN_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 60.0
_LAST_SECONDS = 1.5  # for what is left when the process is told to end
_log = logging.getLogger("tensorview_insitu")
_Hook = TypeVar("_Hook", bound=Callable[..., None])


def _never_stops_training(hook: _Hook) -> _Hook:
    """What goes wrong in a hook ends the recording with one warning, and never the training."""
    name, of_keras = hook.__name__, hook.__name__.startswith("on_")

    @functools.wraps(hook)
    def guarded(self: InSituRecorder, *args: Any, **kwargs: Any) -> None:
        # A process forked by a data loader has a copy of this recorder: the run is not its to write.
        if self._given_up or os.getpid() != self._pid:
            return
        if of_keras and self._training and self._of_others(sys._getframe(1), name):
            return
        start = time.perf_counter()
        try:
            with self._termination.held_back():
                hook(self, *args, **kwargs)
        except Exception as error:
            self._give_up(error)
            if self._strict:
                raise
        except BaseException as error:  # Ctrl-C while our own code ran: fit will not tell us of it
            if self._training:
                self._fail(error)
            raise
        finally:
            self._thinner.spent(time.perf_counter() - start)

    return cast(_Hook, guarded)


class InSituRecorder(keras.callbacks.Callback):
    """Callback that records what happens inside a training into a run on disk.

    With no further argument: the true loss and metrics, learning rate and the gradient norm of every
    variable at every batch; what Keras reports, the convolutions' (and small Dense layers') kernels and
    all biases at every epoch. It does not change the training by one bit, and nothing that goes wrong in
    it ends the training: it warns once and the run says what is missing.

    Given to `predict`, it records the scores of every sample, and with `Activations` what each layer
    answered to it; given to `evaluate`, what that reports, and the activations of the probe.

    Args:
        path: the run's folder, as `"runs/cxr"`; a new one.
        quantities: what to record, in place of the default
            `[Metrics(), GradientNorms(), Kernels(), Biases()]`.
        overwrite: replace an older run in that folder.
        resume: go on with an older run in that folder, if there is one: steps count on from its last.
        budget: what the recording may cost; without one nothing is ever thinned.
        render: have pictures made while it trains.
        durability: `"rename"`, files survive whatever happens to the process; `"fsync"`, also a power loss.
        strict: raise where the recorder would otherwise warn and let the training go on: for those to
            whom a training without its record is worth nothing.

    Raises:
        RunExistsError: the folder already holds a run or other files.
        ValueError: a quantity is given twice, or is none; overwrite and resume are both given.

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
        resume: bool = False,
        budget: Budget | None = None,
        render: Render | None = None,
        durability: Literal["rename", "fsync"] = "rename",
        strict: bool = False,
    ) -> None:
        super().__init__()
        if overwrite and resume:
            raise ValueError("Expected overwrite=True or resume=True. Received both.")
        if budget is not None and not isinstance(budget, Budget):
            raise ValueError(f"Expected budget to be Budget(...) or None. Received: budget={budget!r}.")
        if render is not None and not isinstance(render, Render):
            raise ValueError(f"Expected render to be Render(...) or None. Received: render={render!r}.")
        if durability not in ("rename", "fsync"):
            raise ValueError(f'Expected durability to be "rename" or "fsync". Received: {durability!r}.')
        self.path = Path(path)
        self.quantities = _checked(quantities)
        self._overwrite = overwrite
        self._resume = resume
        self._durable = durability == "fsync"
        self._strict = strict
        self._render = render
        self._given_up = not _is_chief()
        if self._given_up:
            _log.info("InSituRecorder(%r) leaves the recording to the chief worker.", str(self.path))
        else:
            living.end_those_over(path=self.path, seconds=_LONGEST_WAIT_SECONDS)
            refuse_taken(self.path, overwrite=overwrite, resume=resume)
        self._pid = os.getpid()
        self._writer: RunWriter | None = None
        self._tap: Tap | None = None
        self._prediction_tap: PredictionTap | None = None
        self._tapped: list[Any] = []
        self._clock = Clock()
        self._audit = Audit()
        self._audit_attempts = Attempts("the audit", self._note)
        self._weights_audit = (
            WeightsAudit() if any(isinstance(q, UpdateNorms) for q in self.quantities) else None
        )
        self._begun: Begun | None = None  # the quantities, for the model that is recorded
        self._thinner = Thinner(budget)
        self._termination = Termination(weakref.WeakMethod(self._terminate))
        self._loop: Loop | None = None  # that this records, or recorded last
        self._between_fits = BetweenFits()
        self._comparing = Attempts("the comparison with the fit before", self._note)
        self._gate: Gate | None = None
        self._prediction_gate: Gate | None = None
        self._member: Member | None = None
        self._placed = False  # the gate; other callbacks may have put something around it since
        self._seen_function: Any = None
        self._state_known = False
        self._calls_before = 0
        self._prediction_member: Member | None = None
        self._changing = threading.RLock()  # of hooks and the look for trainings that are over
        self._open = False  # the run is not finished
        self._training = False
        self._initial_taken = False
        self._built_before = False  # the model, before its first step
        self._described = False
        self._warned = False
        self._status = FINISHED
        self._last_drain = 0.0
        self._pending_calls = 0
        self._validation: set[str] = set()  # what Keras calls the metrics of a validation
        self._validation_told: set[str] | None = None
        self._predicted = Predicted()
        if not self._given_up:
            living.register(self)

    # ---- hooks, in the order in which training calls them

    def set_model(self, model: keras.Model) -> None:
        """Make the run's folder, and look whether what is to be recorded is there.

        Raises:
            ValueError: a quantity names a layer that the model does not have.
            RunExistsError: another recorder took the folder meanwhile.
        """
        if self._given_up:
            super().set_model(model)
            return
        caller = sys._getframe(1)
        if self._training and self._loop is not None and self._loop.runs():
            self.step_of_others()  # a callback's own fit, with the recorder of the fit that it is in
            return
        super().set_model(model)
        self._loop = Loop(caller, "set_model")
        problems = self._check(model)
        living.end_those_over(model=model)
        if self._writer is None:
            living.end_those_over(path=self.path, seconds=_LONGEST_WAIT_SECONDS)
            living.watch(self)
            try:
                self._writer = RunWriter(
                    self.path,
                    overwrite=self._overwrite,
                    resume=self._resume,
                    durable=self._durable,
                    strict=self._strict,
                )
            except RunExistsError:
                raise  # the user's own mistake, told before the training starts
            except OSError as error:
                self._give_up(error)
                if self._strict:
                    raise
            else:
                self._go_on()
                self._writer.reserve()
                atexit.register(_close_at_exit, weakref.ref(self))
        elif not self._writer.busy:
            self._writer.refuse_lost()
        self._attach(model, Loop(caller, "set_model"))  # the one before may be ended by then
        for problem in problems:
            self._note(problem)

    @_never_stops_training
    def _go_on(self) -> None:
        """With the run that the folder holds, if it holds one."""
        assert self._writer is not None
        step = self._writer.last_step
        self._clock.go_on_after(step, self._writer.last_epoch)
        self._initial_taken = step > 0
        self._predicted.go_on_after(self._writer.last_sample)
        self._between_fits.resume(self._writer.last_snapshots)
        self._comparing(lambda: self._compare_asked(step), step)

    def _compare_asked(self, step: int) -> None:
        assert self._writer is not None
        asked = fingerprints([q for q in self.quantities if isinstance(q, Probed)])
        before = self._writer.identity.get("asked", {})
        for sentence in asked_otherwise(asked, before, step):
            self._note(sentence)
        self._writer.describe(asked={**before, **asked})

    def _check(self, model: keras.Model) -> list[str]:
        """Raise what the user is to know before the training; other errors of a check cost nothing."""
        problems = []
        for quantity in self.quantities:
            try:
                quantity.check(model)
            except ValueError:
                raise
            except Exception as error:
                problems.append(f"{quantity.called} could not be checked before the training: {told(error)}")
        return problems

    @_never_stops_training
    def _attach(self, model: keras.Model, loop: Loop) -> None:
        living.watch(self)
        with self._changing:
            if self._training:  # the fit before this one ended in an exception that nobody told us of
                self._end(INTERRUPTED)
            elif self._open:
                self._release()
            self._loop, self._open = loop, True
            if self._begun is None or self._begun.model is not model:
                self._begun = Begun(self.quantities, model, self._note)
                self._thinner.begin(self._begun)
            self._renew_taps(model)
            self._place_gate()

    def _renew_taps(self, model: keras.Model) -> None:
        if not _same(self._tapped, _compiled_state(model)):
            self._tap = self._new_tap(model)
            self._prediction_tap = self._new_prediction_tap(model)

    @_never_stops_training
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Listen for a training that ends in an exception."""
        if self._training or not self._open:  # a list of callbacks that is used again comes without set_model
            self._attach(self.model, self._loop_here("on_train_begin"))
        assert self._writer is not None and self._begun is not None
        with self._changing:
            self._loop = self._loop_here("on_train_begin")
            self._training = True
            self._status = INTERRUPTED
        self._begin_writing()
        self._clock.begin_fit()
        self._audit.begin_fit()
        if self._weights_audit is not None:
            self._weights_audit.begin_fit()
        self._described = False
        self._validation, self._validation_told = set(), None
        self._built_before = self._built()
        if self._built_before:
            self._describe()
            self._write(self._begun.thawed(self._clock.step))
        self._enter_gate()
        if self._render is not None and (problem := self._render.start(self.path)):
            self._note(problem)

    def _begin_writing(self) -> None:
        assert self._writer is not None
        self._last_drain = time.monotonic()
        self._writer.resume()
        self._termination.listen()

    @_never_stops_training
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note which epoch the next batches belong to."""
        self._take_up_again("on_epoch_begin")
        self._clock.begin_epoch(epoch)
        self._audit.begin_epoch(self._updates_taken())
        self._thinner.begin_epoch()

    @_never_stops_training
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Read the ring when it may be full, or once a second; take what is due of the probe.

        Before the first batch of all: take the model as it is before training. Not earlier: callbacks
        (BackupAndRestore) may load weights when the training begins.

        Here and not in on_train_batch_end: on asynchronous backends that hook alone would make all
        callbacks wait for every batch.
        """
        assert self._begun is not None
        self._take_up_again("on_train_batch_begin")
        if not self._initial_taken and self._built_before:
            self._take_initial()
        self._compare_variables()
        self._keep_gate()
        at_once = self._at_once()
        due = self._probed_due_by_step()
        if due or (
            self._tap is not None
            and (
                self._pending_calls + at_once > self._tap.capacity
                or time.monotonic() - self._last_drain > _DRAIN_SECONDS
            )
        ):
            self._record_batches(epoch_end=False)
            self._take_probed(due)
        self._clock.begin_batch(batch, at_once)
        self._audit.begin_batches(at_once)
        self._pending_calls += at_once

    def _compare_variables(self) -> None:
        begun, step = self._begun, self._clock.step
        if begun is not None and self._between_fits.is_due:
            set_meanwhile = self._comparing(lambda: self._between_fits.begin(begun, step), step)
            if set_meanwhile:
                self._note(set_meanwhile)

    @_never_stops_training
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record what came since, the epoch's logs, and the snapshots due at its end."""
        assert self._begun is not None
        self._take_up_again("on_epoch_end")
        self._note_state()
        due_by_step = self._probed_due_by_step()
        self._record_batches(epoch_end=True)
        self._describe_validation()
        block = self._epoch_scalars(logs or {})
        step, epoch = self._clock.step, self._clock.epoch
        block.update(self._begun.copied(self._due_at_end_of(epoch), step))
        block.update(self._begun.changed(self._begun.by_step if self._tap is not None else [], step))
        self._write(block, epoch_end=True)
        self._audit_attempts(lambda: self._end_audit(logs or {}), step)
        asked = self._begun.asked
        self._take_probed([q for q in asked if q in due_by_step or q.schedule.due_at_end_of(epoch)])
        self._note_thinned(self._thinner.end_epoch(self._tap, self._writer))
        self._clock.end_epoch()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the model as it was found, and pack the run."""
        if self._of_others(sys._getframe(), "on_train_end"):
            return
        if self._given_up:
            self._release()
            self.close()
        else:
            self._finish()

    @_never_stops_training
    def _finish(self) -> None:
        self._end(FINISHED)

    # ---- hooks of evaluate and predict

    @_never_stops_training
    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Record what a lone `evaluate` reports, and what the layers answer to the probe."""
        if self._training:
            # An output may be called "val": only this tells its loss from that of a validation.
            self._validation |= {f"val_{name}" for name in logs or {}}
            return
        known = self._numbers(logs or {}, layout.EVALUATE_SCALARS)
        if known:
            at = np.array([self._clock.step], np.int64)
            row = table_rows(at, list(known), np.array([list(known.values())]))
            self._write({layout.EVALUATE_SCALARS: row})
        self._take_probed(self._begun.asked if self._begun is not None else [])
        self._finish_phase()

    @_never_stops_training
    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Tap what the layers answer, where that is asked for."""
        if self._training or self._prediction_tap is None:
            return
        self._loop = self._loop_here("on_predict_begin")
        self._prediction_tap.prepare()
        self._prediction_gate = Gate.of(self.model, self._prediction_gate, "predict")
        self._prediction_member = Member(self._loop, self._prediction_tap, self, announced=True)
        self._prediction_gate.add(self._prediction_member)
        self._prediction_gate.place()

    @_never_stops_training
    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the scores of the batch, and what the layers answered to it."""
        if self._training:
            return
        if self._prediction_member is not None:
            self._prediction_member.announced = True
        answers, lost = self._prediction_tap.drain() if self._prediction_tap is not None else ({}, 0)
        if lost:
            self._note(f"the activations of {lost} predicted samples were overwritten before they were read")
        block = self._predicted.rows(self.model, logs or {}, answers)
        for problem in self._predicted.problems:
            self._note(problem)
        self._write(block)

    @_never_stops_training
    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the model as it was found."""
        self._finish_phase()

    def _finish_phase(self) -> None:
        if self._training:
            return
        with self._changing:
            self._release()
            self._open = False
        if self._writer is not None:
            self._describe()
            # What a training ended with stays, whatever was predicted or evaluated afterwards.
            ended = self._writer.identity["status"] if self._clock.step else FINISHED
            self._writer.finish(FINISHED if ended == RUNNING else ended)
            self._tell_problems()

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
        if self._open and not self._given_up:
            self._close()
        elif self._writer is not None and os.getpid() == self._pid:
            self._writer.wait()  # for what goes on in the background

    @_never_stops_training
    def _close(self) -> None:
        with self._changing:
            if self._open:
                self._end(self._status)

    @_never_stops_training
    def _terminate(self, for_good: bool) -> None:
        """The process was told to end: save what there is; for good, or a handler may let it go on."""
        if self._open and self._training:
            self._record_batches(epoch_end=False)
            assert self._writer is not None
            if for_good:
                self._writer.finish(INTERRUPTED, packed=False, seconds=_LAST_SECONDS)
            else:
                self._writer.flush(seconds=_LAST_SECONDS)

    # ---- the taps

    def _new_tap(self, model: keras.Model) -> Tap | None:
        begun = self._begun
        assert begun is not None
        if not begun.wants_steps or not model.compiled:  # what is not compiled can only predict
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
        from .taps.tensorflow_tap import TensorFlowTap

        def pieces_of(variables: Variables) -> Callable[[], list[Piece]]:
            def select() -> list[Piece]:
                self._plan()
                return begun.trained_pieces(variables)

            return select

        by_step = begun.by_step
        wanted = Wanted(
            metrics=begun.metrics is not None,
            gradient_norms=begun.norm_schedule(),
            name_of=Names(model),
            initial=self._initial_pieces,
            copies=[Copies(v.schedule, pieces_of(v), functools.partial(step_stride, v)) for v in by_step],
            updates=begun.updates(),
            steps_before=self._clock.step,
            thinnable=self._thinner.budget is not None,
        )
        return TensorFlowTap(model, wanted)

    def _new_prediction_tap(self, model: keras.Model) -> PredictionTap | None:
        activations = self._begun.activations if self._begun is not None else None
        if activations is None or keras.backend.backend() != "tensorflow":
            return None
        from .taps.tensorflow_tap import TensorFlowPredictionTap

        return TensorFlowPredictionTap(model, activations.wants)

    # ---- whose training it is

    def _loop_here(self, hook: str) -> Loop:
        return Loop(sys._getframe(1), hook)

    def _of_others(self, frame: FrameType, hook: str) -> bool:
        """Whether a hook is called by another training than the one that is recorded."""
        if not self._training or self._loop is None:
            return False
        lists = self._loop.lists_between(frame)
        if lists is not None:
            self._loop.seen()
            return lists > 1
        if not self._loop.exact:
            self._loop.widen(frame)
        elif self._loop.runs():  # in another thread
            self.step_of_others()
            return True
        elif hook != "on_train_begin":
            self._loop = Loop(frame, hook)
            if self._member is not None:
                self._member.loop = self._loop
        return False

    @property
    def trained(self) -> keras.Model | None:
        """The model that it was given last."""
        return self.model

    def end_if_over(self, *, surely: bool = False, seconds: float = 0.0) -> bool:
        """End the recording if its training is over, though nobody said so.

        Args:
            surely: only where the frame of the training's loop is known for sure.
            seconds: the longest time to wait for the disk.

        Returns:
            Whether it goes on.
        """
        if os.getpid() != self._pid:
            return False
        with self._changing:
            if self._open or (self._writer is not None and self._writer.open):
                loop = self._loop
                if loop is not None and ((surely and not loop.known) or loop.runs()):
                    return True
                self._over()
        if self._writer is not None and seconds:
            self._writer.wait(seconds)
        return False

    @_never_stops_training
    def _over(self) -> None:
        for gate, member in self._memberships():
            # The model may be in use in another thread by now: it is left alone. It holds the gate, though.
            gate.discard(member, forget=True)
        self._end(INTERRUPTED, seconds=0, leave_model=True)

    def _take_up_again(self, hook: str) -> None:
        """A training whose loop was on no stack for a while (greenlets, cells of a notebook) goes on."""
        if not self._training:
            self._attach(self.model, Loop(sys._getframe(2), hook))
            self._training = True
            self._begin_writing()
            self._enter_gate()

    def step_of_others(self) -> None:
        """Something else trains the model, or asks this recorder to record it, while it records a fit."""
        self._note("steps that a callback, or another thread, took beside the recorded fit are not recorded")

    def tap_failed(self, error: Exception) -> None:
        """A tap could not be put in place."""
        self._note(f"batches are not recorded: {told(error)}")

    def tap_refused(self, reason: str) -> None:
        """With its tap, the model would be trained in another way than without."""
        self._note(f"batches are not recorded: {reason}")
        self._tap = self._member = None
        self._tapped = []  # another fit may be tapped again

    def step_failed(self, error: BaseException) -> None:
        """A step of the recorded fit raised this: Keras will not call on_train_end."""
        if self._tap is None or not self._tap.is_end_of_data(error):
            self._fail(error)
        else:
            self._audit.end_of_data()

    @_never_stops_training
    def _fail(self, error: BaseException) -> None:
        assert self._writer is not None
        self._writer.describe(error=f"{type(error).__name__}: {error}"[:1000])
        with self._changing:
            self._end(_status_of(error))

    # ---- the gate, through which the steps go

    def _place_gate(self) -> None:
        if self._tap is not None and self._tap.works:
            self._gate = Gate.of(self.model, self._gate)
            self._gate.place()
            self._placed = True

    def _enter_gate(self) -> None:
        if self._tap is None or not self._tap.works or self._loop is None:
            return
        self._tap.prepare()
        if not self._placed:
            self._place_gate()
        assert self._gate is not None
        self._member = Member(self._loop, self._tap, self)
        self._state_known, self._calls_before = False, 0
        self._gate.add(self._member)
        self._seen_function = self.model.train_function

    def _keep_gate(self) -> None:
        """A step follows. Should a callback have built another train function, that one is tapped too."""
        if self._member is None or self._gate is None:
            return
        stalled = self._note_state()
        function = self.model.train_function
        if stalled or function is not self._seen_function:
            self._seen_function = function
            known = self._state_known
            changed = stalled or (known and not _same(self._tapped, _compiled_state(self.model)))
            if changed and not self._gate.in_place():
                beside = (
                    stalled if self._member.calls else 0
                )  # without any call all are counted as they begin
                self._record_batches(epoch_end=False)
                self._audit.steps(0, beside)
                self._clock.rows(0, beside)
                self._leave_gate()
                self._tap = self._new_tap(self.model)
                self._enter_gate()
        if self._member is not None:
            self._member.announced = True
            self._calls_before = self._member.calls

    def _note_state(self) -> int:
        """The number of batches just before that did not come through the gate."""
        if self._member is None or not self._clock.uncounted:
            return 0
        # After a step: the first may make variables and metrics.
        if self._member.calls and not self._state_known:
            self._tapped, self._state_known = _compiled_state(self.model), True
        if self._member.calls > self._calls_before:
            return 0
        self._note("batches are not recorded where something else than the model's train_function trains it")
        return self._at_once()

    def _memberships(self) -> list[tuple[Gate, Member]]:
        pairs = [(self._gate, self._member), (self._prediction_gate, self._prediction_member)]
        return [(gate, member) for gate, member in pairs if gate is not None and member is not None]

    def _leave_gate(self) -> None:
        for gate, member in self._memberships():
            gate.discard(member)
        for each in (self._gate, self._prediction_gate):
            if each is not None:
                each.leave()
        self._member = self._prediction_member = None
        self._placed = False

    def _built(self) -> bool:
        return all(layer.built for _, layer in walk(self.model))

    # ---- taking

    def _take_initial(self) -> None:
        """The snapshot of step 0; of a model that its first step builds, the tap takes it."""
        if self._initial_taken:
            return
        assert self._begun is not None
        self._initial_taken = True
        self._plan()
        self._write(self._begun.copied(self._begun.variables, 0))
        self._take_probed(self._begun.asked)

    def _initial_pieces(self) -> list[Piece]:
        if self._initial_taken or self._built_before or self._begun is None:
            return []
        self._initial_taken = True
        self._plan()
        return self._begun.pieces()

    def _plan(self) -> None:
        params, free = self.params or {}, self._writer.free_bytes if self._writer is not None else 0
        self._note_thinned(self._thinner.plan(params.get("steps"), params.get("epochs"), free))

    def _describe(self) -> None:
        assert self._writer is not None and self._begun is not None
        self._described = True
        self._writer.describe(
            model=self.model.name,
            backend=keras.backend.backend(),
            layers=described(self.model),
            left_out=left_out(self._begun),
        )
        if self._training:  # and not an `evaluate` or `predict` afterwards
            params = self.params or {}
            self._writer.describe(steps_per_epoch=params.get("steps"), planned_epochs=params.get("epochs"))

    def _describe_validation(self) -> None:
        if self._writer is not None and self._validation_told != self._validation:
            # Of a run that is gone on with, what it had before stays.
            told = {*self._writer.identity.get("validation", []), *self._validation}
            self._writer.describe(validation=sorted(told))
            self._validation_told = set(self._validation)

    def _probed_due_by_step(self) -> list[Asked]:
        # Before every batch: nothing is looked up or computed where there is nothing to take.
        asked = self._begun.asked if self._begun is not None else []
        by_step = [one for one in asked if one.schedule.by_step]
        if not by_step:
            return []
        since = self._clock.step + 1 + np.arange(self._clock.uncounted)
        return [one for one in by_step if one.schedule.due(since).any()]

    def _take_probed(self, due: Sequence[Asked]) -> None:
        for asked in due if self._built() else ():
            if self._thinner.skips(asked):
                continue
            start = time.perf_counter()
            block = asked.take(self._clock.step)
            size = sum(rows.nbytes for rows in block.values())
            self._thinner.took(asked, time.perf_counter() - start, size)
            self._write(block)

    def _record_batches(self, *, epoch_end: bool, broken_off: bool = False) -> None:
        whole = False
        try:
            with self._changing, uninterrupted():
                self._take_rows(epoch_end=epoch_end, broken_off=broken_off)
                whole = True
        except BaseException as error:
            if not whole and not isinstance(error, Exception):
                self._tapped = []  # what was half read cannot be gone on with
                self._note("batches are missing whose rows were being read when the training broke off")
            raise

    def _take_rows(self, *, epoch_end: bool, broken_off: bool) -> None:
        self._last_drain, self._pending_calls = time.monotonic(), 0
        drained: Drained | None = self._tap.drain() if self._tap is not None and self._tap.works else None
        count = drained.count if drained is not None else self._count_without_tap(broken_off)
        lost = drained.lost if drained is not None else 0
        if lost:
            self._note(f"{lost} batches were overwritten before they were read")
        self._audit.steps(count, lost)
        for column, parts in drained.columns.items() if drained is not None else ():
            self._audit.add(column, parts)
        if count and not self._described:
            self._describe()
        table = self._clock.rows(count, lost)
        if not count:
            return
        rows = step_rows(table)
        block = {layout.STEPS: rows}
        if drained is not None:
            assert self._begun is not None
            tables, epoch = self._begun.tabled(), self._clock.epoch
            block.update(drained_rows(drained, tables, rows.steps, epoch=epoch, epoch_end=epoch_end))
            self._begun.saw(block)
        self._write(block)

    def _count_without_tap(self, broken_off: bool) -> int:
        if self._tap is not None and self._tap.works and self._member is not None and self._member.calls:
            return 0  # steps have begun, and none has come to its end
        # Of the last one that was announced nobody knows whether it came to its end.
        return max(0, self._clock.uncounted - (self._at_once() if broken_off else 0))

    def _at_once(self) -> int:
        return int(getattr(self.model, "steps_per_execution", 1) or 1)

    # ---- what the recorder knows twice must agree

    def _updates_taken(self) -> int | None:
        return self._tap.updates_taken() if self._tap is not None else None

    def _end_audit(self, logs: dict[str, Any]) -> None:
        self._distrust(self._audit.compare(numbers_of(logs)[0], self._clock.epoch))
        if self._tap is not None and self._tap.works:
            for sentence in self._audit.compare_steps(self._updates_taken(), self._clock.epoch):
                self._note(sentence)

    def _distrust(self, doubts: Sequence[Doubt]) -> None:
        for doubt in doubts:
            assert self._writer is not None
            if self._writer.distrust(doubt.dataset, doubt.column, doubt.reason):
                self._warn(f"{doubt.dataset}: {doubt.column} is not to be trusted: {doubt.reason}")

    def _epoch_scalars(self, logs: dict[str, Any]) -> dict[str, Rows]:
        if self._begun is None or self._begun.metrics is None:
            return {}
        known = self._numbers(logs, layout.EPOCH_SCALARS)
        row = np.array([[float(self._clock.epoch), *known.values()]])
        return {layout.EPOCH_SCALARS: table_rows(np.array([self._clock.step]), ["epoch", *known], row)}

    def _write(self, block: Block, *, epoch_end: bool = False) -> None:
        assert self._writer is not None
        if block or epoch_end:
            self._writer.write(block, epoch_end=epoch_end)
        if self._weights_audit is not None:
            audit = self._weights_audit
            self._audit_attempts(lambda: self._distrust(audit.observe(block)), self._clock.step)
        self._tell_problems()

    def _end(self, status: str, *, seconds: float = _LONGEST_WAIT_SECONDS, leave_model: bool = False) -> None:
        self._training = self._open = False
        assert self._writer is not None
        recorded = False
        try:
            if self._clock.epoch:
                self._record_batches(epoch_end=False, broken_off=status != FINISHED)
            recorded = True
        finally:
            self._release(leave_model=leave_model)
            self._writer.finish(status, seconds=seconds if recorded else 0)
        if self._clock.step and status == FINISHED:
            self._comparing(lambda: self._between_fits.end(self._begun), self._clock.step)
        self._tell_problems()

    def _release(self, *, leave_model: bool = False) -> None:
        self._termination.stop_listening()
        if self._loop is not None:
            self._loop.end()
        if leave_model:
            self._member = self._prediction_member = None
            self._placed = False
        else:
            self._leave_gate()
        living.leave(self)

    # ---- what to record

    def _due_at_end_of(self, epoch: int) -> list[Variables]:
        assert self._begun is not None
        return [
            variables
            for variables in self._begun.variables
            # Where no tap reaches the batches, the epoch's end must do.
            if (variables.schedule.by_step and self._tap is None)
            or (variables.schedule.due_at_end_of(epoch) and not self._thinner.skips(variables))
        ]

    def _numbers(self, logs: dict[str, Any], dataset: str) -> dict[str, float]:
        known, refused = numbers_of(logs)
        for name, why in refused.items():
            self._note(f'"{one_line(name)}" is not in {dataset}: {why}')
        return known

    # ---- what could not be done

    def _tell_problems(self) -> None:
        for tap in (self._tap, self._prediction_tap):
            for problem in tap.problems if tap is not None else ():
                self._note(problem)
        new = self._writer.problems[self._writer.old_problems :] if self._writer is not None else []
        if new and not self._warned:
            if self._strict:
                raise RuntimeError(new[0])
            self._warn(new[0])

    def _note(self, problem: str) -> None:
        problem = one_line(problem)
        if self._writer is not None and problem not in self._writer.problems:
            self._writer.note(problem)

    def _note_thinned(self, lines: Sequence[str]) -> None:
        if lines and self._writer is not None:
            self._writer.describe(thinned=list(self._thinner.thinned))
            _log.warning("InSituRecorder(%r) keeps to its budget: %s.", str(self.path), "; ".join(lines))

    def _give_up(self, error: Exception) -> None:
        self._given_up = True
        for gate, member in self._memberships():
            gate.discard(member)
        problem = f"recording stopped: {told(error)}"
        _log.debug(problem, exc_info=error)
        self._note(problem)
        if not self._strict:
            self._warn(problem)
        if self._writer is not None:
            self._writer.finish(self._status, seconds=0)  # the training goes on

    def _warn(self, problem: str) -> None:
        self._warned = True
        message = f"InSituRecorder({str(self.path)!r}): {problem.rstrip('.')}. The training goes on."
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        except RuntimeWarning:
            # Warnings are errors here; a recorder still has no say in whether a training ends.
            _log.error(message)


def _checked(quantities: Sequence[Quantity] | None) -> list[Quantity]:
    if quantities is None:
        return [Metrics(), GradientNorms(), Kernels(), Biases()]
    chosen = list(quantities)
    for quantity in chosen:
        if not isinstance(quantity, RECORDED):
            raise ValueError(
                "Expected quantities to be a list such as [Metrics(), Kernels(every='batch')], one of your "
                f"own derived from Numbers. Received: {quantity!r}."
            )
        quantity.schedule  # noqa: B018 - raises where every is wrong
    labels = [quantity.label for quantity in chosen]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"Expected each quantity once. Received {label} {labels.count(label)} times.")
    return chosen


def _compiled_state(model: keras.Model) -> list[Any]:
    """What a tapped train function was built for; a function for other things must be traced anew."""
    modes = [model.run_eagerly, model.jit_compile, getattr(model, "steps_per_execution", 1)]
    return [model, getattr(model, "optimizer", None), *modes, *model.metrics, *model.trainable_variables]


def _same(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _is_chief() -> bool:
    """Whether this is the one process of a multi-worker training that is to record it."""
    try:
        task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
        return task.get("type", "chief") in ("chief", "worker") and int(task.get("index", 0)) == 0
    except (ValueError, AttributeError, TypeError):
        return True


def _status_of(error: BaseException) -> str:
    return INTERRUPTED if isinstance(error, KeyboardInterrupt | SystemExit) else FAILED


def _close_at_exit(recorder: weakref.ref[InSituRecorder]) -> None:
    alive = recorder()
    if alive is not None:
        alive.close()
