"""The kernels of the convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import keras

from ..layers import CONVOLUTIONS, LayerVariable
from .layer_variables import LayerVariables

_SMALL = 16_384
_DENSE = (keras.layers.Dense, keras.layers.EinsumDense)


@dataclass(frozen=True, eq=False)
class Kernels(LayerVariables):
    """The kernels of all convolutions and of small Dense layers, or of the layers named.

    A Dense (or EinsumDense) layer is small up to 16,384 weights. The first snapshot, step 0, is the model
    before training. At an epoch's end they are what the model has when the recorder's turn comes: callbacks
    that set weights there (SwapEMAWeights) and stand before it have done so.
    Of a layer with LoRA (`enable_lora`) the kernel is recorded as it is stored, without what the adapter
    adds to it, and beside it the adapter's own `lora_kernel_a` and `lora_kernel_b`, which are trained:
    those of any layer and size.
    """

    record: ClassVar[str] = "Kernels"

    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """Kernels of convolutions and small Dense layers; of any layer that was named; all adapters."""
        if variable.is_adapter:
            return True
        if not variable.name.endswith("kernel"):
            return False
        if self.layers is not None or isinstance(layer, CONVOLUTIONS):
            return True
        return isinstance(layer, _DENSE) and variable.size <= _SMALL

    def why_not(self, layer: keras.Layer, variable: LayerVariable) -> str | None:
        """A kernel that is too large to be taken by default, or of another kind of layer."""
        if not variable.name.endswith("kernel"):
            return None
        if not isinstance(layer, (*CONVOLUTIONS, *_DENSE)):
            return f"a kernel of {type(layer).__name__}: Kernels(layers=[...]) records it"
        if isinstance(layer, _DENSE) and variable.size > _SMALL:
            return f"a kernel of more than {_SMALL:,} weights: Kernels(layers=[...]) records it"
        return None
