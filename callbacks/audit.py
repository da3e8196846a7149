"""Audit: at an epoch's end the recorder's own rows are held against what Keras reports.

Both come from one training, by different ways: the rows from inside the compiled step, the report from
Keras' own metrics. Where they differ, one of them is not what its name says, and the run says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import layout

from .taps.columns import Column

_SLACK = 64  # spacings of float32: sums in another order
_ROWS_EPSILON = float(np.finfo(np.float32).eps)

# A column's name, and that in the run: one metric may be called as another's column is.
_Key = tuple[str, str]


@dataclass(frozen=True)
class Doubt:
    """A column that is not to be trusted.

    Args:
        dataset: that has the column.
        column: its name.
        reason: why, in a sentence.
    """

    dataset: str
    column: str
    reason: str


@dataclass
class _Account:
    """What was seen of one column in an epoch."""

    column: Column
    rows: int = 0
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sizes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    last: float = np.nan

    def add(self, parts: NDArray[np.float64]) -> None:
        state = self.column.sums(parts)
        # A step that did not update the metric added nothing to it.
        state = np.where(np.isnan(state).all(axis=1, keepdims=True), 0.0, state)
        if not self.rows:
            self.sums, self.sizes = np.zeros(state.shape[1]), np.zeros(state.shape[1])
        self.sums = self.sums + state.sum(axis=0)
        self.sizes = self.sizes + np.abs(state).sum(axis=0)
        self.last = float(self.column.values(parts)[-1])
        self.rows += len(parts)

    def value(self) -> float:
        """The epoch's value, by the same formula as a batch's."""
        if self.column.kind == "mean":
            total, count = self.sums
            return float(total / count) if count else np.nan
        assert self.column.finish is not None
        return self.column.finish([float(part) for part in self.sums])

    def agrees(self, value: float, reported: float) -> bool:
        """Whether two numbers are the same but for rounding in the sums of an epoch."""
        if np.isnan(value) or np.isnan(reported):
            return bool(np.isnan(value) and np.isnan(reported))
        if np.isinf(value) or np.isinf(reported):
            return value == reported
        # A sum of n numbers is off by n roundings at the most, each of the size of what was summed.
        # Keras may sum in another precision than the rows have, which are float32.
        tolerance = max(self.column.epsilon, _ROWS_EPSILON) * (_SLACK + self.rows)
        scale = max(abs(value), abs(reported))
        if self.column.kind == "mean" and self.sums.size and self.sums[1]:
            scale = max(scale, float(self.sizes[0] / abs(self.sums[1])))
        off = abs(value - reported)
        return off <= tolerance * scale or off <= tolerance * scale + self._rounding(tolerance)

    def _rounding(self, tolerance: float) -> float:
        """How far a result is off at the most, when every sum in it is off by its rounding."""
        if self.column.kind != "result" or self.column.finish is None:
            return 0.0
        exact, total = self.value(), 0.0
        for place, size in enumerate(self.sizes):
            moved = []
            for sign in (-1, 1):
                sums = self.sums.copy()
                sums[place] += sign * tolerance * size
                moved.append(abs(self.column.finish([float(part) for part in sums]) - exact))
            total += max((one for one in moved if np.isfinite(one)), default=0.0)
        return total


class Audit:
    """Adds up rows over an epoch, and compares."""

    def __init__(self) -> None:
        self._epoch: dict[_Key, _Account] = {}
        self._fit: dict[_Key, _Account] = {}
        self._complete = True
        self._steps = 0
        self._begun = 0
        self._without_data = 0
        self._at_once = 1
        self._updates: int | None = None

    def begin_fit(self) -> None:
        """A `fit` begins."""
        self._fit = {}

    def begin_epoch(self, updates: int | None) -> None:
        """An epoch begins.

        Args:
            updates: how many the optimizer says that it has done; None where it does not tell.
        """
        self._epoch = {}
        self._complete = True
        self._steps = self._begun = self._without_data = 0
        self._updates = updates

    def begin_batches(self, count: int) -> None:
        """Keras begins an execution of so many batches at the most."""
        self._begun += count
        self._at_once = count

    def end_of_data(self) -> None:
        """The execution that Keras began last came to the end of the data."""
        self._without_data += self._at_once

    def steps(self, count: int, lost: int) -> None:
        """So many steps came out of the tap; of those lost before them nothing can be said."""
        self._steps += count + lost
        self._complete &= not lost

    def add(self, column: Column, parts: NDArray[np.float64]) -> None:
        """Rows of one column, in order: `(rows, width)`."""
        if len(parts):
            for accounts in (self._epoch, self._fit):
                key = (column.name, column.recorded_name)
                accounts.setdefault(key, _Account(column)).add(parts)

    def compare(self, reported: Mapping[str, float], epoch: int) -> list[Doubt]:
        """Hold the epoch's rows against what Keras reports of it.

        Args:
            reported: the logs of the epoch's end.
            epoch: its number.
        """
        doubts = []
        for key, account in self._epoch.items() if self._complete else ():
            keras = reported.get(account.column.name)
            if keras is not None and (doubt := self._doubt(key, account, keras, epoch)) is not None:
                doubts.append(doubt)
        return doubts

    def compare_steps(self, updates: int | None, epoch: int) -> list[str]:
        """Hold the number of rows against what Keras and its optimizer did; what differs, in sentences.

        Args:
            updates: how many the optimizer says that it has done.
            epoch: its number.
        """
        found = []
        # The last execution of several batches may have had fewer.
        at_least = self._begun - self._without_data - self._at_once + 1
        if not at_least <= self._steps <= self._begun and self._begun:
            found.append(
                f"in epoch {epoch} Keras ran {self._begun} batches, of which {self._steps} are recorded"
            )
        if updates is not None and self._updates is not None:
            done = updates - self._updates
            # Every step that is recorded counts: where there are fewer, something has set the counter. A step
            # that finds no data may count too: TensorFlow need not wait for them to count.
            if done > self._steps + self._without_data:
                found.append(
                    f"in epoch {epoch} the optimizer's count of updates went on by {done}, while "
                    f"{self._steps} steps are recorded"
                )
        return found

    def _doubt(self, key: _Key, account: _Account, keras: float, epoch: int) -> Doubt | None:
        column = account.column
        if column.kind in ("value", "running"):
            if account.agrees(account.last, keras):
                return None
            return Doubt(
                layout.EPOCH_SCALARS,
                column.name,
                f"Keras reported {keras:.6g} for epoch {epoch}, but the last train_step returned "
                f"{account.last:.6g} under that name: Keras reports a metric of its own that the step does "
                "not update",
            )
        mean = account.value()
        if account.agrees(mean, keras):
            return None
        whole = self._fit[key]
        if column.began_used and whole.rows == account.rows:
            return Doubt(
                layout.EPOCH_SCALARS,
                column.name,
                f"Keras reported {keras:.6g} for epoch {epoch}, which holds what the metric had been told "
                f"before this fit: nothing reset it (the epoch's batches give {mean:.6g})",
            )
        if whole.agrees(whole.value(), keras):
            return Doubt(
                layout.EPOCH_SCALARS,
                column.name,
                f"Keras reported {keras:.6g} for epoch {epoch}, which runs on over all epochs: the metric is "
                f"not in model.metrics, so nothing resets it (this epoch's batches give {mean:.6g})",
            )
        if account.agrees(account.last, keras):
            return Doubt(
                layout.EPOCH_SCALARS,
                column.name,
                f"Keras reported {keras:.6g} for epoch {epoch}, which is the value of its last batch alone: "
                f"the step resets the metric (the epoch's batches give {mean:.6g})",
            )
        if column.by_name and np.isnan(mean):
            return Doubt(
                layout.BATCH_SCALARS,
                column.recorded_name,
                f"in epoch {epoch} train_step returned another number under that name than its metric's, out "
                "of a function inside it: whether it is of one batch cannot be told, so it is missing",
            )
        return Doubt(
            layout.BATCH_SCALARS,
            column.recorded_name,
            f"the batches of epoch {epoch} give {mean:.6g}, but Keras reported {keras:.6g}",
        )
