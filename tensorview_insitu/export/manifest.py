"""The manifest of an export: what each of its files was made of, and what the whole was made of.

An export that is made again keeps a file only if it would be written with the very same content; and it
takes away what an export before wrote and this one has not. `.files.json` lists the files of the last export
that was completed. `.files.begun` exists while an export is being written, and lists what it writes; where
a killed one left it, the files and index.json may not fit together.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from tensorview_insitu import __version__
from tensorview_insitu.loading.json_text import read_json
from tensorview_insitu.loading.plain_file import read_bytes, within
from tensorview_insitu.loading.typed import check_types
from tensorview_insitu.run.publish import publish
from tensorview_insitu.text.file_names import checked

MANIFEST_FILE = ".files.json"
BEGUN_FILE = ".files.begun"
_MOST_BYTES = 64 << 20
# What may be taken away. Never states and pictures: those a user edits.
_SIDECARS = (".xmf", ".vtkhdf")
_FOLDERS = (
    "tables", "curves", "gradient_norms", "layer_health", "network", "explanations", "layers", "activations",
    "maps", "overlays",
)  # fmt: skip


class ExportedFile(TypedDict):
    """One file of an export.

    `made_of` is a fingerprint of what it holds, nothing where it is written each time. `changed` is its time
    in nanoseconds.
    """

    made_of: str
    bytes: int
    changed: int


class Options(TypedDict):
    """How a run was exported, as `export_run` takes it."""

    layers: list[str] | None
    every: int | None
    skip_damaged: bool


class Manifest(TypedDict):
    """All of .files.json; `source` is the state of the run (`tensorview_insitu.run.state`) that it is of."""

    made_by: str
    run_id: str
    source: str
    options: Options
    files: dict[str, ExportedFile]


DEFAULT_OPTIONS: Options = {"layers": None, "every": None, "skip_damaged": False}


def fingerprint(*made_of: Any) -> str:
    """A text that differs when any array, name or number that goes into a file does."""
    digest = hashlib.blake2b(digest_size=16)

    def add(one: Any) -> None:
        if isinstance(one, dict):
            for name, value in one.items():
                add(name)
                add(value)
        elif isinstance(one, np.ndarray):
            digest.update(f"{one.dtype.str}{one.shape}".encode())
            digest.update(np.ascontiguousarray(one).data if one.size else b"")
        else:
            digest.update(f"{one!r}\0".encode("utf-8", "surrogatepass"))

    for one in made_of:
        add(one)
    return digest.hexdigest()


def read_manifest(folder: Path, name: str = MANIFEST_FILE) -> Manifest | None:
    """The manifest in `folder`; None where there is none that this version wrote."""
    try:
        found = read_json(folder / name, _MOST_BYTES)
        check_types(found, Manifest, lambda text, kind: None)
    except (FileNotFoundError, ValueError):
        return None
    return cast(Manifest, found) if found["made_by"] == __version__ else None


def is_interrupted(folder: Path) -> bool:
    """Whether an export into `folder` was begun and not completed."""
    return (folder / BEGUN_FILE).exists()


def lacking(folder: Path, manifest: Manifest) -> list[str]:
    """The files of the manifest that are gone, or have another size than they were written with."""
    return [file for file, about in manifest["files"].items() if _size(folder / file) != about["bytes"]]


class Ledger:
    """What one export finds, writes, and takes away.

    Args:
        folder: of the export.
        before: the manifest of the export before; None keeps no file of it.
        name: of the manifest: files of another kind in the same folder have their own.

    Attributes:
        run_before: the run of the export before; None without one.
    """

    def __init__(self, folder: Path, before: Manifest | None = None, name: str = MANIFEST_FILE) -> None:
        self._folder = folder
        self._manifest = folder / name
        self._begun_file = folder / (BEGUN_FILE if name == MANIFEST_FILE else f"{name}.begun")
        self._before = before["files"] if before is not None else {}
        self.run_before = before["run_id"] if before is not None else None
        self._made_of: dict[str, str] = {}
        self._begun: Any = None
        self._left: list[str] = []

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Say on disk that an export is being written, until `finish`; what breaks off stays begun.

        Its folder is made.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._begun_file
        with contextlib.suppress(FileNotFoundError):
            # Of an export that was killed.
            self._left = read_bytes(path, _MOST_BYTES).decode("utf-8", "replace").split("\n")
        # A new file: an old one of a stranger's could be a link.
        path.unlink(missing_ok=True)
        with open(path, "x", encoding="utf-8", buffering=1) as self._begun:
            self._begun.writelines(f"{file}\n" for file in self._left if file)
            try:
                yield
            finally:
                self._begun = None

    def note(self, file: str) -> None:
        """Remember that `file` is one of this export."""
        if file not in self._made_of:
            self._made_of[file] = ""
            if self._begun is not None and file not in self._before:
                self._begun.write(file + "\n")

    def keeps(self, file: str, *made_of: Any) -> bool:
        """Whether `file` is as an export before wrote it, out of just what it is made of now."""
        self.note(file)
        self._made_of[file] = fingerprint(*made_of)
        before = self._before.get(file)
        return (
            before is not None
            and before["made_of"] == self._made_of[file]
            and _times(self._folder / file) == (before["bytes"], before["changed"])
        )

    def finish(self, run_id: str, source: str = "", options: Options = DEFAULT_OPTIONS) -> list[str]:
        """Take away what only an export before wrote, and write the manifest; what was taken away."""
        old = [file for file in {**self._before, **dict.fromkeys(self._left)} if file not in self._made_of]
        taken_away = [file for file in old if _remove(self._folder, file)]
        files: dict[str, ExportedFile] = {}
        for file, made_of in self._made_of.items():
            found = _times(self._folder / file)
            if found is not None:  # what failed was taken away
                files[file] = {"made_of": made_of, "bytes": found[0], "changed": found[1]}
        manifest: Manifest = {
            "made_by": __version__,
            "run_id": run_id,
            "source": source,
            "options": options,
            "files": files,
        }
        publish(self._manifest, json.dumps(manifest).encode())
        with contextlib.suppress(FileNotFoundError):
            self._begun_file.unlink()
        return taken_away


def _remove(folder: Path, file: str) -> bool:
    """Take away one of our files, if it is one: a stranger's manifest may name any."""
    try:
        path = within(folder, folder / checked(file))
    except ValueError:
        return False
    ours = file.split("/")[0] in _FOLDERS or ("/" not in file and file.endswith(_SIDECARS))
    if not ours or not (path.is_symlink() or path.is_file()):
        return False
    path.unlink()
    with contextlib.suppress(OSError):  # it holds more
        path.parent.rmdir()
    return True


def _times(path: Path) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def _size(path: Path) -> int | None:
    found = _times(path)
    return found[0] if found is not None else None
