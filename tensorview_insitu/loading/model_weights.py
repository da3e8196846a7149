"""Count the weights that a model file holds: in a child process, because HDF5 trusts what it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tensorview_insitu.loading.plain_file import ForeignFileError

_SECONDS = 60
_MEMORY_BYTES = 2 << 30
_DEEPEST = 200


def count_weights(file: Path, shown: str) -> int:
    """How many numbers an HDF5 file of weights holds.

    Args:
        file: a plain file that nobody else changes.
        shown: what it is called in messages.

    Raises:
        ForeignFileError: it is no HDF5 file, is damaged, holds links or values that are stored elsewhere, or
            claims more than is stored.
    """
    program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import answer; answer()"
    command = [sys.executable, "-I", "-c", program, os.path.abspath(file)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ForeignFileError(f"{shown} is damaged: HDF5 does not get to its end.") from None
    if done.returncode:
        raise ForeignFileError(f"{shown} is damaged: HDF5 ended with {done.returncode} when it read it.")
    found: dict[str, int | str] = json.loads(done.stdout)
    if "problem" in found:
        raise ForeignFileError(f"{shown} {found['problem']}")
    return int(found["numbers"])


def answer() -> None:
    """The child: print what was found, as JSON."""
    _limit_memory()
    import h5py

    try:
        with h5py.File(sys.argv[1], "r", locking=False) as file:
            found: dict[str, int | str] = {"numbers": _numbers(file, "", 0)}
    except _RefusedError as error:
        found = {"problem": str(error)}
    except Exception as error:  # what a damaged file makes h5py raise has no common type
        found = {"problem": f"is damaged: {' '.join(str(error).split())[:200]}"}
    sys.stdout.write(json.dumps(found) + "\n")


class _RefusedError(ValueError):
    """Raised when a file holds what Keras does not write."""


def _numbers(group: object, where: str, depth: int) -> int:
    import h5py

    assert isinstance(group, h5py.Group)
    if depth > _DEEPEST:
        raise _RefusedError(f"holds groups within groups without end, at {where[:100]!r}")
    total = 0
    for name in group:
        path = f"{where}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _RefusedError(f"holds a link to elsewhere, {path!r}")
        item = group[name]
        if isinstance(item, h5py.Group):
            total += _numbers(item, path, depth + 1)
            continue
        if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
            raise _RefusedError(f"holds values that are stored elsewhere, {path!r}")
        # A list of names, as Keras keeps of a vocabulary, has no numbers to count.
        claimed, stored = item.size * item.dtype.itemsize, item.id.get_storage_size()
        if claimed > stored and item.chunks is None:
            raise _RefusedError(f"claims {claimed:,} bytes in {path!r}, of which {stored:,} are stored")
        if claimed > 1000 * stored:
            raise _RefusedError(f"claims {claimed:,} bytes in {path!r}, of which {stored:,} are stored")
        total += item.size if item.dtype.kind in "fiubcV" else 0
    return total


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):  # a platform without: the limit of time is left
        pass
