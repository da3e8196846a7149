"""What all quantities share: a rhythm, and for some a choice of layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import keras

from tensorview_insitu.explain.walk import walk
from tensorview_insitu.run.rows import Rows

from ..layers import LayerVariable, check_names, variables
from ..schedule import Every, schedule_of
from ..taps.tap import FromUpdates, Piece, Taking
from .reductions import Reduction, Statistics, Whole


class Quantity:
    """Something to record at a rhythm.

    Args:
        every: `"epoch"`, `"batch"`, a number of batches, or a schedule such as `log_spaced(10)`.
    """

    def __init__(self, every: Every) -> None:
        self.every = every
        self.schedule = schedule_of(every)

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when `model` lacks what this quantity names."""


class OfLayers(Quantity):
    """Something of some layers.

    Args:
        every: the rhythm.
        layers: the paths of the layers, as `["conv2d", "base/conv1"]`; None takes the default choice.
    """

    def __init__(self, every: Every, layers: Sequence[str] | None) -> None:
        super().__init__(every)
        if isinstance(layers, str):
            raise ValueError(f'Expected layers to be a list of names. Received: layers="{layers}".')
        self.layers = None if layers is None else list(layers)

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when a layer is named that `model` does not have."""
        check_names(model, self.layers)

    def of_layers(self, model: keras.Model) -> list[tuple[keras.Layer, LayerVariable]]:
        """All variables of the layers chosen, with their layer; fewer while some are not built yet."""
        return [
            (layer, variable)
            for path, layer in walk(model)
            if self.layers is None or path in self.layers
            for variable in variables(path, layer)
        ]


class Probed(Quantity, ABC):
    """Something that the host asks the model about a few fixed samples, by passes of its own."""

    @abstractmethod
    def take(self, model: keras.Model, step: int) -> dict[str, Rows]:
        """The rows of one moment."""


@dataclass
class Thinning:
    """What a budget takes away from a quantity.

    Args:
        statistics_only: the layers that are recorded as statistics.
        stride: one of so many records is made.
        half: whether values are recorded in float16.
    """

    statistics_only: set[str] = field(default_factory=set)
    stride: int = 1
    half: bool = False


class LayerVariables(OfLayers, ABC):
    """Values of some variables of some layers.

    Args:
        every: `"epoch"`, `"batch"`, a number of batches, or a schedule.
        layers: the paths of the layers, as `["conv2d", "base/conv1"]`; None takes the default choice.
        reduction: `Statistics()` or `Histogram()` to record in place of the values; None records them.
        precision: `"float32"`, or `"float16"` for half the room: three digits, up to 65504.
    """

    def __init__(
        self,
        every: Every = "epoch",
        layers: Sequence[str] | None = None,
        *,
        reduction: Reduction | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(every, layers)
        if reduction is not None and not isinstance(reduction, Reduction):
            raise ValueError(
                f"Expected reduction to be Statistics() or Histogram(). Received: reduction={reduction!r}."
            )
        if precision not in ("float32", "float16"):
            raise ValueError(
                f'Expected precision to be "float32" or "float16". Received: precision={precision!r}.'
            )
        self.reduction: Reduction = reduction or Whole(precision)
        self.thinning = Thinning()

    def select(self, model: keras.Model) -> list[LayerVariable]:
        """The variables to record."""
        return [v for layer, v in self.of_layers(model) if self.wants(layer, v)]

    @property
    def keeps_values(self) -> bool:
        """Whether the values themselves are recorded."""
        return isinstance(self.reduction, Whole)

    def pieces(self, model: keras.Model) -> list[Piece]:
        """What to copy."""
        return [piece for v in self.select(model) for piece in self._reduction_of(v).pieces(v)]

    def _reduction_of(self, v: LayerVariable) -> Reduction:
        if self.keeps_values and v.layer in self.thinning.statistics_only:
            return Statistics()
        return Whole("float16") if self.keeps_values and self.thinning.half else self.reduction

    @abstractmethod
    def wants(self, layer: keras.Layer, variable: LayerVariable) -> bool:
        """Whether this variable of `layer` belongs to this quantity."""


class UpdateQuantity(OfLayers):
    """Something of the optimizer's updates of some variables.

    Args:
        every: `"batch"`, a number of batches, or a schedule by steps.
        layers: the paths of the layers; None takes the default choice.
    """

    taking: Taking

    def __init__(self, every: Every, layers: Sequence[str] | None) -> None:
        super().__init__(every, layers)
        if not self.schedule.by_step:
            raise ValueError(
                'Expected every to be "batch", a number of batches, or a schedule by steps: an update is '
                f"gone when its step is over. Received: every={every!r}."
            )

    def select(self, model: keras.Model) -> list[LayerVariable]:
        """The variables to record."""
        trainable = {id(variable) for variable in model.trainable_variables}
        return [v for _, v in self.of_layers(model) if id(v.variable) in trainable and self.wants(v)]

    def request(self, model: keras.Model) -> FromUpdates:
        """What the tap is asked for."""
        return FromUpdates(self.schedule, self.taking, lambda: self.select(model))

    def wants(self, variable: LayerVariable) -> bool:
        """Whether this variable belongs to this quantity."""
        return True
