"""Values that stay as they are: copies of arrays that nobody can write into, and how two are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def freeze(thing: Any, **values: Any) -> None:
    """Set attributes of a frozen dataclass; while it is made, and never later."""
    for name, value in values.items():
        object.__setattr__(thing, name, value)


def array(value: Any, dtype: Any = None) -> NDArray[Any]:
    """A copy that cannot be written into: what the caller does with theirs does not matter here."""
    if keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    copy = np.array(value, dtype)
    copy.setflags(write=False)
    return copy


def frozen(value: Any) -> Any:
    """A setting that stays as it is: arrays are copied, lists become tuples."""
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        return array(value)
    if isinstance(value, list | tuple):
        return tuple(frozen(one) for one in value)
    if isinstance(value, dict):
        return {key: frozen(one) for key, one in value.items()}
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, arrays by all that they hold."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return (
            isinstance(one, np.ndarray)
            and isinstance(other, np.ndarray)
            and one.dtype == other.dtype
            and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
        )
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Sequence) and not isinstance(one, str | bytes):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
