"""All quantities of a recorder, begun for one model: what is recorded of it in this run, and when."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import keras

from tensorview_insitu.run.rows import Block, Rows

from .asked import Asked
from .attempts import Attempts
from .blocks import copied_now
from .layers import LayerVariable
from .quantities import (
    Activations,
    GradientNorms,
    LayerVariables,
    Metrics,
    Numbers,
    Probed,
    Quantity,
    UpdateQuantity,
    Variables,
)
from .schedule import Schedule
from .taps.tap import FromUpdates, Piece

_NEVER = Schedule()

RECORDED = (Metrics, GradientNorms, LayerVariables, UpdateQuantity, Probed, Numbers)
"""The kinds of quantities that a recorder knows how to record."""


class Begun:
    """What belongs to one run of one model.

    Args:
        quantities: what is recorded; nothing of this run is kept in them.
        model: the model.
        note: takes a sentence for `missing`.

    Attributes:
        metrics: when loss and metrics of a batch are recorded; None does not.
        variables: the quantities of layers' variables.
        asked: those that the host asks.
    """

    def __init__(
        self, quantities: Sequence[Quantity], model: keras.Model, note: Callable[[str], None]
    ) -> None:
        self.model = model
        self._note = note
        self._owners: dict[str, Variables] = {}
        self._attempts: dict[Variables, Attempts] = {}
        self.metrics = next((q for q in quantities if isinstance(q, Metrics)), None)
        self.variables = [v for q in quantities if isinstance(q, LayerVariables) for v in self._begin(q)]
        self.asked = [Asked(q, model, note) for q in quantities if isinstance(q, Probed | Numbers)]
        self.activations = next((q for q in quantities if isinstance(q, Activations)), None)
        self._norms = next((q for q in quantities if isinstance(q, GradientNorms)), None)
        self._updates = [q for q in quantities if isinstance(q, UpdateQuantity)]

    def _begin(self, quantity: LayerVariables) -> list[Variables]:
        attempts = Attempts(quantity.called, self._note)
        begun = attempts(lambda: quantity.begin(self.model), 0)
        if begun is None:
            return []
        begun.owns = functools.partial(self._owns, begun)
        self._attempts[begun] = attempts
        return [begun]

    def _owns(self, variables: Variables, dataset: str) -> bool:
        """Whether a dataset is that of these variables; two would write each row twice."""
        owner = self._owners.setdefault(dataset, variables)
        if owner is not variables:
            self._note(f"what {owner.label} records is not recorded again by {variables.label}")
        return owner is variables

    @property
    def by_step(self) -> list[Variables]:
        """The variables that are recorded at steps, and not at the end of epochs."""
        return [v for v in self.variables if v.schedule.by_step]

    @property
    def wants_steps(self) -> bool:
        """Whether anything of a step is recorded."""
        return bool(self.metrics or self._norms or self._updates or self.by_step)

    # ---- what the tap asks, when all layers are built; an exception in it costs what was asked

    def tabled(self) -> list[Quantity]:
        """Those whose rows a table of the steps holds, with the rhythm that they have in this run."""
        return [q for q in (self.metrics, self._norms) if q is not None]

    def norm_schedule(self) -> Callable[[], Schedule] | None:
        """Gives the steps of the gradient norms; None takes none."""
        if self._norms is None:
            return None

        def settle() -> Schedule:
            if self._norms is not None:
                norms = self._norms
                self._norms = Attempts(norms.called, self._note)(lambda: norms.begin(self.model), 0)
            return _NEVER if self._norms is None else self._norms.schedule

        return settle

    def updates(self) -> list[FromUpdates]:
        """What is asked of the optimizer's updates."""
        requests = []
        for quantity in self._updates:
            attempts = Attempts(quantity.called, self._note)
            request = attempts(functools.partial(quantity.begin, self.model), 0)
            if request is None:
                continue
            select = functools.partial(_chosen, attempts, request.select)
            requests.append(FromUpdates(request.schedule, request.taking, select))
        return requests

    def pieces(self) -> list[Piece]:
        """What to copy before training."""
        return [piece for v in self.variables for piece in self._of(v, v.pieces)]

    def trained_pieces(self, variables: Variables) -> list[Piece]:
        """What to copy at steps."""
        return self._of(variables, variables.trained)

    def selected(self, variables: Variables) -> list[LayerVariable]:
        """The variables that a quantity records."""
        return self._attempts[variables](variables.select, 0) or []

    def why_not(self, variables: Variables, layer: keras.Layer, variable: LayerVariable) -> str | None:
        """Why a quantity does not record a variable, where one would look for it there."""
        return self._attempts[variables](lambda: variables.quantity.why_not(layer, variable), 0)

    # ---- copies by the host

    def copied(self, variables: Sequence[Variables], step: int) -> dict[str, Rows]:
        """Copies of what is trained, of those that are due; and of what is frozen, where it changed."""
        block: dict[str, Rows] = {}
        for one in variables:
            block.update(self._attempts[one](functools.partial(_copied, one, step), step) or {})
        return block

    def changed(self, variables: Sequence[Variables], step: int) -> dict[str, Rows]:
        """Copies of what is frozen, where it changed."""
        block: dict[str, Rows] = {}
        for one in variables:
            block.update(self._attempts[one](functools.partial(_changed, one, step), step) or {})
        return block

    def thawed(self, step: int) -> dict[str, Rows]:
        """Copies of what was frozen in the fit before this one, and is trained from now on."""
        block: dict[str, Rows] = {}
        for one in self.variables:
            copy = functools.partial(lambda one: copied_now(one.thawed(), step), one)
            block.update(self._attempts[one](copy, step) or {})
        return block

    def saw(self, block: Block) -> None:
        """These were copied by the tap."""
        for one in self.variables:
            self._attempts[one](functools.partial(one.saw, block), 0)

    def _of(self, variables: Variables, pieces: Callable[[], list[Piece]]) -> list[Piece]:
        return self._attempts[variables](pieces, 0) or []


def _copied(variables: Variables, step: int) -> dict[str, Rows]:
    return copied_now(variables.trained(), step) | _changed(variables, step)


def _changed(variables: Variables, step: int) -> dict[str, Rows]:
    return variables.changed(copied_now(variables.frozen(), step))


def _chosen(attempts: Attempts, select: Callable[[], Sequence[LayerVariable]]) -> Sequence[LayerVariable]:
    return attempts(select, 0) or []
