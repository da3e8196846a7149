"""Thinner: measures what a recording costs, and thins it when that is more than its budget."""

from __future__ import annotations

import math
import time
from collections import Counter

from tensorview_insitu.run.writer import RunWriter

from .asked import Asked
from .begun import Begun
from .budget import Budget, Plan
from .quantities import Variables
from .taps.tap import Tap

_FREE_SHARE = 0.2
# Before an epoch's length is known; a run of few steps should not be thinned for a guess.
_UNKNOWN_STEPS = 100


class Thinner:
    """Keeps a recording within its budget; without one it does nothing.

    Args:
        budget: what may be spent.
    """

    def __init__(self, budget: Budget | None) -> None:
        self.budget = budget
        self.thinned: list[str] = []
        self._begun: Begun | None = None
        self._planned = False
        self._probe_stride = 1
        self._turns: Counter[Variables | Asked] = Counter()
        self._seconds = 0.0
        self._probe_seconds = 0.0
        self._probe_bytes: dict[str, int] = {}
        self._epoch_began = 0.0
        self._epochs_seen = 0
        self._stopped = False

    # ---- before the first step

    def begin(self, begun: Begun) -> None:
        """Thin what these record, from now on; what was thinned before was of another model."""
        self._begun = begun
        self._planned = False
        self._probe_stride = 1
        self._probe_bytes.clear()

    def plan(self, steps: int | None, epochs: int | None, free: int) -> list[str]:
        """Thin what would be too large; what was thinned now, a line each."""
        if self.budget is None or self._planned:
            return []
        self._planned = True
        plan = Plan(self._variables(), steps or _UNKNOWN_STEPS, epochs or 1)
        return self._told(plan.fit_into(int(self.budget.epoch_bytes), self._total_bytes(free)))

    def _total_bytes(self, free: int) -> int:
        assert self.budget is not None
        return min(int(self.budget.total_bytes), int(_FREE_SHARE * free))

    # ---- while it runs

    def begin_epoch(self) -> None:
        """An epoch begins."""
        self._epoch_began = time.perf_counter()
        self._seconds = self._probe_seconds = 0.0

    def spent(self, seconds: float) -> None:
        """A hook took so long."""
        self._seconds += seconds

    def took(self, asked: Asked, seconds: float, size: int) -> None:
        """What was asked of the probe took so long, and so much."""
        self._probe_seconds += seconds
        self._probe_bytes[asked.label] = size

    def skips(self, due: Variables | Asked) -> bool:
        """Whether this record, which is due, is one to leave out."""
        stride = due.thinning.stride if isinstance(due, Variables) else self._probe_stride
        self._turns[due] += 1
        # Numbers take no room, but they may take time.
        over = self._stopped and not (isinstance(due, Asked) and due.is_table)
        return over or self._turns[due] % stride != 0

    def end_epoch(self, tap: Tap | None, writer: RunWriter | None) -> list[str]:
        """Compare what the epoch cost with the budget; what was thinned now, a line each."""
        if self.budget is None:
            return []
        self._epochs_seen += 1
        lines = self._keep_total(tap, writer) + self._keep_probe_small()
        # The first epoch traces, compiles and builds: no measure of the others.
        if self._epochs_seen > 1:
            lines += self._keep_time(tap)
        return self._told(lines)

    def _keep_time(self, tap: Tap | None) -> list[str]:
        assert self.budget is not None
        whole = time.perf_counter() - self._epoch_began
        share = self._seconds / max(whole - self._seconds, 1e-9)
        if share <= self.budget.step_overhead:
            return []
        why = (
            f"the recorder's own work took {share:.1%} of an epoch, more than {self.budget.step_overhead:.1%}"
        )
        if self._probe_seconds > self._seconds / 2:
            return [self._lengthen_probe(math.ceil(share / self.budget.step_overhead), why)]
        candidates = self._variables()
        if not candidates:
            return []
        largest = max(candidates, key=lambda q: (q.schedule.by_step, -q.thinning.stride))
        largest.thinning.stride *= 2
        self._apply_strides(tap)
        return [f"{largest.label} {largest.thinning.stride} times as seldom ({why})"]

    def _keep_probe_small(self) -> list[str]:
        assert self.budget is not None
        limit, size = int(self.budget.epoch_bytes), sum(self._probe_bytes.values())
        if size / self._probe_stride <= limit:
            return []
        return [
            self._lengthen_probe(
                math.ceil(size / limit), f"they take {size} bytes, more than {limit} an epoch"
            )
        ]

    def _lengthen_probe(self, factor: int, why: str) -> str:
        self._probe_stride *= max(2, factor)
        return f"{' and '.join(self._probe_bytes)} {self._probe_stride} times as seldom ({why})"

    def _keep_total(self, tap: Tap | None, writer: RunWriter | None) -> list[str]:
        assert self.budget is not None
        if writer is None or self._stopped or writer.array_bytes < int(self.budget.total_bytes):
            return []
        self._stopped = True
        if tap is not None:
            for request in range(len(self._by_step())):
                tap.thin(request, 1 << 62)
        return [f"no more arrays: they have taken {writer.array_bytes} bytes, all that the run may"]

    def _apply_strides(self, tap: Tap | None) -> None:
        if tap is None:
            return
        for request, quantity in enumerate(self._by_step()):
            if quantity.thinning.stride > 1:
                tap.thin(request, step_stride(quantity))

    def _variables(self) -> list[Variables]:
        return self._begun.variables if self._begun is not None else []

    def _by_step(self) -> list[Variables]:
        return self._begun.by_step if self._begun is not None else []

    def _told(self, lines: list[str]) -> list[str]:
        new = [line for line in lines if line not in self.thinned]
        self.thinned += new
        return new


def step_stride(quantity: Variables) -> int:
    """The steps between two records of a thinned quantity that goes by steps."""
    return quantity.thinning.stride * max(1, quantity.schedule.every) if quantity.thinning.stride > 1 else 1
