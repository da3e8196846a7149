"""The biases of all layers."""

from __future__ import annotations

import keras

from .quantity import LayerVariables


class Biases(LayerVariables):
    """The biases of all layers, or of the layers named."""

    def wants(self, layer: keras.Layer, name: str) -> bool:
        """Every bias."""
        return name == "bias"
