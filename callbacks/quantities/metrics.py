"""Loss, metrics and learning rate of every batch, and what Keras reports of every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..schedule import Every
from .quantity import Quantity


@dataclass(frozen=True, eq=False)
class Metrics(Quantity):
    """Loss, metrics and learning rate.

    Those of a batch are its own values, not Keras' running means. A metric that is no mean (AUC, F1)
    has no value of one batch: its running value is recorded. What Keras reports at the end of an
    epoch, validation included, is recorded at any rhythm.

    Args:
        every: `"batch"`, `"epoch"`, a number of batches, or a schedule.
    """

    every: Every = "batch"

    record: ClassVar[str] = "Metrics"
