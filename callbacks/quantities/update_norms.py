"""How far each step moves every variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..schedule import Every
from ..taps.tap import Taking
from .quantity import UpdateQuantity


@dataclass(frozen=True, eq=False)
class UpdateNorms(UpdateQuantity):
    """The L2 norm of every trainable variable's change in a step, and of the variable before it.

    The change is that of the whole step, whoever makes it: the optimizer, several, or `train_step` itself (a
    decay, a clip, an average). A step that is skipped moves nothing: 0. Both are recorded, not their ratio: a
    bias that begins at zero has none.

    Args:
        every: `"batch"`, a number of batches, or a schedule by steps. At every batch it costs a copy of
            the model in each.
        layers: the paths of the layers; None takes all.
    """

    every: Every = 10

    taking: ClassVar[Taking] = "update_norms"
    record: ClassVar[str] = "UpdateNorms"
