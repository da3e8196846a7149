"""The biases of all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import keras

from ..layers import LayerVariable
from .layer_variables import LayerVariables


@dataclass(frozen=True, eq=False)
class Biases(LayerVariables):
    """The biases of all layers, or of the layers named."""

    record: ClassVar[str] = "Biases"

    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """Every bias."""
        return variable.name == "bias"
