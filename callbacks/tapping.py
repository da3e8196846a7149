"""Gate: what `fit` calls in place of the train function that Keras built.

A call that comes from the loop of a recording is recorded; any other call - a `fit` without the recorder, a
`train_on_batch`, a callback that trains the model itself - does what Keras' own function does, untouched. The
model's `train_step` is tapped only while a recorded call lasts: nothing of it stays on the model.

What is recorded is trained by another function than Keras', which must do the same: where the model has a
train function that somebody else made, or goes on with a trace of what has changed since, nothing is tapped.
A trace outlives the recording, as it would unrecorded: the gate stays on the model until something trains it
again, and that goes on with the tapped trace unless Keras' own function would do the same.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, Protocol

import keras

from . import living
from .loop import Loop
from .same_function import same_function
from .taps.tap import PredictionTap, Tap

Kind = Literal["train", "predict"]


class Recording(Protocol):
    """What a gate tells a recording."""

    def step_failed(self, error: BaseException) -> None:
        """A step of its loop raised this."""

    def step_of_others(self) -> None:
        """Something else trained the model while its loop runs."""

    def tap_failed(self, error: Exception) -> None:
        """Its tap could not be put in place."""

    def tap_refused(self, reason: str) -> None:
        """With its tap, the model would be trained in another way."""


@dataclass(eq=False)
class Member:
    """One recording of a model.

    Args:
        loop: that trains it.
        tap: takes the numbers.
        recording: is told what happens.
        announced: whether a hook said that a call follows; asked only where the loop's frame is not known
            for sure.

    Attributes:
        calls: how many were recorded.
    """

    loop: Loop
    tap: Tap | PredictionTap
    recording: Recording
    announced: bool = False
    calls: int = 0

    def owns(self, caller: FrameType) -> bool:
        """Whether a call from there is a step of its loop."""
        return (self.loop.exact or self.announced) and self.loop.lists_between(caller) == 0


class Gate:
    """Stands in place of `model.train_function`, or of `model.predict_function`.

    Args:
        model: the model; Keras has built its function.
        kind: which function.
    """

    def __init__(self, model: keras.Model, kind: Kind = "train") -> None:
        self._model = model
        self._kind = kind
        self._step_name = f"{kind}_step"
        self._members: list[Member] = []
        # Each is held by its taps, so that it goes with their recorders.
        self._tapped: weakref.WeakValueDictionary[tuple[int, ...], _Tapped] = weakref.WeakValueDictionary()
        self._last: _Tapped | None = None  # that trained the model last, so that its trace is gone on with
        self.untapped = self._function or self._built()

    @classmethod
    def of(cls, model: keras.Model, before: Gate | None, kind: Kind = "train") -> Gate:
        """The gate in place, or the one from before with what was traced for it, or a new one."""
        function = getattr(model, f"{kind}_function")
        if isinstance(function, Gate):
            return function
        if before is not None and before._model is model and before.untapped is function:
            return before
        return cls(model, kind)

    def place(self) -> None:
        """Have the model call it; before other callbacks put something of theirs around what is there."""
        self._function = self

    def add(self, member: Member) -> None:
        """Record what belongs to the member's loop, from now on."""
        self._members.append(member)

    def discard(self, member: Member, *, forget: bool = False) -> None:
        """Record no more for it. Safe from any thread: the model is left to the thread that trains it.

        Args:
            member: which.
            forget: also what was traced for it.
        """
        if member in self._members:
            self._members.remove(member)
        if forget:
            member.tap.traced = None

    def leave(self) -> None:
        """Put Keras' function back where nobody records any more; in the thread that trains."""
        if not self._members and self._function is self and self._last is None:
            self._function = self.untapped
        self._clean()

    def in_place(self) -> bool:
        """Whether the model still has it."""
        return self._function is self

    def __call__(self, *args: Any) -> Any:
        """Do a step, or as many as one call does."""
        caller = sys._getframe(1)
        own = [member for member in self._members if member.owns(caller)]
        if not own:
            return self._pass(caller, args)
        if len(own) < len(self._members):
            self._tell_others(own, caller)
        try:
            tapped = self._for([member.tap for member in own], args)
        except _RefusedError as refusal:
            for member in own:
                self.discard(member)
                member.recording.tap_refused(str(refusal))
            return self._pass(caller, args)
        except Exception as error:  # our own mistake must not end a training
            for member in own:
                self.discard(member)
                member.recording.tap_failed(error)
            return self._pass(caller, args)
        for member in own:
            member.calls += 1
            member.announced = False
        if self._kind == "train":
            self._last = tapped
        try:
            return self._with_step(tapped.step, tapped.function, *args)
        except BaseException as error:
            # After an exception or Ctrl-C, TensorFlow's fit does not call on_train_end.
            for member in own:
                member.recording.step_failed(error)
            raise

    def _pass(self, caller: FrameType, args: Any) -> Any:
        self._tell_others([], caller)
        if not self._members and self._last is not None:
            return self._go_on(self._last, args)
        self.leave()
        return self.untapped(*args)

    def _go_on(self, last: _Tapped, args: Any) -> Any:
        """Train the model, which nobody records any more, as it would go on unrecorded."""
        if not last.kept:
            try:
                last.kept = bool(last.taps[0].why_unlike(last.built, self.untapped, args))
            except Exception:  # what would be traced now fails
                last.kept = True
        if not last.kept:
            self._last = None
            self.leave()
            return self.untapped(*args)
        return self._with_step(last.step, last.built, *args)

    def _tell_others(self, own: Sequence[Member], caller: FrameType) -> None:
        for member in [member for member in self._members if member not in own]:
            if member.loop.lists_between(caller) is None:
                living.look_now()  # a loop that is over, or one of another thread
            else:
                member.recording.step_of_others()

    def _for(self, taps: Sequence[Any], args: Any) -> _Tapped:
        key = tuple(map(id, taps))
        if key not in self._tapped:
            self._clean()
            if not same_function(self.untapped, self._built()):
                raise _RefusedError(
                    f"the model's {self._kind}_function is not what Keras builds for it now: something else "
                    f"set it, or what it was built of has changed since; "
                    f"model.make_{self._kind}_function(force=True) builds it anew"
                )
            step = getattr(self._model, self._step_name)
            for tap in taps:
                step = tap.tapped(step)
            built = function = self._with_step(step, self._built)
            before = self.untapped if self._last is None else self._last.built
            for tap in taps:
                if reason := self._with_step(step, tap.why_unlike, before, built, args):
                    raise _RefusedError(reason)
            for tap in taps:
                function = tap.started(function)
            tapped = self._tapped[key] = _Tapped(list(taps), built, function, step)
            for tap in taps:
                tap.traced = tapped
        return self._tapped[key]

    def _with_step(self, step: Any, do: Callable[..., Any], *args: Any) -> Any:
        # Keras looks the step up where it builds its function, or (before 3.10) where it traces it.
        # Straight into __dict__: __setattr__ of Keras and TensorFlow would track what is assigned.
        own, name = self._model.__dict__, self._step_name
        before = own.get(name)
        try:
            own[name] = step
            return do(*args)
        finally:
            if before is None:
                own.pop(name, None)
            else:
                own[name] = before

    def _clean(self) -> None:
        # Should Ctrl-C ever come between two lines of `_with_step`.
        own = self._model.__dict__
        if own.get(self._step_name) in [tapped.step for tapped in self._tapped.values()]:
            del own[self._step_name]

    def _built(self) -> Callable[..., Any]:
        """What Keras builds now; what it had built stays in place."""
        before = self._function
        try:
            self._function = None
            getattr(self._model, f"make_{self._kind}_function")()
            built: Callable[..., Any] = self._function
        finally:
            self._function = before
        return built

    @property
    def _function(self) -> Any:
        return getattr(self._model, f"{self._kind}_function")

    @_function.setter
    def _function(self, function: Any) -> None:
        setattr(self._model, f"{self._kind}_function", function)


class _RefusedError(Exception):
    """A tapped function would not do what the untapped does."""


@dataclass(eq=False)
class _Tapped:
    """A function that Keras built while the model's step was tapped.

    Args:
        taps: that it holds.
        built: as Keras built it.
        function: what is called: the same, or what leaves something out at times.
        step: the tapped step.
        kept: whether Keras' own function would do something else, so that the model goes on with this.
    """

    taps: Sequence[Any]
    built: Callable[..., Any]
    function: Callable[..., Any]
    step: Any
    kept: bool = False
