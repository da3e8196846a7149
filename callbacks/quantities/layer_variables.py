"""Values of some variables of some layers: which, and what is kept of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import keras

from ..layers import LayerVariable
from ..schedule import Every
from .quantity import OfLayers
from .reductions import Reduction, Whole
from .variables import Variables


@dataclass(frozen=True, eq=False)
class LayerVariables(OfLayers, ABC):
    """Values of some variables of some layers.

    What nobody trains (`trainable=False`: a frozen base, the kernel below a LoRA) is recorded before
    training, and at the end of an epoch only when it is no longer what was recorded last.

    Args:
        every: `"epoch"`, `"batch"`, a number of batches, or a schedule.
        layers: the paths of the layers, as `["conv2d", "base/conv1"]`; None takes the default choice.
        reduction: `Statistics()` or `Histogram()` to record in place of the values; None records them.
        precision: `"float32"`, or `"float16"` for half the room: three digits, up to 65504.
    """

    every: Every = "epoch"
    layers: Sequence[str] | None = None
    reduction: Reduction | None = field(default=None, kw_only=True)
    precision: str = field(default="float32", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction is not None and not isinstance(self.reduction, Reduction):
            raise ValueError(
                "Expected reduction to be Statistics() or Histogram(). "
                f"Received: reduction={self.reduction!r}."
            )
        if self.precision not in ("float32", "float16"):
            raise ValueError(
                f'Expected precision to be "float32" or "float16". Received: precision={self.precision!r}.'
            )

    @property
    def label(self) -> str:
        """Values and their statistics are different records."""
        return super().label + (f" as {type(self.kept).__name__}" if not self.keeps_values else "")

    @property
    def kept(self) -> Reduction:
        """What is kept of each variable."""
        return self.reduction or Whole(self.precision)

    @property
    def keeps_values(self) -> bool:
        """Whether the values themselves are recorded."""
        return isinstance(self.kept, Whole)

    def select(self, model: keras.Model) -> list[LayerVariable]:
        """The variables to record."""
        return [v for layer, v in self.of_layers(model) if not v.is_packed and self.wants(layer, v)]

    def begin(self, model: keras.Model) -> Variables:
        """What is recorded of `model` in one run, and how a budget thins it there."""
        return Variables(self, model)

    @abstractmethod
    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """Whether this variable of `layer` belongs to this quantity."""

    def why_not(self, layer: keras.Layer, variable: LayerVariable) -> str | None:
        """Why this quantity does not record a variable that one would look for in it; None for others."""
        return None
