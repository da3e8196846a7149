"""What others set between two fits of one run: the snapshots around it show that as one move."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Last
from tensorview_insitu.text.listed import listed

from .arrays import to_numpy
from .begun import Begun
from .blocks import copied_now


class BetweenFits:
    """Remembers what a fit left: of one in this process, or of one that is gone on with from a folder."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}
        self._in_folder: Mapping[str, Last] = {}

    def end(self, begun: Begun | None) -> None:
        """A fit is over."""
        self._left = _fingerprints(begun) if begun is not None else {}

    def resume(self, snapshots: Mapping[str, Last]) -> None:
        """A run is gone on with from its folder, where each variable's last snapshot is."""
        self._in_folder = snapshots

    @property
    def is_due(self) -> bool:
        """Whether there was a fit before that the next step is to be held against."""
        return bool(self._in_folder or self._left)

    def begin(self, begun: Begun, step: int) -> str:
        """The first step of another one follows; a sentence if something else has set variables meanwhile.

        Args:
            begun: what is recorded now, of the same model or another.
            step: the last one that was recorded.
        """
        if self._in_folder:
            snapshots, self._in_folder = self._in_folder, {}
            return _resumed_with(begun, snapshots, step)
        left, self._left = self._left, {}
        now = _fingerprints(begun)
        if left and not now:
            return (
                f"after step {step} a model is trained that its first batch builds: "
                "whether it goes on from the weights that were recorded last is not known"
            )
        changed = [name for name, number in left.items() if now.get(name) != number]
        if not changed:
            return ""
        return (
            f"between step {step} and the next, of another fit, {listed(changed)} were set "
            "by something else than the recorded training (another model, another training, set_weights): "
            "what they move by between the snapshots around that is not of recorded steps"
        )


def _fingerprints(begun: Begun) -> dict[str, int]:
    chosen = [v for one in begun.variables for v in begun.selected(one)]
    return {f"{v.layer}/{v.name}": zlib.crc32(to_numpy(v.variable.value).tobytes()) for v in chosen}


def _resumed_with(begun: Begun, snapshots: Mapping[str, Last], step: int) -> str:
    """What the weights that a run is gone on with are, if they are not those that it ended with."""
    frozen = {piece.dataset for one in begun.variables for piece in one.frozen()}
    now = {name: rows for name, rows in copied_now(begun.pieces(), step).items() if name in snapshots}
    if not now and not begun.model.built:
        return (
            f"the run is gone on with after step {step} by a model that its first batch builds: "
            "whether it goes on from the weights that the run ended with is not known"
        )
    if not now:
        return (
            f"the run is gone on with after step {step} by another model, or other variables are recorded: "
            f"none of {_listed(list(snapshots))} is among them"
        )
    trained = {name: snapshots[name].step for name in now if name not in frozen}
    taken = max(trained.values(), default=step)
    changed = [
        name
        for name, rows in now.items()
        if (name in frozen or trained[name] == taken) and snapshots[name].is_of(rows) is False
    ]
    if changed and (taken == step or frozen.issuperset(changed)):
        return (
            f"the run is gone on with after step {step}, but not from the weights that it had then: "
            f"{_listed(changed)} were set to others (were they restored from a checkpoint?): "
            "what they move by between the snapshots around that is not of recorded steps"
        )
    if changed:
        return (
            f"the run is gone on with after step {step}, of which it holds no weights: that they are those "
            f"that the training goes on from is not known. They are not those after step {taken}"
        )
    if taken < step:
        return (
            f"the run is gone on with from the weights after step {taken}: {_steps(taken + 1, step)} "
            "recorded, but what follows does not come from there, if they moved any weight"
        )
    return ""


def _steps(first: int, last: int) -> str:
    return f"step {first} is" if first == last else f"steps {first} to {last} are"


def _listed(datasets: Sequence[str]) -> str:
    return listed([layout.unescaped(name.removeprefix(f"{layout.LAYERS}/")) for name in datasets])
