"""Budget: how much a recording may cost; and the plan of what is thinned when it costs more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .quantities import Variables
from .schedule import Schedule

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# A layer of which one snapshot takes this share of an epoch's room is kept as statistics only.
_LARGE_SHARE = 0.25
_LONGEST_STRIDE_IN_EPOCHS = 64


@dataclass(frozen=True)
class Budget:
    """How much a recording may cost.

    Where it would cost more, arrays are thinned in this order: the largest layers are recorded as
    statistics of every filter; the rhythm is lengthened; values are halved to float16; then more layers
    become statistics. Tables (loss, metrics, gradient norms) always stay whole. What was thinned is said
    once, and stands in the run.

    Args:
        step_overhead: the share of an epoch's time that the recorder's own work in the training's thread
            may take. It is measured while it runs. (What the compiled step spends on writing its rows is
            not in it: scripts/benchmark_overhead.py measures that.)
        epoch_bytes: of arrays per epoch; an int, or `"64 MB"`.
        total_bytes: of arrays in the whole run; never more than a fifth of the free disk.

    Raises:
        ValueError: a number is not positive, or cannot be read.
    """

    step_overhead: float = 0.02
    epoch_bytes: int | str = "64 MB"
    total_bytes: int | str = "10 GB"

    def __post_init__(self) -> None:
        if not 0 < self.step_overhead:
            raise ValueError(
                f"Expected step_overhead to be a positive share, as 0.02. Received: {self.step_overhead!r}."
            )
        object.__setattr__(self, "epoch_bytes", to_bytes("epoch_bytes", self.epoch_bytes))
        object.__setattr__(self, "total_bytes", to_bytes("total_bytes", self.total_bytes))


def to_bytes(name: str, size: int | str) -> int:
    """A size in bytes, from an int or from text such as `"64 MB"`.

    Raises:
        ValueError: it is neither, or not positive.
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kMGT]?)B?\s*", size) if isinstance(size, str) else None
    try:
        value = int(float(match[1]) * _UNITS[match[2]]) if match else int(size)
    except (TypeError, ValueError):
        value = 0
    if value <= 0:
        raise ValueError(f'Expected {name} to be a number of bytes, or as "64 MB". Received: {size!r}.')
    return value


@dataclass
class Plan:
    """What an epoch of arrays takes, and how that was brought into a budget.

    Args:
        quantities: what is to be recorded of a built model; their `thinning` is set.
        steps: in an epoch.
        epochs: that are planned.
    """

    quantities: Sequence[Variables]
    steps: int
    epochs: int

    def bytes_per_epoch(self) -> float:
        """What all arrays take in an epoch, on average."""
        return sum(self._bytes_of(quantity) for quantity in self.quantities)

    def fit_into(self, epoch_bytes: int, total_bytes: int) -> list[str]:
        """Thin until the arrays fit; what was thinned, a line each."""
        room = min(epoch_bytes, total_bytes / max(1, self.epochs))
        before = self.bytes_per_epoch()
        if before <= room:
            return []
        done = [
            *self._reduce_largest(room, only_above=_LARGE_SHARE * room),
            *self._lengthen(room),
            *self._halve(room),
            *self._reduce_largest(room, only_above=0),
        ]
        after = self.bytes_per_epoch()
        why = f"{_size(before)} an epoch are more than the budget's {_size(room)}; now {_size(after)}"
        return [f"{line} ({why})" for line in done]

    def _bytes_of(self, quantity: Variables) -> float:
        # What is frozen is recorded once.
        size = sum(piece.size * (2 if piece.dtype == "float16" else 4) for piece in quantity.trained())
        return size * copies_per_epoch(quantity.schedule, self.steps) / quantity.thinning.stride

    def _reduce_largest(self, room: float, *, only_above: float) -> list[str]:
        by_size = sorted(
            (
                (4 * v.size, v.layer, quantity)
                for quantity in self.quantities
                for v in quantity.select()
                if not v.frozen
            ),
            key=lambda entry: -entry[0],
        )
        reduced: list[str] = []
        for size, layer, quantity in by_size:
            if self.bytes_per_epoch() <= room or size <= only_above:
                break
            if layer not in quantity.thinning.statistics_only and quantity.keeps_values:
                quantity.thinning.statistics_only.add(layer)
                reduced.append(layer)
        return (
            [f"statistics of every filter in place of {', '.join(dict.fromkeys(reduced))}"] if reduced else []
        )

    def _lengthen(self, room: float) -> list[str]:
        longest = max(1, self.steps) * _LONGEST_STRIDE_IN_EPOCHS
        lengthened: dict[str, int] = {}
        while self.bytes_per_epoch() > room:
            largest = max(self.quantities, key=self._bytes_of)
            limit = longest if largest.schedule.by_step else _LONGEST_STRIDE_IN_EPOCHS
            if largest.thinning.stride * 2 > limit:
                break
            largest.thinning.stride *= 2
            lengthened[largest.label] = largest.thinning.stride
        return [f"{name} {stride} times as seldom" for name, stride in lengthened.items()]

    def _halve(self, room: float) -> list[str]:
        halved = []
        for quantity in sorted(self.quantities, key=self._bytes_of, reverse=True):
            if self.bytes_per_epoch() > room and quantity.keeps_values:
                quantity.thinning.half = True
                halved.append(quantity.label)
        return [f"{' and '.join(halved)} in float16"] if halved else []


def copies_per_epoch(schedule: Schedule, steps: int) -> float:
    """How many times a schedule is due in an epoch of so many steps, at most."""
    if not schedule.by_step:
        return 1 / schedule.epochs
    in_first = sum(1 for step in schedule.at if step <= steps) + min(schedule.first, steps)
    return max(in_first, steps / schedule.every if schedule.every else 0.0)


def _size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} bytes"
