"""The loop that trains: the frame of `fit`, or of a user's own loop, and whether it still runs.

After Ctrl-C, or an exception in another callback, Keras tells no callback that its `fit` is over. What
always knows is the stack: a `fit` runs while its frame is on one. A frame holds all that `fit` had, its data
and the threads that read them: it is let go as soon as the loop is known to be over.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import keras

# Keras calls callbacks through a list of them: who calls that list is the loop.
_LISTS = frozenset(
    function.__code__
    for function in vars(keras.callbacks.CallbackList).values()
    if inspect.isfunction(function)
)
_HERE = str(Path(__file__).parent)


class Loop:
    """A loop that calls the hooks of callbacks, by its frame.

    Args:
        frame: the frame of a hook that it called.
        hook: that hook's name.

    Attributes:
        exact: whether its frame is known for sure. Of a user's own loop that calls hooks without Keras'
            list, only a frame that is around it may be known.
    """

    def __init__(self, frame: FrameType, hook: str) -> None:
        found = _caller_of_list(frame, hook)
        self.exact = found is not None
        self._frame = found or next(
            (f for f in _outwards(frame) if not f.f_code.co_filename.startswith(_HERE)), None
        )
        self._settled = self.exact
        self._over = False

    @property
    def known(self) -> bool:
        """Whether more than one hook has shown that this is its frame."""
        return self._settled

    def runs(self) -> bool:
        """Whether it still runs, in whatever thread."""
        if self._over:
            return False
        if self._frame is None:  # hooks from several threads: nobody can tell
            return True
        stacks = sys._current_frames()
        try:
            return any(frame is self._frame for top in stacks.values() for frame in _outwards(top))
        finally:
            stacks.clear()  # this very frame is among them: a cycle, which would keep all stacks

    def lists_between(self, frame: FrameType | None) -> int | None:
        """How many lists of callbacks lie between it and a frame that it called; None when it did not.

        None in between: a step of the loop. One: a hook of it. More: a callback trains something itself.
        """
        if self._over:
            return None
        if self._frame is None:
            return 0
        count, inside = 0, False
        while frame is not None:  # before every step: plain and quick
            if frame is self._frame:
                return count
            is_list = frame.f_code in _LISTS
            count += is_list and not inside
            inside = is_list
            frame = frame.f_back
        return None

    def end(self) -> None:
        """It is over, or about to be."""
        self._over, self._frame = True, None

    def seen(self) -> None:
        """Another hook came from it."""
        self._settled = True

    def widen(self, frame: FrameType) -> None:
        """A hook came from elsewhere: the loop is what is around both."""
        around = set(map(id, _outwards(frame)))
        self._frame = next((f for f in _outwards(self._frame) if id(f) in around), None)
        self._settled = True


def _caller_of_list(frame: FrameType, hook: str) -> FrameType | None:
    for each in _outwards(frame):
        if each.f_code in _LISTS and each.f_code.co_name == hook:
            return next((f for f in _outwards(each) if f.f_code not in _LISTS), None)
    return None


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
