"""The biases of all layers."""

from __future__ import annotations

import keras

from ..layers import LayerVariable
from .quantity import LayerVariables


class Biases(LayerVariables):
    """The biases of all layers, or of the layers named."""

    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """Every bias."""
        return variable.name == "bias"
