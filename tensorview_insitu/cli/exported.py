"""The export of a run, and a state of it that is right for where it is now: what open and render need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tensorview_insitu.cli.export import export

if TYPE_CHECKING:
    from tensorview_insitu.paraview_states.settings import Settings


def export_folder(path: str) -> Path:
    """The folder of index.json of a run; it is exported when it was not yet.

    Args:
        path: a run's folder, or that of an export.
    """
    from tensorview_insitu.export.run import EXPORT_FOLDER
    from tensorview_insitu.index import INDEX_FILE
    from tensorview_insitu.run.reader import Run

    if (Path(path) / INDEX_FILE).is_file():
        return Path(path)
    folder = Run.open(path).folder / EXPORT_FOLDER
    if not (folder / INDEX_FILE).is_file():
        export(path, None, None, None)
    return folder


def ready_state(
    folder: Path, view: str, scratch: Path, *, settings: Settings | None = None, allow_code: bool = False
) -> Path:
    """A .pvsm whose data files are where `folder` is now.

    Ours is written again in place. One that a user has edited is left alone; if its folder was moved, a
    copy with the right paths goes to `scratch`.

    Args:
        folder: the folder of index.json.
        view: its name.
        scratch: a folder for the copy.
        settings: of the view.
        allow_code: open it also when it holds code, which ours never does.

    Raises:
        ForeignCodeError: it holds code.
    """
    from tensorview_insitu.paraview_states.foreign_code import refuse_code
    from tensorview_insitu.paraview_states.relocate import relocated
    from tensorview_insitu.paraview_states.states import STATE_FOLDER, write_states

    report = write_states(folder, [view], settings)
    state = folder / STATE_FOLDER / f"{view}.pvsm"
    if state in report.kept and settings is not None and settings.changed():
        raise ValueError(
            f"{state} was edited since it was written, and is not written over. Expected no settings for "
            "it; move it away to have a new one."
        )
    if not allow_code:
        refuse_code(state)
    text = relocated(state, folder)
    if text is None:
        return state
    copy = scratch / state.name
    copy.write_text(text, encoding="utf-8")
    return copy
