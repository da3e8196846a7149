"""One number out of what a log, or a quantity of the user's own, gives."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tensorview_insitu.run import layout

from .arrays import to_numpy


def number_of(value: Any) -> float:
    """The value as a float: of a Python, NumPy or backend's number; NaN and infinity are numbers.

    Raises:
        ValueError: it is none; the message says why.
    """
    if keras.ops.is_tensor(value) or isinstance(value, keras.Variable):
        value = to_numpy(value)
    if isinstance(value, np.ndarray | np.generic):
        # bfloat16 is of a kind that NumPy does not know.
        if np.ndim(value) == 0 and (value.dtype.kind in "biuf" or "float" in value.dtype.name):
            return float(value)
        raise ValueError(f"an array of shape {np.shape(value)} and type {value.dtype} is no number")
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("it is too large for a float") from None
    raise ValueError(f"a {type(value).__name__} is no number")


def numbers_of(values: Mapping[Any, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Those that are numbers, by name; and of the others why they cannot be in a table."""
    found: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name, value in values.items():
        try:
            number = number_of(value)
            str(name).encode()
            if str(name) in found:
                raise ValueError("two have this name")
            if name in layout.STEPS_COLUMNS:
                raise ValueError("the run's tables have a column of that name")
            found[str(name)] = number
        except UnicodeEncodeError:
            refused[str(name)] = "its name is no text that a file can hold"
        except ValueError as error:
            refused[str(name)] = str(error)
    return found, refused
