"""Load a saved model that somebody else may have made: none of its code runs unless it is trusted."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

_SAFE = (3, 11)


def load_model(path: Path, *, trust: bool) -> Any:
    """The Keras model in a file, not compiled.

    Args:
        path: a .keras file; with `trust` a .h5 file too.
        trust: whether code in the file may run.

    Raises:
        ValueError: it is no model, or one that only somebody who trusts it should load.
        ImportError: there is no Keras backend.
    """
    ending = path.suffix.lower()
    if ending in (".h5", ".hdf5"):
        if not trust:
            raise ValueError(
                f"{path} is an HDF5 model, which can run any code when it is loaded. Save it as .keras, or "
                "pass --trust-model if you know who made it."
            )
    elif ending != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(f"Expected a model saved as .keras. Received: {path}")
    import keras

    if not trust and _version(keras.__version__) < _SAFE:
        raise ValueError(
            f"In Keras {keras.__version__} a model can get around safe mode (CVE-2025-9906). Update Keras, "
            "or pass --trust-model if you know who made it."
        )
    try:
        return keras.models.load_model(path, compile=False, safe_mode=not trust)
    except Exception as error:  # what a stranger's file makes Keras raise has no common type
        why = " ".join(str(error).split())
        if "safe" in why.lower() or "lambda" in why.lower():
            raise ValueError(
                f"{path} holds code of its own (a Lambda layer), which Keras does not run. Pass "
                "--trust-model if you know who made it."
            ) from error
        raise ValueError(f"{path} cannot be loaded: {why[:300]}") from error


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
