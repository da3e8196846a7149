"""Publish a file: complete under its name, or not there at all."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path

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
                content(spool)
                spool.finish()
            else:
                write_at(file, content, 0)
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder: a rename is not there before that.

    Raises:
        OSError: it cannot.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
