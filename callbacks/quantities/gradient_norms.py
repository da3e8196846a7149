"""The norm of the loss's gradient for every trainable variable."""

from __future__ import annotations

from ..schedule import Every
from .quantity import Quantity


class GradientNorms(Quantity):
    """L2 norm of the gradient of every trainable variable, from the training's own backward pass.

    They are taken before clipping and without the loss scale. A skipped step is a row of NaN. Every gradient
    is read once more for it: 0.4 to 0.8 ms per million parameters, which shows where a model is large and its
    images are small.

    Args:
        every: `"batch"`, `"epoch"` (the last batch of each), a number of batches, or a schedule.
    """

    def __init__(self, every: Every = "batch") -> None:
        super().__init__(every)
