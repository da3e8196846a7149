"""Columns of a step's row: what a number is, and of what parts it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RUNNING = "running/"
"""The beginning of the name of a column whose values run on over the epoch, as Keras prints them."""

Kind = Literal["mean", "result", "value", "running"]


@dataclass(frozen=True)
class Column:
    """One number of a step.

    Args:
        name: under which Keras prints it (of a learning rate: its column).
        kind: `"mean"`, a total and a count; `"result"`, a value and the metric's state that gave it;
            `"value"`, what `train_step` returned; `"running"`, the value so far in the epoch.
        width: how many numbers the ring keeps of it.
        finish: gives the value of a state, summed over several steps.
        epsilon: the relative spacing of the numbers that Keras sums it in.
        began_used: whether its metric had been told something before the first step.
        by_name: whether only the name says of which metric it is; a step that returned another number under
            that name has none.
    """

    name: str
    kind: Kind
    width: int
    finish: Callable[[Sequence[float]], float] | None = field(default=None, compare=False)
    epsilon: float = field(default=float(np.finfo(np.float32).eps), compare=False)
    began_used: bool = field(default=False, compare=False)
    by_name: bool = field(default=False, compare=False)

    @property
    def recorded_name(self) -> str:
        """Its name in the run."""
        return RUNNING + self.name if self.kind == "running" else self.name

    def values(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The number of each row; NaN where the step found none.

        Args:
            parts: `(rows, width)`.
        """
        if self.kind != "mean":
            return parts[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(parts[:, 0] / parts[:, 1])

    def sums(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """What can be added up over rows: `(rows, state)`; nothing for values that stand alone."""
        if self.kind == "mean":
            return parts
        return parts[:, 1:] if self.kind == "result" else parts[:, :0]

    def of_replicas(self, replicas: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """The parts for the whole batch, of which each replica had a share."""
        whole = replicas[0].copy()  # a value that train_step returns: of the first, as Keras prints it
        if self.kind == "mean":
            whole = np.sum(replicas, axis=0)
        elif self.kind == "result":
            whole[:, 1:] = np.sum([parts[:, 1:] for parts in replicas], axis=0)
        return np.asarray(whole)
