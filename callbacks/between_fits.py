"""What others set between two fits of one recorder: the snapshots around it show that as one move."""

from __future__ import annotations

import zlib

from tensorview_insitu.text.listed import listed

from .arrays import to_numpy
from .begun import Begun


class BetweenFits:
    """Remembers what a fit left, by a fingerprint of each variable that is recorded."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}

    def end(self, begun: Begun | None) -> None:
        """A fit is over."""
        self._left = _fingerprints(begun) if begun is not None else {}

    def begin(self, begun: Begun, step: int) -> str:
        """The first step of another one follows; a sentence if something else has set variables meanwhile.

        Args:
            begun: what is recorded now, of the same model or another.
            step: the last one that was recorded.
        """
        left, self._left = self._left, {}
        now = _fingerprints(begun) if left else {}
        changed = [name for name, number in left.items() if now.get(name, number) != number]
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
