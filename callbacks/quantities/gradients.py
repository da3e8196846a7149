"""Gradients on request: of every filter, or whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..layers import LayerVariable
from ..schedule import Every
from ..taps.tap import Taking
from .frozen import freeze
from .quantity import UpdateQuantity


@dataclass(frozen=True, eq=False)
class FilterGradientNorms(UpdateQuantity):
    """The L2 norm of the loss's gradient for every filter of every kernel.

    As `GradientNorms`: as handed to the optimizer, without the loss scale; a skipped step is NaN.

    Args:
        every: `"batch"`, a number of batches, or a schedule by steps.
        layers: the paths of the layers; None takes all that have kernels.
    """

    taking: ClassVar[Taking] = "filter_gradient_norms"
    record: ClassVar[str] = "FilterGradientNorms"

    def wants(self, variable: LayerVariable) -> bool:
        """Kernels."""
        return variable.name.endswith("kernel")


@dataclass(frozen=True, eq=False, init=False)
class Gradients(UpdateQuantity):
    """The whole gradient of the loss for every kernel and bias of the layers named.

    Args:
        layers: the paths of the layers.
        every: `"batch"`, a number of batches, or a schedule by steps.
    """

    taking: ClassVar[Taking] = "gradients"
    record: ClassVar[str] = "Gradients"

    def __init__(self, layers: Sequence[str], every: Every = 100) -> None:
        if not layers or isinstance(layers, str):
            raise ValueError(
                "Expected layers to be a list of names: gradients are as large as the model. "
                f"Received: {layers!r}."
            )
        freeze(self, layers=layers, every=every)
        self.__post_init__()
