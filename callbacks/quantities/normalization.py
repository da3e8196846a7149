"""What normalization layers learn and keep: gamma, beta, moving mean and variance."""

from __future__ import annotations

import keras

from ..layers import LayerVariable
from .quantity import LayerVariables

_LAYERS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


class Normalization(LayerVariables):
    """`gamma`, `beta`, `moving_mean` and `moving_variance` of all normalization layers, or of those named."""

    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """All variables of a normalization layer but its random state."""
        return isinstance(layer, _LAYERS) and variable.name in (
            "gamma",
            "beta",
            "moving_mean",
            "moving_variance",
        )
