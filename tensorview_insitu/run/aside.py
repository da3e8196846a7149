"""Set the damaged files of a run aside, so that a training can go on with the rest; nothing is deleted."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.identity import INTERRUPTED, new_identity, read_identity, write_identity
from tensorview_insitu.run.parts import Inventory, open_parts

ASIDE_FOLDER = "damaged"
"""Where such files go, in the run's folder."""

_MOST_BYTES = 32 << 20  # of a run.json


def is_damaged_run(folder: Path) -> bool:
    """Whether a folder whose run.json cannot be read holds a run all the same, and none of a later format."""
    content, path = b"", folder / layout.RUN_FILE
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            content = path.read_bytes()
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(content)
        version = found.get("version") if isinstance(found, dict) else None
        if isinstance(version, int) and version > layout.VERSION:
            return False
    return layout.FORMAT.encode() in content or any(_run_ids(folder))


def new_identity_file(folder: Path) -> list[str]:
    """Set a run.json that cannot be read aside, and write one that says what the other files tell.

    Returns:
        What was done, a sentence each.

    Raises:
        NotARunError: no other file can be read either.
        OSError: the folder cannot be written.
    """
    ids = Counter(_run_ids(folder))
    if not ids:
        raise NotARunError(f"{folder} is damaged: none of its files can be read.")
    problem = f"{layout.RUN_FILE} was damaged, so that who wrote the run before, and when, is not known"
    if (folder / layout.RUN_FILE).exists():
        problem += f"; it lies in {_aside(folder, folder / layout.RUN_FILE)} now"
    identity = {**new_identity(), "run_id": ids.most_common(1)[0][0], "status": INTERRUPTED}
    write_identity(folder, identity)
    return [problem]


def set_aside(folder: Path) -> tuple[list[str], list[tuple[int, int]]]:
    """Set every file of the run in `folder` aside that is damaged or does not belong there.

    Returns:
        What was done or is missing, a sentence each; and all segments that are lost, first and last.

    Raises:
        NotARunError: run.json cannot be read.
        OSError: the folder cannot be written.
    """
    problems: list[str] = []
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        wrong = {**found.problems, **_unusable(found)}
    for path, problem in wrong.items():
        problems.append(f"{problem}; it lies in {_aside(folder, path)} now")
    lost = [(int(first), int(last)) for first, last in read_identity(folder).get("lost", [])]
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        lost += [span for span in found.missing if span not in lost]
        problems += list(found.lacking().values())
    return problems, sorted(lost)


def _unusable(found: Inventory) -> dict[Path, str]:
    """Files that open, but whose steps cannot be read: nobody could go on after them."""
    wrong: dict[Path, str] = {}
    for part in found.parts:
        file = found.files[part.path]
        try:
            for name in segment.dataset_names(file):
                segment.steps_of(file, name)
            if layout.EPOCH_SCALARS in file:
                segment.read(file, layout.EPOCH_SCALARS)
        except NotARunError as error:
            wrong[part.path] = str(error)
    return wrong


def _run_ids(folder: Path) -> Iterator[str]:
    for path in [folder / layout.PACKED_FILE, *sorted((folder / layout.SEGMENT_FOLDER).glob("*.h5"))]:
        with contextlib.suppress(NotARunError, OSError), segment.open_part(path) as file:
            yield segment.run_of(file)


def _aside(folder: Path, path: Path) -> Path:
    """Move a file; where it is now, in the run's folder."""
    (folder / ASIDE_FOLDER).mkdir(exist_ok=True)
    target, count = folder / ASIDE_FOLDER / path.name, 0
    while target.exists():
        count += 1
        target = folder / ASIDE_FOLDER / f"{path.stem}.{count}{path.suffix}"
    os.replace(path, target)
    return target.relative_to(folder)
