"""The export of a run, and a state of it that is right for where it is now: what open and render need."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tensorview_insitu.cli.export import export
from tensorview_insitu.cli.say import say

if TYPE_CHECKING:
    from tensorview_insitu.paraview_states.settings import Settings


def export_folder(path: str) -> Path:
    """The folder of index.json of a run; it is exported when it was not yet.

    Args:
        path: a run's folder, or that of an export.

    Raises:
        ForeignFileError: a link in it leads out, or something in it is no plain file.
    """
    from tensorview_insitu.export.run import EXPORT_FOLDER
    from tensorview_insitu.index import INDEX_FILE
    from tensorview_insitu.loading.plain_file import check_folder, within
    from tensorview_insitu.run.reader import Run

    if (Path(path) / INDEX_FILE).is_file():
        check_folder(Path(path))
        return Path(path)
    run = Run.open(path).folder
    folder = within(run, run / EXPORT_FOLDER)
    check_folder(folder)
    if not (folder / INDEX_FILE).is_file():
        for sentence in export(path, None, None, None).failed.values():
            say(f"missing: {sentence}", file=sys.stderr)
    return folder


def ready_state(
    folder: Path,
    view: str,
    scratch: Path,
    *,
    settings: Settings | None = None,
    allow_code: bool = False,
    in_place: bool = False,
) -> Path:
    """A .pvsm that ParaView may load, with the data files where `folder` is now. Every state goes this way.

    Ours is written again in place; one that a user has edited is left alone. What is handed over is a copy of
    what was checked, in `scratch`: between the check and ParaView nobody can put another file there.

    Args:
        folder: the folder of index.json.
        view: its name.
        scratch: a folder of this process, for the copy.
        settings: of the view.
        allow_code: take it also when it holds what ours never does.
        in_place: hand over the file itself where it is right as it is, for a window that may save it again.

    Raises:
        ForeignStateError: it holds what could run code or read other files.
        ForeignFileError: it, or what it names, is no plain file in `folder`.
        ValueError: it was edited, and there are settings.
    """
    from tensorview_insitu.paraview_states.foreign_state import checked_state
    from tensorview_insitu.paraview_states.states import STATE_FOLDER, write_states

    report = write_states(folder, [view], settings)
    state = folder / STATE_FOLDER / f"{view}.pvsm"
    if state in report.kept and settings is not None and settings.changed():
        raise ValueError(
            f"{state} was edited since it was written, and is not written over. Expected no settings for "
            "it; move it away to have a new one."
        )
    checked = checked_state(state, folder, allow_code=allow_code)
    if in_place and not checked.moved:
        return state
    copy = scratch / state.name
    copy.write_text(checked.text, encoding="utf-8")
    return copy
