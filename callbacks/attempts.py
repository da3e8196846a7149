"""Ask one quantity: what fails costs that quantity one moment, and in the end itself; never the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tensorview_insitu.explain.network import ExplainError
from tensorview_insitu.text.one_line import one_line, told

_T = TypeVar("_T")
_MOST_FAILURES = 3  # in a row
# What says that a model cannot be asked this, now or later.
_FOR_GOOD = (ExplainError, NotImplementedError)


class Attempts:
    """Asks one quantity of one run, and says in words what it could not answer.

    Args:
        label: the quantity, in words.
        note: takes a sentence for `missing`.
    """

    def __init__(self, label: str, note: Callable[[str], None]) -> None:
        self.label = label
        self.ended = False
        self._note = note
        self._failures = 0
        self._failed_at: int | None = None
        self._said = False

    def __call__(self, ask: Callable[[], _T], step: int) -> _T | None:
        """What `ask` gives; None where it raises, or has done so too often."""
        if self.ended:
            return None
        try:
            answer = ask()
        except Exception as error:
            self._failed(error, step)
            return None
        self._failures = 0
        return answer

    def _failed(self, error: Exception, step: int) -> None:
        # At one moment it may be asked several times.
        self._failures += step != self._failed_at
        self._failed_at = step
        if isinstance(error, _FOR_GOOD):
            self.ended = True
            self._note(f"no {self.label}: {one_line(str(error))}")
        elif not self._said:
            self._said = True
            self._note(f"{self.label} is lacking at step {step}, and maybe later: {told(error)}")
        elif self._failures >= _MOST_FAILURES:
            self.ended = True
            self._note(
                f"{self.label} is asked no more after step {step}: it failed {_MOST_FAILURES} times in a row"
            )
