"""Load a saved model that somebody else may have made: none of its code runs unless it is trusted.

A file of two kilobytes can describe a model of any size, and Keras makes its weights before it looks for
them. So they are counted in the file first, and while the model is built it may not have more.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorview_insitu.loading.model_archive import ModelCodeError, check_archive
from tensorview_insitu.loading.plain_file import ForeignFileError, open_plain, said

_SAFE = (3, 11)
# States of random generators and the like, which not every version of Keras has saved.
_SPARE_NUMBERS = 10_000
# Of one layer's output for one image: 8 GB of float32.
_MOST_OUTPUTS = 2 << 30


def load_model(path: Path, *, trust: bool) -> Any:
    """The Keras model in a file, not compiled.

    Args:
        path: a .keras file; with `trust` a .h5 file too.
        trust: whether code in the file may run; nothing in it is checked then.

    Raises:
        ForeignFileError: it is no model, is damaged, declares more than it stores, or is made of what Keras
            does not have.
        ModelCodeError: it holds code, and only somebody who trusts it should load it.
        ValueError: this Keras cannot load a stranger's model safely.
        ImportError: there is no Keras backend.
    """
    ending = path.suffix.lower()
    if ending in (".h5", ".hdf5"):
        if not trust:
            raise ModelCodeError(
                f"{path} is an HDF5 model, which can run any code when it is loaded. Save it as .keras, or "
                "pass --trust-model if you know who made it."
            )
    elif ending != ".keras":
        raise ForeignFileError(f"Expected a model saved as .keras. Received: {path}")
    # What was checked is what is loaded: nobody else can change a copy in a folder of ours.
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / f"model{ending}"
        with open_plain(path) as source, open(copy, "wb") as target:
            if ending == ".keras" and source.read(2) != b"PK":
                raise ForeignFileError(f"Expected a model saved as .keras. Received: {path}")
            source.seek(0)
            shutil.copyfileobj(source, target)
        if trust:
            return _load(copy, path, safe_mode=False)
        stored = check_archive(copy, Path(scratch), path)
        return _load_checked(copy, path, stored)


def _load_checked(copy: Path, path: Path, stored: int) -> Any:
    import keras

    if _version(keras.__version__) < _SAFE:
        raise ValueError(
            f"In Keras {keras.__version__} a model can get around safe mode (CVE-2025-9906). Update Keras, "
            "or pass --trust-model if you know who made it."
        )
    with _at_most(stored + _SPARE_NUMBERS, stored, path):
        model = _load(copy, path, safe_mode=True)
    _check_outputs(model, path)
    return model


def _load(copy: Path, path: Path, *, safe_mode: bool) -> Any:
    import keras

    try:
        return keras.models.load_model(copy, compile=False, safe_mode=safe_mode)
    except ForeignFileError:
        raise
    except Exception as error:  # what a stranger's file makes Keras raise has no common type
        why = " ".join(str(error).split()).replace(str(copy), str(path))
        why = why.rsplit("Exception encountered: ")[-1]  # before it Keras writes the whole config
        raise ForeignFileError(f"{path} cannot be loaded: {why[:300]}") from error


@contextlib.contextmanager
def _at_most(numbers: int, stored: int, path: Path) -> Iterator[None]:
    """Have no layer make more weights than the file holds; all layers of Keras make them by `add_weight`."""
    import keras

    add_weight = keras.layers.Layer.add_weight
    left = numbers

    def counted(layer: Any, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        wanted = math.prod((shape,) if isinstance(shape, int) else shape or ())
        left -= wanted
        if left < 0:
            raise ForeignFileError(
                f"{path} cannot be loaded: it declares more weights than it holds. Its layer "
                f"{said(layer.name)} wants {wanted:,} of them, and in all {stored:,} are stored."
            )
        return add_weight(layer, shape, *args, **kwargs)

    keras.layers.Layer.add_weight = counted
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


def _check_outputs(model: Any, path: Path) -> None:
    """Raise when a layer without weights makes an image so large that no machine could hold it."""
    import keras

    for layer in model._flatten_layers():
        for output in keras.tree.flatten(_outputs(layer)):
            size = math.prod(n or 1 for n in output.shape[1:])
            if size > _MOST_OUTPUTS:
                raise ForeignFileError(
                    f"{path} cannot be used: its layer {said(layer.name)} gives {size:,} numbers "
                    f"for each image. Expected at most {_MOST_OUTPUTS:,}."
                )


def _outputs(layer: Any) -> Any:
    try:
        return layer.output
    except (AttributeError, ValueError):  # it is called more than once, or in a model that is a class
        return []


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
