"""What is in a .keras file, looked at before Keras sees it: its members, and the classes it names."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorview_insitu.loading.json_text import parse_json
from tensorview_insitu.loading.model_weights import count_weights
from tensorview_insitu.loading.plain_file import ForeignFileError, said

CONFIG, METADATA, WEIGHTS, ASSETS = "config.json", "metadata.json", "model.weights.h5", "assets/"

_MOST_CONFIG_BYTES = 64 << 20
_MOST_MEMBERS = 10_000
# Keras stores its members as they are; a file that somebody has zipped again may be smaller.
_MOST_EXPANSION = 100
_FLOOR_BYTES = 64 << 20

# Layers that run Python, TensorFlow, JAX or PyTorch programs, or load them from a path.
_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# Values; they name no class.
_VALUES = {
    "__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__",
}  # fmt: skip
# Where Keras keeps what models are made of: `keras.utils` and others of its modules hold functions that read,
# write and download files.
_PARTS = (
    "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "models",
    "ops", "optimizers", "quantizers", "random", "regularizers",
)  # fmt: skip
_MODULES = tuple(f"{top}.{part}" for top in ("keras", "keras.src") for part in _PARTS)


class ModelCodeError(ForeignFileError):
    """Raised when a model holds code of its own."""


def check_archive(path: Path, scratch: Path, shown: Path) -> int:
    """Look through a .keras file; how many weights it holds.

    Args:
        path: the file; nobody else changes it.
        scratch: a folder for its weights.
        shown: what it is called in messages.

    Raises:
        ModelCodeError: it holds code of its own.
        ForeignFileError: it is damaged, names classes that are not of Keras, or holds less than it says.
    """
    weights = scratch / WEIGHTS
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, shown)
            config = archive.read(CONFIG)
            with archive.open(WEIGHTS) as source, open(weights, "wb") as copy:
                shutil.copyfileobj(source, copy)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, ForeignFileError):
            raise
        raise ForeignFileError(f"{shown} cannot be loaded: it is damaged ({error}).") from None
    _check_config(parse_json(config, f"{shown}/{CONFIG}"), shown)
    try:
        return count_weights(weights, f"{shown}/{WEIGHTS}")
    finally:
        weights.unlink()


def _check_members(archive: zipfile.ZipFile, shown: Path) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    for needed in (CONFIG, WEIGHTS):
        if needed not in names:
            raise ForeignFileError(
                f"{shown} cannot be loaded: it holds no {needed}. Expected a model of Keras 3."
            )
    if len(members) > _MOST_MEMBERS or len(set(names)) < len(names):
        raise ForeignFileError(
            f"{shown} cannot be loaded: it holds {len(names):,} files, or one of them twice."
        )
    for member in members:
        name = member.filename
        is_ours = name in (CONFIG, METADATA, WEIGHTS) or name.startswith(ASSETS)
        if not is_ours or ".." in name.split("/") or "\\" in name or ":" in name:
            raise ForeignFileError(
                f"{shown} cannot be loaded: it holds {said(name)!r}, which Keras does not write."
            )
        if member.file_size > max(_FLOOR_BYTES, _MOST_EXPANSION * member.compress_size):
            raise ForeignFileError(
                f"{shown} cannot be loaded: its {said(name)!r} claims {member.file_size:,} bytes, of "
                f"which {member.compress_size:,} are stored."
            )
    if archive.getinfo(CONFIG).file_size > _MOST_CONFIG_BYTES:
        raise ForeignFileError(
            f"{shown} cannot be loaded: its {CONFIG} has {archive.getinfo(CONFIG).file_size:,} bytes."
        )


def _check_config(config: Any, shown: Path) -> None:
    """Raise unless all that a config names is of Keras, and none of it runs code or opens files."""
    for one in _objects(config):
        kind, module = one["class_name"], one.get("module")
        if isinstance(kind, str) and kind in _CODE:
            raise ModelCodeError(
                f"{shown} holds code of its own (a {kind} layer), which Keras does not run. Pass "
                "--trust-model if you know who made it."
            )
        if not _is_of_keras(kind, module):
            raise ForeignFileError(
                f"{shown} cannot be loaded: it needs {said(kind)!r} of {said(module)!r}, which is no part of "
                "models of Keras."
            )
        own = one.get("config")
        vocabulary = own.get("vocabulary") if isinstance(own, dict) else None
        if isinstance(vocabulary, str):
            raise ForeignFileError(
                f"{shown} cannot be loaded: its {said(kind)!r} would read the file {said(vocabulary)!r}."
            )


def _is_of_keras(kind: Any, module: Any) -> bool:
    if isinstance(kind, str) and kind in _VALUES:
        return True
    if not isinstance(kind, str) or not isinstance(module, str):
        return False
    if kind == "function" and module == "builtins":  # Keras looks for its own function of that name
        return True
    if module == "keras":
        return kind.endswith("DTypePolicy") or kind in ("Model", "Sequential")
    return any(module == one or module.startswith(f"{one}.") for one in _MODULES)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """All that Keras would make an object of, but for how it was trained, which is not loaded."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if "class_name" in one and ("config" in one or "module" in one):
                yield one
            waiting += [value for key, value in one.items() if one is not config or key != "compile_config"]
