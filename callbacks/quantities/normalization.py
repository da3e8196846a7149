"""What normalization layers learn and keep: gamma, beta, moving mean and variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import keras

from ..layers import LayerVariable
from .layer_variables import LayerVariables

_LAYERS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


@dataclass(frozen=True, eq=False)
class Normalization(LayerVariables):
    """`gamma`, `beta`, `moving_mean` and `moving_variance` of all normalization layers, or of those named."""

    record: ClassVar[str] = "Normalization"

    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """All variables of a normalization layer but its random state."""
        return isinstance(layer, _LAYERS) and variable.name in (
            "gamma",
            "beta",
            "moving_mean",
            "moving_variance",
        )
