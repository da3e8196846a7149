"""The recorders of this process: whose training is over without a word is ended by a look now and then."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any, Protocol

LOOK_SECONDS = 1.0


class Recording(Protocol):
    """What is asked of a recorder."""

    path: Path

    @property
    def trained(self) -> Any:
        """The model that it was given last, or None."""

    def end_if_over(self, *, surely: bool = False, seconds: float = 0.0) -> bool:
        """End the recording if its training is over, though nobody said so; whether it goes on.

        Args:
            surely: only where the training's frame is known for sure.
            seconds: how long to wait for the disk.
        """


_everyone: weakref.WeakSet[Any] = weakref.WeakSet()
_open: weakref.WeakSet[Any] = weakref.WeakSet()  # those whose training may be over at any moment
_lock = threading.Lock()
_look_now = threading.Event()
_watch: threading.Thread | None = None


def register(recorder: Recording) -> None:
    """There is another recorder."""
    with _lock:
        _everyone.add(recorder)


def watch(recorder: Recording) -> None:
    """Look at it now and then, until it is ended."""
    global _watch
    with _lock:
        _open.add(recorder)
        if _watch is None or not _watch.is_alive():
            _watch = threading.Thread(target=_work, name="tensorview-insitu watch", daemon=True)
            # At the interpreter's end none can be started, and none is needed.
            with contextlib.suppress(RuntimeError):
                _watch.start()


def leave(recorder: Recording) -> None:
    """It is ended."""
    with _lock:
        _open.discard(recorder)


def look_now() -> None:
    """Something trains a model whose recorded training seems to be over."""
    _look_now.set()


def end_those_over(*, path: Path | None = None, model: Any = None, seconds: float = 0.0) -> None:
    """End the recorders on that path, or of that model, whose trainings are over."""
    with _lock:
        everyone = list(_everyone)
    for recorder in everyone:
        if (path is not None and _same_place(recorder.path, path)) or (
            model is not None and recorder.trained is model
        ):
            recorder.end_if_over(seconds=seconds)


def look() -> None:
    """End every recorder whose training is over."""
    with _lock:
        those = list(_open)
    for recorder in those:
        recorder.end_if_over(surely=True)


def _work() -> None:
    global _watch
    while True:
        _look_now.wait(LOOK_SECONDS)
        _look_now.clear()
        look()
        with _lock:
            if not len(_open):
                _watch = None
                return


def _same_place(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
