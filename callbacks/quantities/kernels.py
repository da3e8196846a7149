"""The kernels of the convolutions."""

from __future__ import annotations

import keras

from ..layers import CONVOLUTIONS
from .quantity import LayerVariables


class Kernels(LayerVariables):
    """The kernels of all convolutions, or of the layers named (a Dense may be among them).

    The first snapshot, step 0, is the model before training.
    """

    def wants(self, layer: keras.Layer, name: str) -> bool:
        """Kernels of convolutions; of any layer that was named."""
        return name.endswith("kernel") and (self.layers is not None or isinstance(layer, CONVOLUTIONS))
