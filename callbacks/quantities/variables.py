"""What one run records of a model's variables for one quantity; what nobody trains, only when it changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import keras

from tensorview_insitu.run.rows import Block, Rows

from ..layers import LayerVariable
from ..taps.tap import Piece
from .reductions import Reduction, Statistics, Whole

if TYPE_CHECKING:
    from .layer_variables import LayerVariables


@dataclass
class Thinning:
    """What a budget takes away from a quantity in one run.

    Args:
        statistics_only: the layers that are recorded as statistics.
        stride: one of so many records is made.
        half: whether values are recorded in float16.
    """

    statistics_only: set[str] = field(default_factory=set)
    stride: int = 1
    half: bool = False


class Variables:
    """The variables of one model that one quantity records in one run.

    Args:
        quantity: which, and when.
        model: of which model.

    Attributes:
        owns: whether a dataset is to be written here; it may be another quantity's.
    """

    def __init__(self, quantity: LayerVariables, model: keras.Model) -> None:
        self.quantity = quantity
        self.model = model
        self.schedule = quantity.schedule
        self.thinning = Thinning()
        self.owns: Callable[[str], bool] = lambda dataset: True
        self._frozen: dict[str, bytes] = {}  # by dataset, what was recorded last

    @property
    def label(self) -> str:
        """What it records, in words."""
        return self.quantity.label

    @property
    def keeps_values(self) -> bool:
        """Whether the values themselves are recorded."""
        return self.quantity.keeps_values

    def select(self) -> list[LayerVariable]:
        """The variables, as the model is now."""
        return self.quantity.select(self.model)

    def pieces(self) -> list[Piece]:
        """What to copy of all of them: before training."""
        return self._pieces_of(self.select())

    def trained(self) -> list[Piece]:
        """What to copy whenever it is due: of those that training may change."""
        return self._pieces_of([v for v in self.select() if not v.frozen])

    def frozen(self) -> list[Piece]:
        """What to copy only when it changed: of those that nobody trains."""
        return self._pieces_of([v for v in self.select() if v.frozen])

    def changed(self, block: Block) -> dict[str, Rows]:
        """Of copies of the frozen pieces those that are not what was recorded last; they are then."""
        found = {}
        for name, rows in block.items():
            mark = rows.mark()
            if self._frozen.get(name) != mark:
                self._frozen[name], found[name] = mark, rows
        return found

    def saw(self, block: Block) -> None:
        """The tap has recorded these before the first step: of what is frozen they are the last."""
        for piece in self.frozen():
            if piece.dataset in block:
                self._frozen[piece.dataset] = block[piece.dataset].mark()

    def thawed(self) -> list[Piece]:
        """What was frozen when it was last recorded, and is trained from now on."""
        found = [piece for piece in self.trained() if piece.dataset in self._frozen]
        for piece in found:
            del self._frozen[piece.dataset]
        return found

    def _pieces_of(self, variables: Sequence[LayerVariable]) -> list[Piece]:
        pieces = [piece for v in variables for piece in self._reduction_of(v).pieces(v)]
        return [piece for piece in pieces if self.owns(piece.dataset)]

    def _reduction_of(self, v: LayerVariable) -> Reduction:
        if self.keeps_values and v.layer in self.thinning.statistics_only:
            return Statistics()
        return Whole("float16") if self.keeps_values and self.thinning.half else self.quantity.kept
