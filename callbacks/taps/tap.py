"""What the recorder asks of a tap, whatever the backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..layers import LayerVariable


@dataclass(frozen=True)
class Wanted:
    """What a tap is to take out of every step.

    Args:
        metrics: loss, metrics, learning rate.
        gradient_norms: the norm of every trainable variable's gradient.
        name_of: a variable's name in the run.
        snapshots: by rhythm in batches, a function that gives the variables to copy at it. It is
            asked at the first trace, when all layers are built.
        initial: a function that gives the variables to copy before the first step. It is asked when
            that step has built them all.
    """

    metrics: bool
    gradient_norms: bool
    name_of: Callable[[Any], str]
    initial: Callable[[], Sequence[LayerVariable]]
    snapshots: dict[int, Callable[[], Sequence[LayerVariable]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Drained:
    """What came out since the last time: consecutive `train_step` calls.

    Args:
        count: how many calls.
        metric_names: the columns of `metrics`.
        metrics: `(count, metrics)`.
        variable_names: the columns of `gradient_norms`.
        gradient_norms: `(count, variables)`.
        snapshots: `(variables, calls, values)`: which variables, after which calls, and
            `(calls, size)`, all of them flattened one after the other. Call 0 is before the first.
        lost: calls that were overwritten before anyone looked.
    """

    count: int
    metric_names: tuple[str, ...]
    metrics: NDArray[np.float32]
    variable_names: tuple[str, ...]
    gradient_norms: NDArray[np.float32]
    snapshots: tuple[tuple[Sequence[LayerVariable], NDArray[np.int64], NDArray[np.float32]], ...] = ()
    lost: int = 0


class Tap(Protocol):
    """Numbers out of a compiled training step."""

    capacity: int
    """The number of calls that are kept until `drain` must have been called."""

    problems: list[str]
    """What the tap could not do."""

    @property
    def works(self) -> bool:
        """Whether rows come out of it; not once it met something that it cannot tap."""

    def install(self) -> None:
        """Wrap the model's train step; before Keras builds its train function."""

    def detach(self) -> None:
        """Stop tapping in the middle of a `fit`, whose train function must stay."""

    def remove(self) -> None:
        """Leave the model as it was found, when no `fit` is running."""

    def drain(self) -> Drained | None:
        """What came since the last call; None when there is nothing yet."""

    def is_end_of_data(self, error: BaseException) -> bool:
        """Whether the backend's `fit` takes this error as the end of an epoch."""
