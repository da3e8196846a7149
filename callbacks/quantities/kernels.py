"""The kernels of the convolutions."""

from __future__ import annotations

import keras

from ..layers import CONVOLUTIONS, LayerVariable
from .quantity import LayerVariables

_SMALL = 16_384


class Kernels(LayerVariables):
    """The kernels of all convolutions and of small Dense layers, or of the layers named.

    A Dense layer is small up to 16,384 weights. The first snapshot, step 0, is the model before training.
    """

    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """Kernels of convolutions and small Dense layers; of any layer that was named."""
        if not variable.name.endswith("kernel"):
            return False
        if self.layers is not None or isinstance(layer, CONVOLUTIONS):
            return True
        return isinstance(layer, keras.layers.Dense) and variable.size <= _SMALL
