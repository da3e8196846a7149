"""Save what there is when the process is told to end (SIGTERM: a job scheduler, `kill`).

Without a handler the process would end at once. With ours it ends as it would have, a moment later; a
handler of the user's own is called as ever. Ctrl-C is an exception in Python, and needs none of this.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A first Ctrl-C that comes meanwhile is answered at the end; a second one at once."""
    answer = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(answer):
        yield
        return
    waiting: list[FrameType | None] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if waiting:
            answer(number, frame)
        waiting.append(frame)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, answer)
        if waiting:
            answer(signal.SIGINT, waiting[0])


class Termination:
    """Listens for SIGTERM while a training runs.

    Args:
        save: gives the function to call, if it still lives: with True when the process ends for good,
            with False when a handler of the user's own decides.
    """

    def __init__(self, save: Callable[[], Callable[[bool], None] | None]) -> None:
        self._save = save
        self._before: Any = None
        self._listening = False
        self._pid = os.getpid()
        self._holding_back = 0
        self._waiting: tuple[int, FrameType | None] | None = None

    def listen(self) -> None:
        """From now on; only the main thread can, and only where nobody outside Python listens."""
        if self._listening or threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)
        if before is None:
            return
        self._before = before
        signal.signal(signal.SIGTERM, self._receive)
        self._listening = True

    def stop_listening(self) -> None:
        """Put the handler back that was there before, unless another took our place."""
        if not self._listening or threading.current_thread() is not threading.main_thread():
            return
        self._listening = False
        if signal.getsignal(signal.SIGTERM) == self._receive:
            signal.signal(signal.SIGTERM, self._before)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """A signal that comes meanwhile is answered at the end: the recorder's state is whole then."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals come to the main thread only
            return
        self._holding_back += 1
        try:
            yield
        finally:
            self._holding_back -= 1
            if self._waiting is not None and not self._holding_back:
                waiting, self._waiting = self._waiting, None
                self._answer(*waiting)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._holding_back:
            self._waiting = (number, frame)
        else:
            self._answer(number, frame)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        before = self._before
        save = self._save()
        # A forked data loader has this handler too, and nothing to save.
        if save is not None and os.getpid() == self._pid and before is not signal.SIG_IGN:
            save(not callable(before))
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
