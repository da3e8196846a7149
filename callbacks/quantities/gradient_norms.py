"""The norm of the loss's gradient for every trainable variable."""

from __future__ import annotations

import keras

from ..layers import trainable_parameters
from ..schedule import Every, Schedule, first_then, schedule_of
from .quantity import Quantity

_MANY = 10_000_000
# Short trainings keep every batch, and long ones of large models what a curve needs.
_OF_MANY = first_then(50, every=10)


class GradientNorms(Quantity):
    """L2 norm of the gradient of every trainable variable, from the training's own backward pass.

    They are taken before clipping and without the loss scale. A skipped step is a row of NaN. Every gradient
    is read once more for it: 0.4 to 0.8 ms per million parameters on a CPU, which shows where a model is
    large and its images are small. Where not every batch of a large model is wanted, a second train function
    is traced that does without them.

    Args:
        every: `"batch"`, `"epoch"` (the last batch of each), a number of batches, or a schedule. None is
            every batch; but with more than ten million trainable parameters and no GPU, each of the first
            50 batches and then every tenth.
    """

    def __init__(self, every: Every | None = None) -> None:
        super().__init__("batch" if every is None else every)
        self._chosen = every is not None

    def settle(self, model: keras.Model) -> Schedule:
        """The schedule for `model`, whose layers are all built."""
        if not self._chosen:
            large = trainable_parameters(model) > _MANY
            self.schedule = _OF_MANY if large and not _on_gpu() else schedule_of("batch")
        return self.schedule


def _on_gpu() -> bool:
    return bool(keras.distribution.list_devices("gpu"))
