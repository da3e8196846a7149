"""What all quantities share: a rhythm, and for some a choice of layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import keras

from ..layers import LayerVariable, check_names, variables, walk
from ..schedule import Every, check_every


class Quantity:
    """Something to record at a rhythm.

    Args:
        every: `"epoch"`, `"batch"`, or a number of batches.
    """

    def __init__(self, every: Every) -> None:
        self.every = check_every(every)

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when `model` lacks what this quantity names."""


class LayerVariables(Quantity, ABC):
    """Values of some variables of some layers.

    Args:
        every: `"epoch"`, `"batch"`, or a number of batches.
        layers: the paths of the layers, as `["conv2d", "base/conv1"]`; None takes the default choice.
    """

    def __init__(self, every: Every = "epoch", layers: Sequence[str] | None = None) -> None:
        super().__init__(every)
        if isinstance(layers, str):
            raise ValueError(f'Expected layers to be a list of names. Received: layers="{layers}".')
        self.layers = None if layers is None else list(layers)

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when a layer is named that `model` does not have."""
        check_names(model, self.layers)

    def select(self, model: keras.Model) -> list[LayerVariable]:
        """The variables to record; fewer while some layers are not built yet."""
        return [
            variable
            for path, layer in walk(model)
            if self.layers is None or path in self.layers
            for variable in variables(path, layer)
            if self.wants(layer, variable.name)
        ]

    @abstractmethod
    def wants(self, layer: keras.Layer, name: str) -> bool:
        """Whether the variable called `name` of `layer` belongs to this quantity."""
