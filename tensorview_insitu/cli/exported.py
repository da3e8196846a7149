"""The export of a run, and a state of it that is right for where it is now: what open and render need."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tensorview_insitu.cli.export import export
from tensorview_insitu.cli.say import say

if TYPE_CHECKING:
    from tensorview_insitu.paraview_states.settings import Settings
    from tensorview_insitu.run.reader import Run


def export_folder(path: str) -> Path:
    """The folder of index.json of a run, which is exported first unless there is an export of its state now.

    Args:
        path: a run's folder, or that of an export.

    Raises:
        ForeignFileError: a link in it leads out, or something in it is no plain file.
        NoExportError: its index.json cannot be read; or it is not whole, and of which run is not known.
    """
    from tensorview_insitu.export.manifest import DEFAULT_OPTIONS, read_manifest
    from tensorview_insitu.export.run import EXPORT_FOLDER
    from tensorview_insitu.index import NoExportError
    from tensorview_insitu.loading.plain_file import check_folder, within

    run = _run_of(Path(path))
    folder = Path(path) if run is None else within(run.folder, run.folder / EXPORT_FOLDER)
    check_folder(folder)
    reason = _why_again(folder, run)
    if reason is None:
        return folder
    if run is None:
        raise NoExportError(f"{folder} is not whole: {reason}. Export the run again.")
    if reason:
        say(f"exporting {run.folder} again: {reason}", file=sys.stderr)
    before = read_manifest(folder)
    is_own = before is not None and before["run_id"] == run.identity["run_id"]
    options = before["options"] if before is not None and is_own else DEFAULT_OPTIONS
    made = export(
        str(run.folder), None, options["layers"], options["every"], skip_damaged=options["skip_damaged"]
    )
    for sentence in made.failed.values():
        say(f"missing: {sentence}", file=sys.stderr)
    return folder


def _run_of(path: Path) -> Run | None:
    """The run that `path` is the folder of, or that keeps its export there; None for an export elsewhere."""
    from tensorview_insitu.export.run import EXPORT_FOLDER
    from tensorview_insitu.index import INDEX_FILE
    from tensorview_insitu.run.errors import NotARunError
    from tensorview_insitu.run.layout import RUN_FILE
    from tensorview_insitu.run.reader import Run

    if not (path / INDEX_FILE).is_file() or (path / RUN_FILE).exists():
        return Run.open(path)
    place = path.resolve()
    if place.name == EXPORT_FOLDER and (place.parent / RUN_FILE).exists():
        with contextlib.suppress(NotARunError):  # it is damaged, and its export is what there is
            return Run.open(place.parent)
    return None


def _why_again(folder: Path, run: Run | None) -> str | None:
    """Why the export in `folder` cannot be drawn; nothing where there is none yet, None if it can."""
    from tensorview_insitu.export.manifest import is_interrupted, lacking, read_manifest
    from tensorview_insitu.index import INDEX_FILE, read_index
    from tensorview_insitu.run.alone import alone_in
    from tensorview_insitu.run.state import state_of

    if not (folder / INDEX_FILE).exists():
        return ""
    with alone_in(folder):  # another process may be exporting into it
        read_index(folder)  # one that cannot be read is not written over unasked
        if is_interrupted(folder):
            return "an export into it was interrupted"
        manifest = read_manifest(folder)
        gone = lacking(folder, manifest) if manifest is not None else []
    if gone:
        more = f" and {len(gone) - 1} more files" if len(gone) > 1 else ""
        return f"{gone[0]}{more} of it are gone or damaged" if more else f"{gone[0]} of it is gone or damaged"
    if run is None:
        return None
    if manifest is None:
        return "its export is not of this version of tensorview-insitu"
    if manifest["run_id"] != run.identity["run_id"]:
        return "its export is of another run"
    return None if manifest["source"] == state_of(run) else "the run has changed since"


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
