"""Write the states and scripts of an export, and never over what a user has edited."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tensorview_insitu.index import Index, ZeroCopyIndex, read_index
from tensorview_insitu.loading.json_text import read_json
from tensorview_insitu.loading.plain_file import read_bytes
from tensorview_insitu.text.one_line import told
from tensorview_insitu.text.xml import NotXmlError

from .drawn_from import failed_parts
from .followed import ignored
from .pvpython import pvpython
from .pvsm import pvsm
from .raw import raw_variable
from .scene import Scene
from .settings import Settings
from .views import VIEWS, ImpossibleViewError, SettingError, check_view

STATE_FOLDER = "states"
_WRITTEN = ".written.json"
_MOST_BYTES = 64 << 20


@dataclass
class Report:
    """What became of the states.

    Args:
        written: the states and scripts that are as this version writes them.
        kept: those that a user has edited: left alone.
        impossible: by view, why there is none: what it lacks, or which setting it cannot follow.
        lost: those of them that a setting or a failure costs, and not only that nothing was recorded.
        incomplete: by view, what failed of that which it would show.
        ignored: by setting, the views that do not follow it.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    impossible: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    incomplete: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What is to be said, besides what was written."""
        return [
            *(f"kept (edited since it was written): {path}" for path in self.kept),
            *(f"no view {name}: {why}" for name, why in self.impossible.items()),
            *self.warnings(),
        ]

    def warnings(self) -> list[str]:
        """What a person would not expect of the views that they see."""
        return [
            *(f"incomplete view {name}: {why}" for name, why in self.incomplete.items()),
            *(f"ignored: {setting}, by {', '.join(views)}" for setting, views in self.ignored.items()),
        ]


def write_states(
    folder: Path, views: Sequence[str] | None = None, settings: Settings | None = None
) -> Report:
    """Write `states/<view>.pvsm` and `.py` beside the data of an export; a view that fails costs that view.

    A state that an export before had data for, and this one has not, is removed, unless it was edited.

    Args:
        folder: the folder of index.json.
        views: which; by default all that the export has data for.
        settings: of them; by default what each shows by itself.

    Raises:
        ValueError: there is no such view.
        NoExportError: there is no export in `folder`.
        ImpossibleViewError: of the views that were named, the export has data for none.
        SettingError: no view could follow a setting.
        NotXmlError: a view was named, and no state can hold the path of the folder.
    """
    index = read_index(folder)
    wanted = settings or Settings()
    states = folder / STATE_FOLDER
    report = Report()
    scenes, scripts, errors = _drawn(
        index, [check_view(view) for view in views] if views else list(VIEWS), wanted
    )
    for error in errors.values():
        if isinstance(error, SettingError) and not any(error.setting in s.followed for s in scenes.values()):
            raise error
    if views and not scenes:
        name, first = next(iter(errors.items()))
        if isinstance(first, SettingError):
            raise first
        raise ImpossibleViewError(f"No view {name} of this run: {first}.") from first.__cause__
    states.mkdir(exist_ok=True)
    hashes = _hashes(states)
    for name, error in errors.items():
        report.impossible[name] = str(error)
        if isinstance(error, SettingError) or error.__cause__ or failed_parts(name, index, wanted):
            report.lost.append(name)
        if not views and not isinstance(error, SettingError):
            _forget(states, name, hashes, report)
    for name, scene in scenes.items():
        for setting in ignored(wanted, scene):
            report.ignored.setdefault(setting, []).append(name)
        if scene.lacks:
            report.incomplete[name] = "; ".join(scene.lacks)
        texts: dict[Path, str] = {}
        try:
            texts[states / f"{name}.pvsm"] = pvsm(scene, folder.resolve())
        except NotXmlError as error:  # the folder's path; the script finds its data without it
            if views:
                raise
            report.impossible[f"{name}.pvsm"] = str(error)
        texts[states / f"{name}.py"] = scripts[name]
        for path, text in texts.items():
            if _is_edited(path, hashes):
                report.kept.append(path)
                continue
            _replace(path, text)
            hashes[path.name] = _hash(text.encode())
            report.written.append(path)
    _replace(states / _WRITTEN, json.dumps(hashes, indent=1))
    return report


def _drawn(
    index: Index, views: Sequence[str], settings: Settings
) -> tuple[dict[str, Scene], dict[str, str], dict[str, ImpossibleViewError | SettingError]]:
    """The scenes and scripts of the views, and why there are none of the others."""
    scenes: dict[str, Scene] = {}
    scripts: dict[str, str] = {}
    errors: dict[str, ImpossibleViewError | SettingError] = {}
    for name in views:
        try:
            scene = VIEWS[name](index, settings)
            scripts[name] = pvpython(scene)
            scenes[name] = scene
        except (ImpossibleViewError, SettingError) as error:
            errors[name] = error
        except (LookupError, ArithmeticError) as error:
            # The types in index.json are right, but not what they say: ours never do that.
            why = f"its part of index.json does not fit together ({told(error)})"
            errors[name] = _caused(why, error)
        except Exception as error:  # whatever it is, the other views do not depend on it
            errors[name] = _caused(told(error), error)
    return scenes, scripts, errors


def _caused(why: str, error: Exception) -> ImpossibleViewError:
    failure = ImpossibleViewError(why)
    failure.__cause__ = error
    return failure


def _forget(states: Path, name: str, hashes: dict[str, str], report: Report) -> None:
    """Take away the state of a view that there is no data for any more."""
    for path in (states / f"{name}.pvsm", states / f"{name}.py"):
        if not path.exists():
            continue
        if _is_edited(path, hashes):
            report.kept.append(path)
        else:
            path.unlink()
            hashes.pop(path.name, None)


def _is_edited(path: Path, hashes: dict[str, str]) -> bool:
    return path.exists() and _hash(read_bytes(path, _MOST_BYTES)) != hashes.get(path.name)


def write_raw_states(folder: Path, files: Sequence[ZeroCopyIndex], settings: Settings) -> list[Path]:
    """Write a state and a script for each file that reads run.h5, beside it."""
    written = []
    for about in files:
        scene = raw_variable(about, settings)
        base = folder / STATE_FOLDER / about["file"].rsplit(".", 1)[0]
        base.parent.mkdir(exist_ok=True)
        for ending, text in ((".pvsm", pvsm(scene, folder.resolve())), (".py", pvpython(scene))):
            path = base.with_name(base.name + ending)
            _replace(path, text)
            written.append(path)
    return written


def _hashes(states: Path) -> dict[str, str]:
    # A stranger's hashes can only have us write over a stranger's states.
    try:
        found = read_json(states / _WRITTEN, _MOST_BYTES)
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(text.encode())
    os.replace(temporary, path)
