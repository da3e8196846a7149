"""When a quantity is recorded: once an epoch, every n batches, or densely first and then ever more rarely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_LAST_DECADE = 9


@dataclass(frozen=True)
class Schedule:
    """The steps, or the epochs, at which something is recorded; made by the functions of this module.

    Args:
        epochs: at the end of every that-many-th epoch; 0 when it goes by steps.
        first: at each of so many first steps.
        every: at every that-many-th step; 0 for none.
        at: at these steps.
    """

    epochs: int = 0
    first: int = 0
    every: int = 0
    at: tuple[int, ...] = ()

    @property
    def by_step(self) -> bool:
        """Whether it goes by steps, and not by epochs."""
        return not self.epochs

    @property
    def shortest(self) -> int:
        """The fewest steps between two of them."""
        return 1 if self.first or self.at else max(1, self.every)

    def due(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these steps, counted from 1, are among them."""
        mask = (steps <= self.first) | np.isin(steps, self.at)
        if self.every:
            mask |= steps % self.every == 0
        return mask

    def due_at_end_of(self, epoch: int) -> bool:
        """Whether the end of `epoch`, counted from 1, is one of them."""
        return self.epochs > 0 and epoch % self.epochs == 0

    def __str__(self) -> str:
        if self.epochs:
            return "every epoch" if self.epochs == 1 else f"every {self.epochs} epochs"
        parts = [f"the first {self.first} steps"] if self.first else []
        parts += [f"every {self.every} steps" if self.every > 1 else "every step"] if self.every else []
        parts += ["steps spaced evenly on a logarithmic scale"] if self.at else []
        return ", then ".join(parts)


Every = Literal["epoch", "batch"] | int | Schedule


def every_epochs(count: int) -> Schedule:
    """At the end of every `count`-th epoch.

    Raises:
        ValueError: `count` is no positive int.
    """
    return Schedule(epochs=_positive("count", count))


def first_then(first: int, every: int) -> Schedule:
    """At each of the `first` steps, then at every `every`-th.

    Raises:
        ValueError: one of them is no positive int.
    """
    return Schedule(first=_positive("first", first), every=_positive("every", every))


def log_spaced(per_decade: int = 10) -> Schedule:
    """At `per_decade` steps between 1 and 10, as many between 10 and 100, and so on.

    Training changes most at its beginning: a thousand times longer takes only three times the room.

    Raises:
        ValueError: `per_decade` is no positive int.
    """
    powers = np.arange(_LAST_DECADE * _positive("per_decade", per_decade) + 1) / per_decade
    return Schedule(at=tuple(int(step) for step in np.unique(np.round(10.0**powers))))


def schedule_of(every: Any) -> Schedule:
    """The schedule that `every` names.

    Raises:
        ValueError: it names none.
    """
    if isinstance(every, Schedule):
        return every
    if isinstance(every, str) and every == "epoch":
        return Schedule(epochs=1)
    if isinstance(every, str) and every == "batch":
        return Schedule(every=1)
    if _is_positive(every):
        return Schedule(every=every)
    raise ValueError(
        'Expected every to be "epoch", "batch", a positive int, or a schedule such as log_spaced(10). '
        f"Received: every={every!r}."
    )


def _positive(name: str, value: Any) -> int:
    if not _is_positive(value):
        raise ValueError(f"Expected {name} to be a positive int. Received: {name}={value!r}.")
    return int(value)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
