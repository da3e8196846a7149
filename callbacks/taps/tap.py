"""What the recorder asks of a tap, whatever the backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..layers import LayerVariable
from ..schedule import Schedule
from .columns import Column

Taking = Literal["gradients", "filter_gradient_norms", "update_norms"]
"""What to take of a variable at an update: its gradient; the norm of that for every filter; or the norm
of the variable's change and its own norm before."""


@dataclass(frozen=True)
class Piece:
    """Something of a model that can be copied at any step: a variable, or what is computed from it.

    Args:
        dataset: where it goes.
        shape: of one copy.
        value: gives the backend's tensor; works inside a compiled step and outside.
        attributes: what its dataset says of itself.
        dtype: of its values on disk.
    """

    dataset: str
    shape: tuple[int, ...]
    value: Callable[[], Any]
    attributes: Mapping[str, Any]
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """The number of values in one copy."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Copies:
    """Pieces to copy at some steps.

    Args:
        schedule: at which.
        select: gives the pieces. It is asked at the first trace, when all layers are built.
        stride: gives the stride to begin with, as `Tap.thin` takes it; asked after `select`.
    """

    schedule: Schedule
    select: Callable[[], Sequence[Piece]]
    stride: Callable[[], int] = lambda: 1


@dataclass(frozen=True)
class FromUpdates:
    """What to take of some variables when the optimizer updates them.

    Args:
        schedule: at which steps.
        taking: what.
        select: gives the variables. It is asked at the first trace.
    """

    schedule: Schedule
    taking: Taking
    select: Callable[[], Sequence[LayerVariable]]


@dataclass(frozen=True)
class Wanted:
    """What a tap is to take out of every step.

    Args:
        metrics: loss, metrics, learning rate.
        gradient_norms: gives the steps at which to take the norm of every trainable variable's gradient. It
            is asked at the first trace; None takes none.
        name_of: a variable's name in the run.
        initial: gives the pieces to copy before the first step. It is asked when that step has built
            them all.
        copies: the pieces to copy after steps.
        updates: what to take of the updates.
        steps_before: the number of the step before the first.
        thinnable: whether `Tap.thin` may be called.
    """

    metrics: bool
    gradient_norms: Callable[[], Schedule] | None
    name_of: Callable[[Any], str]
    initial: Callable[[], Sequence[Piece]]
    copies: Sequence[Copies] = ()
    updates: Sequence[FromUpdates] = ()
    steps_before: int = 0
    thinnable: bool = False


@dataclass(frozen=True)
class DrainedCopies:
    """Copies that came out.

    Args:
        pieces: of what.
        steps: `(copies,)`.
        values: `(copies, size)`, all pieces flattened one after the other.
    """

    pieces: Sequence[Piece]
    steps: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class DrainedUpdates:
    """What came out of updates.

    Args:
        taking: what it is.
        variables: of which.
        steps: `(rows,)`.
        values: `(rows, size)`, all variables flattened one after the other.
    """

    taking: Taking
    variables: Sequence[LayerVariable]
    steps: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Drained:
    """What came out since the last time: consecutive `train_step` calls.

    Args:
        count: how many calls.
        columns: the parts of each number, `(count, width)`, as the audit adds them up.
        metric_names: the columns of `metrics`.
        metrics: `(count, metrics)`.
        variable_names: the columns of `gradient_norms`.
        gradient_norms: `(count, variables)`; NaN also where they were not due.
        copies: by request, in the order of `Wanted.copies`; the initial ones come first.
        updates: in the order of `Wanted.updates`.
        lost: calls that were overwritten before anyone looked.
    """

    count: int
    columns: Mapping[Column, NDArray[np.float64]]
    metric_names: tuple[str, ...]
    metrics: NDArray[np.float32]
    variable_names: tuple[str, ...]
    gradient_norms: NDArray[np.float32]
    copies: Sequence[DrainedCopies] = ()
    updates: Sequence[DrainedUpdates] = ()
    lost: int = 0


class Tap(Protocol):
    """Numbers out of a compiled training step."""

    capacity: int
    """The number of calls that are kept until `drain` must have been called."""

    problems: list[str]
    """What the tap could not do."""

    traced: Any
    """What was built with it and is to live as long as it does; None before."""

    @property
    def works(self) -> bool:
        """Whether rows come out of it; not once it met something that it cannot tap."""

    def prepare(self) -> None:
        """What it needs before the first step; a `fit` begins."""

    def tapped(self, train_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same step, which leaves a row behind."""

    def started(self, train_function: Callable[..., Any]) -> Callable[..., Any]:
        """What `fit` is to call in place of the train function that Keras has built with that step."""

    def why_unlike(self, untapped: Any, tapped: Any, args: Sequence[Any]) -> str:
        """Why the tapped function would not do what the untapped does; empty where it would.

        Args:
            untapped: the function that the model has.
            tapped: what Keras built with the step that `tapped` gave.
            args: what it is to be called with.
        """

    def drain(self) -> Drained | None:
        """What came since the last call; None when there is nothing yet."""

    def updates_taken(self) -> int | None:
        """How many updates the optimizer says it has done; None where that is not one for each call."""

    def thin(self, request: int, stride: int) -> None:
        """Copy the pieces of that request only at steps divisible by `stride`, from now on."""

    def is_end_of_data(self, error: BaseException) -> bool:
        """Whether the backend's `fit` takes this error as the end of an epoch."""


class PredictionTap(Protocol):
    """What the layers answer to each sample that is predicted."""

    problems: list[str]
    """What the tap could not do."""

    traced: Any
    """What was built with it and is to live as long as it does; None before."""

    def prepare(self) -> None:
        """What it needs before the first step; a `predict` begins."""

    def tapped(self, predict_step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same step, which leaves what the layers answered."""

    def started(self, predict_function: Callable[..., Any]) -> Callable[..., Any]:
        """What `predict` is to call in place of the function that Keras has built with that step."""

    def why_unlike(self, untapped: Any, tapped: Any, args: Sequence[Any]) -> str:
        """Why the tapped function would not do what the untapped does; empty where it would.

        Args:
            untapped: the function that the model has.
            tapped: what Keras built with the step that `tapped` gave.
            args: what it is to be called with.
        """

    def drain(self) -> tuple[dict[str, NDArray[np.float32]], int]:
        """By layer `(samples, filters)`, the mean of each map; and how many samples were lost."""
