"""Which step, epoch and batch a row belongs to, and when it began."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Clock:
    """Counts over all `fit` calls of one recorder.

    A tap says only how many `train_step` calls there were; the host knows when each execution (of one
    step, or of `steps_per_execution`) began. Steps, epochs and batches count from 1.
    """

    def __init__(self) -> None:
        self.step = 0
        self.epoch = 0
        self.uncounted = 0  # batches that began since the last rows: what there is where no tap counts
        self._epochs_before = 0
        self._fit_begins = True
        self._ended = True  # whether the epoch is over: one that broke off is done again
        self._batches_done = 0
        self._began: list[tuple[int, float]] = []

    def go_on_after(self, step: int, epoch: int) -> None:
        """Count on from an older run, whose last step and last whole epoch these are."""
        self.step, self.epoch = step, epoch

    def begin_fit(self) -> None:
        """A `fit` begins, whose first epoch comes after all that were whole."""
        self._fit_begins = True

    def begin_epoch(self, epoch: int) -> None:
        """Keras begins its epoch `epoch`, counted from 0, or from `initial_epoch`, in every `fit`."""
        if self._fit_begins:
            whole = self.epoch if self._ended else self.epoch - 1
            self._epochs_before = max(0, whole - epoch)
            self._fit_begins = False
        self._ended = False
        self.epoch = epoch + 1 + self._epochs_before
        self._batches_done = 0
        self._began = []

    def end_epoch(self) -> None:
        """The epoch is over."""
        self._ended = True

    def begin_batch(self, batch: int, at_once: int) -> None:
        """An execution of `at_once` batches begins with Keras' batch `batch`, counted from 0 in the epoch."""
        self._began.append((batch, time.time()))
        self.uncounted += at_once

    def rows(self, count: int, lost: int) -> NDArray[np.float64]:
        """`(count, 4)`: step, epoch, batch and wall time of the `count` calls since the last time.

        Args:
            count: how many there are.
            lost: how many before them nobody will see.
        """
        self.step += lost
        self._batches_done += lost
        batches = self._batches_done + np.arange(count)
        starts = np.array([batch for batch, _ in self._began] or [0])
        times = np.array([moment for _, moment in self._began] or [time.time()])
        at: Any = np.clip(np.searchsorted(starts, batches, side="right") - 1, 0, None)
        steps = self.step + 1 + np.arange(count)
        table = np.column_stack([steps, np.full(count, self.epoch), batches + 1, times[at]])
        self.step += count
        self._batches_done += count
        self.uncounted = 0
        self._began = self._began[-1:]
        return table.astype(np.float64)
