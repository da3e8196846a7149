"""Whether two Python functions do the same: one code, over the same things."""

from __future__ import annotations

import functools
import types
from typing import Any


def same_function(one: Any, other: Any) -> bool:
    """Whether two functions that were made at different times do the same.

    Functions of TensorFlow are compared by the Python function that they compile and how they do it, what a
    function closes over in the same way. What cannot be compared is not the same.

    Args:
        one: as Keras built it, or somebody else.
        other: as Keras builds it now.
    """
    try:
        return _same(one, other, set())
    except ValueError:  # something that it closes over has no value yet
        return False


def _same(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    if one is other or (id(one), id(other)) in seen:
        return True
    if type(one) is not type(other):
        return False
    seen.add((id(one), id(other)))
    if isinstance(one, types.FunctionType):
        return (
            one.__code__ is other.__code__
            and _all_same(one.__defaults__ or (), other.__defaults__ or (), seen)
            and _all_same(_closed_over(one), _closed_over(other), seen)
        )
    if isinstance(one, types.MethodType):
        return one.__func__ is other.__func__ and one.__self__ is other.__self__
    if isinstance(one, functools.partial):
        return (
            _same(one.func, other.func, seen)
            and _all_same(one.args, other.args, seen)
            and list(one.keywords) == list(other.keywords)
            and _all_same(list(one.keywords.values()), list(other.keywords.values()), seen)
        )
    if hasattr(one, "python_function"):
        compiled = [getattr(function, "_jit_compile", None) for function in (one, other)]
        return compiled[0] == compiled[1] and _same(one.python_function, other.python_function, seen)
    return isinstance(one, bool | int | float | str) and one == other


def _closed_over(function: types.FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


def _all_same(some: Any, others: Any, seen: set[tuple[int, int]]) -> bool:
    return len(some) == len(others) and all(_same(a, b, seen) for a, b in zip(some, others, strict=True))
