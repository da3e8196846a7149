"""Write the states and scripts of an export, and never over what a user has edited."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tensorview_insitu.index import ZeroCopyIndex, read_index
from tensorview_insitu.loading.json_text import read_json
from tensorview_insitu.loading.plain_file import read_bytes
from tensorview_insitu.text.xml import NotXmlError

from .pvpython import pvpython
from .pvsm import pvsm
from .raw import raw_variable
from .settings import Settings
from .views import VIEWS, ImpossibleViewError, check_view

STATE_FOLDER = "states"
_WRITTEN = ".written.json"
_MOST_BYTES = 64 << 20


@dataclass
class Report:
    """What became of the states.

    Args:
        written: the states and scripts that are as this version writes them.
        kept: those that a user has edited: left alone.
        impossible: by view, what it lacks.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    impossible: dict[str, str] = field(default_factory=dict)


def write_states(
    folder: Path, views: Sequence[str] | None = None, settings: Settings | None = None
) -> Report:
    """Write `states/<view>.pvsm` and `.py` beside the data of an export.

    Args:
        folder: the folder of index.json.
        views: which; by default all that the export has data for.
        settings: of them; by default what each shows by itself.

    Raises:
        ValueError: there is no such view.
        NoExportError: there is no export in `folder`.
        ImpossibleViewError: a view was named that the export has no data for.
        NotXmlError: a view was named, and no state can hold the path of the folder.
    """
    index = read_index(folder)
    states = folder / STATE_FOLDER
    states.mkdir(exist_ok=True)
    hashes = _hashes(states)
    report = Report()
    for name in [check_view(view) for view in views] if views else VIEWS:
        texts: dict[Path, str] = {}
        try:
            scene = VIEWS[name](index, settings or Settings())
            script = pvpython(scene)
            texts[states / f"{name}.pvsm"] = pvsm(scene, folder.resolve())
        except NotXmlError as error:  # the folder's path; the script finds its data without it
            if views:
                raise
            report.impossible[f"{name}.pvsm"] = str(error)
        except ImpossibleViewError as error:
            if views:
                raise ImpossibleViewError(f"No view {name} of this run: {error}.") from None
            report.impossible[name] = str(error)
            continue
        except (LookupError, ArithmeticError) as error:
            # The types in index.json are right, but not what they say: ours never do that.
            why = f"its part of index.json does not fit together ({type(error).__name__}: {error})"
            if views:
                raise ImpossibleViewError(f"No view {name} of this run: {why}.") from error
            report.impossible[name] = why
            continue
        texts[states / f"{name}.py"] = script
        for path, text in texts.items():
            if path.exists() and _hash(read_bytes(path, _MOST_BYTES)) != hashes.get(path.name):
                report.kept.append(path)
                continue
            _replace(path, text)
            hashes[path.name] = _hash(text.encode())
            report.written.append(path)
    _replace(states / _WRITTEN, json.dumps(hashes, indent=1))
    return report


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
