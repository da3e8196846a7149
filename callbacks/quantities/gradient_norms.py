"""The norm of the loss's gradient for every trainable variable."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import keras

from ..layers import trainable_parameters
from ..schedule import Every, Schedule, first_then, schedule_of
from .frozen import freeze
from .quantity import Quantity

_MANY = 10_000_000
# Short trainings keep every batch, and long ones of large models what a curve needs.
_OF_MANY = first_then(50, every=10)


@dataclass(frozen=True, eq=False)
class GradientNorms(Quantity):
    """L2 norm of the gradient of every trainable variable, from the training's own backward pass.

    They are those that `train_step` hands to the optimizer: before the optimizer's own `clipnorm`,
    `clipvalue` and `global_clipnorm`, and without the loss scale; but a `train_step` that clips them itself
    hands over clipped ones. A skipped step is a row of NaN. Every gradient is read once more for it: 0.4 to
    0.8 ms per million parameters on a CPU, which shows where a model is large and its images are small. Where
    not every batch of a large model is wanted, a second train function is traced that does without them.

    Args:
        every: `"batch"`, `"epoch"` (the last batch of each), a number of batches, or a schedule. None is
            every batch; but with more than ten million trainable parameters and no GPU, each of the first
            50 batches and then every tenth.
    """

    every: Every | None = None  # type: ignore[assignment]

    record: ClassVar[str] = "GradientNorms"

    def __post_init__(self) -> None:
        self.schedule  # noqa: B018 - raises where every is wrong

    @property
    def schedule(self) -> Schedule:
        """When they are recorded; every batch where `begin` has not said otherwise."""
        return schedule_of("batch" if self.every is None else self.every)

    def begin(self, model: keras.Model) -> GradientNorms:
        """The same with a rhythm that suits `model`, whose layers are all built."""
        begun = copy.copy(self)
        if self.every is None and trainable_parameters(model) > _MANY and not _on_gpu():
            freeze(begun, every=_OF_MANY)
        return begun


def _on_gpu() -> bool:
    return bool(keras.distribution.list_devices("gpu"))
