"""Gradients on request: of every filter, or whole."""

from __future__ import annotations

from collections.abc import Sequence

from ..layers import LayerVariable
from ..schedule import Every
from ..taps.tap import Taking
from .quantity import UpdateQuantity


class FilterGradientNorms(UpdateQuantity):
    """The L2 norm of the loss's gradient for every filter of every kernel.

    As `GradientNorms`: before clipping, without the loss scale; a skipped step is NaN.

    Args:
        every: `"batch"`, a number of batches, or a schedule by steps.
        layers: the paths of the layers; None takes all that have kernels.
    """

    taking: Taking = "filter_gradient_norms"

    def __init__(self, every: Every = "batch", layers: Sequence[str] | None = None) -> None:
        super().__init__(every, layers)

    def wants(self, variable: LayerVariable) -> bool:
        """Kernels."""
        return variable.name.endswith("kernel")


class Gradients(UpdateQuantity):
    """The whole gradient of the loss for every kernel and bias of the layers named.

    Args:
        layers: the paths of the layers.
        every: `"batch"`, a number of batches, or a schedule by steps.
    """

    taking: Taking = "gradients"

    def __init__(self, layers: Sequence[str], every: Every = 100) -> None:
        if not layers or isinstance(layers, str):
            raise ValueError(
                "Expected layers to be a list of names: gradients are as large as the model. "
                f"Received: {layers!r}."
            )
        super().__init__(every, layers)
