"""What all quantities share: a frozen description of what to record, with a rhythm.

Nothing that belongs to one run lies in a quantity: `begin` makes that, anew for each run and each model,
so that a list of quantities may be given to any number of recorders, one after the other or at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import keras

from tensorview_insitu.run.rows import Block

from ..layers import LayerVariable, check_names, is_named, layers_of, variables
from ..schedule import Every, Schedule, schedule_of
from ..taps.tap import FromUpdates, Taking
from .frozen import freeze, same


class Quantity:
    """Something to record at a rhythm.

    Attributes:
        every: `"epoch"`, `"batch"`, a number of batches, or a schedule such as `log_spaced(10)`.
        record: what is recorded, for those whose subclasses record the same.
    """

    every: Every
    record: ClassVar[str] = ""

    def __post_init__(self) -> None:
        schedule_of(self.every)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and same(vars(self), vars(other))

    def __hash__(self) -> int:
        return hash(type(self))

    @property
    def schedule(self) -> Schedule:
        """When it is recorded."""
        return schedule_of(self.every)

    @property
    def label(self) -> str:
        """What it records, in words: two of one label would write over each other."""
        return self.record or type(self).__name__

    @property
    def called(self) -> str:
        """What a sentence calls it: a subclass is told by its own name too."""
        own = type(self).__name__
        return f"{self.label} ({own})" if self.record and own != self.record else self.label

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when `model` lacks what this quantity names, or cannot take its probe."""

    def begin(self, model: keras.Model) -> Any:
        """What belongs to one run of `model`; of what kind, the kinds of quantities below say."""
        return self


class OfLayers(Quantity):
    """Something of some layers.

    Attributes:
        layers: the paths of the layers, as `("conv2d", "base/conv1")`, each with the layers inside it; None
            takes the default choice.
    """

    layers: Sequence[str] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.layers, str):
            raise ValueError(f'Expected layers to be a list of names. Received: layers="{self.layers}".')
        freeze(self, layers=None if self.layers is None else tuple(self.layers))

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when a layer is named that `model` does not have."""
        check_names(model, self.layers)

    def of_layers(self, model: keras.Model) -> Iterator[tuple[keras.Layer, LayerVariable]]:
        """All variables of the layers chosen, with their layer; fewer while some are not built yet."""
        for path, layer in layers_of(model):
            if self.layers is None or is_named(path, self.layers):
                for variable in variables(path, layer):
                    yield layer, variable


class Probed(Quantity, ABC):
    """Something that the host asks the model about a few fixed samples, by passes of its own."""

    @abstractmethod
    def begin(self, model: keras.Model) -> Callable[[int], Block]:
        """What gives the rows of one moment, the end of step number so-and-so; asked in one run only."""


@dataclass(frozen=True, eq=False)
class UpdateQuantity(OfLayers):
    """Something of the optimizer's updates of some variables.

    Args:
        every: `"batch"`, a number of batches, or a schedule by steps.
        layers: the paths of the layers; None takes the default choice.
    """

    every: Every = "batch"
    layers: Sequence[str] | None = None

    taking: ClassVar[Taking]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.schedule.by_step:
            raise ValueError(
                'Expected every to be "batch", a number of batches, or a schedule by steps: an update is '
                f"gone when its step is over. Received: every={self.every!r}."
            )

    def select(self, model: keras.Model) -> list[LayerVariable]:
        """The variables to record."""
        trainable = {id(variable) for variable in model.trainable_variables}
        return [v for _, v in self.of_layers(model) if id(v.variable) in trainable and self.wants(v)]

    def begin(self, model: keras.Model) -> FromUpdates:
        """What the tap of one run is asked for."""
        return FromUpdates(self.schedule, self.taking, lambda: self.select(model))

    def wants(self, variable: LayerVariable) -> bool:
        """Whether this variable belongs to this quantity."""
        return True
