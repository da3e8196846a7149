"""Publish a file: complete under its name, or not there at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def publish(path: Path, data: bytes | memoryview, *, durable: bool = False) -> None:
    """Write `data` to a temporary name beside `path`, then rename it.

    Args:
        path: where the file appears; an older one is replaced.
        data: the whole content.
        durable: also wait until the disk has it (fsync), so that it survives a power loss.

    Raises:
        OSError: the disk is full, the folder is gone, ...; `path` is then as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:  # a nearly full disk takes less than it was given
                rest = rest[file.write(rest) :]
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
