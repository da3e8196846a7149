"""Open a file that may be anything: only a plain file, of a bounded size, inside the folder of its own."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from tensorview_insitu.text.printable import printable, shortened

# `/x`, `//host/x`, a drive or a scheme (`C:x`, `file:x`, `http://x`), `..` anywhere, and Windows' separators.
_OUTSIDE = re.compile(r"^/|^[^/]*:|\\|\x00|(^|/)\.\.(/|$)")
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class ForeignFileError(ValueError):
    """Raised when a file is not what it must be to be read: its text says which file, and why."""


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading; anything else is refused before it can block or be read.

    Raises:
        ForeignFileError: it is a FIFO, a device, a socket or a folder.
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    _require_plain(path, os.stat(path).st_mode)
    # Another kind of file may have taken its place since: opening a FIFO must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_plain(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int) -> bytes:
    """All of a plain file.

    Args:
        path: the file.
        most: the number of bytes that it may have.

    Raises:
        ForeignFileError: it is larger, or no plain file.
        OSError: it is missing or cannot be read.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(most + 1) if size <= most else b""
    if size > most or len(data) > most:
        raise ForeignFileError(
            f"{path} has {max(size, len(data)):,} bytes. Expected at most {most:,} of such a file."
        )
    return data


def inside(folder: Path, name: str, said_by: Path) -> Path:
    """Where the file `name` of a folder lies, if that is in the folder.

    Args:
        folder: the folder that it must not leave.
        name: its path, relative to `folder`, with `/` between its parts, as all paths in an export are.
        said_by: the file that names it, for the message.

    Raises:
        ForeignFileError: it is absolute, has `..` in it or a host, or a link leads it out.
    """
    if not name or _OUTSIDE.search(name):
        raise ForeignFileError(
            f"{said_by} names the file {said(name)!r}. Expected a path inside {folder}, without '..'."
        )
    return within(folder, folder / name)


def within(folder: Path, path: Path) -> Path:
    """`path` itself, which is in `folder`, unless a link leads it out; it need not exist.

    Raises:
        ForeignFileError: it leads out.
    """
    real, home = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if real != home and home not in real.parents:
        raise ForeignFileError(f"{path} is a link that leads out of {folder}, to {real}. It is not followed.")
    return path


def check_folder(folder: Path) -> None:
    """Raise unless everything in a folder is a plain file or a folder, and no link leads out of it.

    To write into a stranger's folder is as dangerous as to read from it: a temporary name of ours may be a
    link there.

    Raises:
        ForeignFileError: with what was found.
        OSError: a folder in it cannot be listed.
    """
    if not folder.exists():
        return
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink():
                    within(folder, path)
                elif entry.is_dir():
                    waiting.append(path)
                elif not entry.is_file():
                    _require_plain(path, entry.stat(follow_symlinks=False).st_mode)


def said(word: object) -> str:
    """A stranger's word in a message: in one line, and not too long."""
    return shortened(printable(str(word)), 60)


def _require_plain(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise ForeignFileError(f"{path} is {kind}. Expected a plain file.")
