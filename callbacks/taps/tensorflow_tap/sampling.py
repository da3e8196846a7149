"""Two train functions, one with gradient norms and one without, for models whose norms take time.

A condition inside one function does not help: the gradients are kept for it at every step, and that
costs what the norms do (measured on ResNet50).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tensorview_insitu.libc import give_memory_back

from ...layers import trainable_parameters
from ...schedule import Schedule
from .trace import trace_of

# Of so many parameters the norms take a millisecond or so: worth the seconds of a second trace.
_WORTH_A_TRACE = 1_000_000


class Sampling:
    """Calls the function without norms at the steps that need none.

    Args:
        model: the one that is trained.
        full: the train function that Keras built for it, with norms.
    """

    def __init__(self, model: keras.Model, full: Callable[..., Any]) -> None:
        self.full = full
        self.leaving_out = False  # read where a function is traced
        self._model = model
        self._short: Callable[..., Any] | None = None
        self._schedule: Schedule | None = None
        self._at_once = int(getattr(model, "steps_per_execution", 1) or 1)
        self._steps = 0
        self._since = 0

    def settle(self, schedule: Schedule) -> None:
        """Leave the norms out at other steps than these, if that is worth it."""
        large = trainable_parameters(self._model) > _WORTH_A_TRACE
        if large and schedule.by_step and schedule.every != 1:
            self._schedule = schedule

    def count(self, steps: int) -> None:
        """So many steps are done."""
        self._steps, self._since = steps, 0

    def train_function(self, data: Any) -> Any:
        """Do the next step, or as many as one call does."""
        following = self._steps + self._since
        self._since += self._at_once
        self.leaving_out = False
        if self._schedule is not None:
            steps = following + np.arange(1, self._at_once + 1)
            self.leaving_out = not self._schedule.due(steps).any()
        if not self.leaving_out:
            return self.full(data)
        return self._trace(data) if self._short is None else self._short(data)

    def _trace(self, data: Any) -> Any:
        of_fit = self._model.train_function
        self._model.make_train_function(force=True)
        self._short = self._model.train_function
        self._model.train_function = of_fit
        # Traced later, it may do something else, or have random numbers that go on from another place.
        before, now = trace_of(self.full, [data]), trace_of(self._short, [data])
        if before is not None and (now is None or not before.goes_on_as(now)):
            self._short, self.leaving_out = self.full, False
        logs = self._short(data)
        give_memory_back()  # tracing leaves behind some 100 MB for ResNet50
        return logs
