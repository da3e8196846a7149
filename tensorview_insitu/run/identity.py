"""run.json: who wrote this run, when, with what, and how it ended."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import tempfile
import time
import uuid
import zlib
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from tensorview_insitu.loading.json_text import read_json
from tensorview_insitu.loading.plain_file import ForeignFileError
from tensorview_insitu.loading.typed import check_types
from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.examine import version_of
from tensorview_insitu.run.publish import publish

RUNNING, FINISHED, INTERRUPTED, FAILED, CRASHED = (
    "running",
    "finished",
    "interrupted",
    "failed",
    "crashed",
)

_PACKAGES = (
    "tensorview-insitu",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "torch",
    "numpy",
    "h5py",
)


HEARTBEAT_SECONDS = 15.0
# Where a process cannot be asked whether it lives: on Windows, os.kill(pid, 0) is Ctrl-C.
_NOBODY_TO_ASK = os.name == "nt"

# A run of a model of a thousand layers has some hundred kB.
_MOST_BYTES = 32 << 20


# `class` is no name in Python. One layer of the model, as run.json tells of it.
Layer = TypedDict("Layer", {"path": str, "class": str, "variables": dict[str, list[int]]})


class Resumed(TypedDict):
    """One time that an older run was gone on with."""

    time: str
    after_step: int
    after_epoch: int


class Written(TypedDict):
    """What every run.json says."""

    run_id: str
    created: str
    status: str
    host: str
    pid: int
    missing: list[str]


class Known(Written, total=False):
    """What a run.json may say; what is of no name here may be anything."""

    process_start: str | None
    python: str
    packages: dict[str, str]
    git: str | None
    ended: str
    error: str
    model: str
    backend: str
    steps_per_epoch: int | None
    planned_epochs: int | None
    layers: list[Layer]
    left_out: dict[str, str]
    validation: list[str]
    thinned: list[str]
    resumed: list[Resumed]
    asked: dict[str, str]
    dropped_rows: dict[str, int]
    untrusted: dict[str, dict[str, str]]
    segments: int
    lost: list[tuple[int, int]]
    rows: dict[str, int]


_COUNTS = ("steps_per_epoch", "planned_epochs", "segments")
_LARGEST_PID = 2**31


def new_identity() -> dict[str, Any]:
    """What is known of a run before its training starts."""
    return {
        "format": layout.FORMAT,
        "version": layout.VERSION,
        "run_id": uuid.uuid4().hex,
        "created": now(),
        "status": RUNNING,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": _process_start(os.getpid()),
        "python": platform.python_version(),
        "packages": _versions(),
        "git": _git_commit(),
        "missing": [],
    }


def now() -> str:
    """The current time, as run.json writes it (UTC, ISO 8601)."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write_identity(folder: Path, identity: dict[str, Any], *, durable: bool = False) -> None:
    """Replace the run.json of the run in `folder`."""
    whole = {**identity, "crc32": _crc32(identity)}
    publish(folder / layout.RUN_FILE, json.dumps(whole, indent=1).encode(), durable=durable)


def read_identity(folder: Path) -> dict[str, Any]:
    """The run.json of the run in `folder`.

    Raises:
        NotARunError: there is none, or it is of a later format.
    """
    path = folder / layout.RUN_FILE
    inside = folder / layout.SEGMENT_FOLDER
    # What packing removes, and a merge writes, must lie in this run.
    if inside.is_symlink() or (inside.exists() and not inside.is_dir()):
        raise NotARunError(f"{inside} is a link, or no folder. Expected the folder of a run's segments.")
    try:
        version_of(path)
        identity = read_json(path, _MOST_BYTES)
    except FileNotFoundError:
        raise NotARunError(
            f"{folder} holds no {layout.RUN_FILE}, so it is no run. Expected the folder that was given "
            "to InSituRecorder."
        ) from None
    except ForeignFileError as error:
        raise NotARunError(str(error)) from error
    if not isinstance(identity, dict) or identity.get("format") != layout.FORMAT:
        raise NotARunError(f"{path} was not written by InSituRecorder.")
    if type(identity.get("version")) is not int or identity["version"] > layout.VERSION:
        raise NotARunError(
            f"{folder} is in format {identity.get('version')!r}; this tensorview-insitu reads up to "
            f"{layout.VERSION}. Install a newer one."
        )
    if identity.get("crc32") != _crc32(identity):
        raise NotARunError(f"{path} is damaged: it is not as it was written (checksum).")
    try:
        _check(identity)
    except ValueError as error:
        raise NotARunError(f"{path} is damaged: {error}.") from error
    return identity


def _check(identity: dict[str, Any]) -> None:
    """Raise ValueError unless everything that code relies on is of its type and possible."""
    check_types(identity, Written, _no_names)
    for key, kind in get_type_hints(Known).items():
        if key in identity:
            check_types(identity[key], kind, _no_names, key)
    if "model" in identity and not {"backend", "layers"} <= identity.keys():
        raise ValueError("it names a model without backend and layers")
    if any(not 0 <= first <= last for first, last in identity.get("lost", [])):
        raise ValueError("it has lost impossible segments")
    counts = [identity.get(key) or 0 for key in _COUNTS] + list(identity.get("rows", {}).values())
    if min(counts) < 0 or not 0 < identity["pid"] < _LARGEST_PID:
        raise ValueError("it holds impossible numbers")


def _no_names(text: str, kind: str) -> None:
    pass


def writer_lives(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether the process that wrote this run still runs."""
    if identity.get("host") != socket.gethostname() or _NOBODY_TO_ASK:
        return _beats(folder)
    start = _process_start(identity["pid"])
    return start is not None and start == identity.get("process_start")


def current_status(folder: Path, identity: dict[str, Any]) -> str:
    """`running`, `finished`, `interrupted`, `failed`, or `crashed` when its process is gone."""
    status = str(identity["status"])
    if status == RUNNING and not writer_lives(folder, identity):
        return CRASHED
    return status


def _beats(folder: Path) -> bool:
    """Whether the writer on another host touched run.json a short time ago."""
    try:
        touched = (folder / layout.RUN_FILE).stat().st_mtime
    except OSError:
        return False
    try:  # the file server's clock, which may not be ours
        with tempfile.TemporaryFile(dir=folder) as probe:
            moment = os.fstat(probe.fileno()).st_mtime
    except OSError:  # a folder that may only be read
        moment = time.time()
    return moment - touched < 4 * HEARTBEAT_SECONDS


def _process_start(pid: int) -> str | None:
    # A process number alone is used again, in containers at once; with its start time it is not.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, IndexError):
        pass
    if _NOBODY_TO_ASK:
        return "unknown"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _crc32(identity: dict[str, Any]) -> int:
    content = {key: value for key, value in identity.items() if key != "crc32"}
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
