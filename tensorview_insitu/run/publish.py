"""Publish a file: complete under its name, or not there at all."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

from tensorview_insitu.run.examine import wrote
from tensorview_insitu.run.spool import Spool, write_at

Content = bytes | memoryview | Callable[[Spool], None]
"""What is in a file, or what writes it."""


def publish(path: Path, content: Content, *, durable: bool = False) -> None:
    """Write `content` to a temporary name beside `path`, then rename it.

    Args:
        path: where the file appears; an older one is replaced.
        content: the whole content.
        durable: also wait until the disk has it (fsync), so that it survives a power loss.

    Raises:
        OSError: the disk is full, the folder is gone, ...; `path` is then as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with io.FileIO(temporary, "w+") as file:
            if callable(content):
                spool = Spool(file)
                _undisturbed(spool, content)
                spool.finish()
            else:
                write_at(file, content, 0)
            if durable:
                os.fsync(file.fileno())
            written = os.fstat(file.fileno())
        os.replace(temporary, path)
        wrote(path, written)
        if durable:
            sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _undisturbed(spool: Spool, content: Callable[[Spool], None]) -> None:
    """Call `content` where no signal reaches it.

    Python answers signals in the main thread. An exception (Ctrl-C) out of what HDF5 calls back would leave
    its file open, and crash the interpreter when that is closed.
    """
    if threading.current_thread() is not threading.main_thread():
        content(spool)
        return
    errors: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            spool.check()
            content(spool)
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=work, name="tensorview-insitu publish")
    interrupted = False
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending, or there are too many threads
        work()
    except BaseException as error:
        spool.fail(error)
        interrupted = True
    while True:
        try:
            # Interrupted while it was started, a thread may never begin.
            while not ended.wait(1.0):
                if interrupted and not thread.is_alive():
                    break
            break
        except BaseException as error:
            spool.fail(error)
            interrupted = True
    spool.check()
    if errors:
        raise errors.pop()


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder: a rename is not there before that.

    Raises:
        OSError: it cannot.
    """
    if os.name == "nt":  # Windows opens no folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
