"""Hold what a JSON file says against the types that the code declares for it."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

_LARGEST = 2**63


def check_types(value: Any, declared: Any, check_named: Callable[[str, str], None], where: str = "") -> None:
    """Raise unless `value` is what `declared` says.

    Args:
        value: what `json.loads` gave.
        declared: a `TypedDict`, a list, tuple, dict or union of them, or a plain type. Keys that a
            `TypedDict` does not name are passed over.
        check_named: called with every text declared as `Annotated[str, kind]` and its kind; may raise.
        where: the place of `value`, for messages.

    Raises:
        ValueError: with the place, what was expected and what came.
    """
    if get_origin(declared) is Annotated:
        check_types(value, str, check_named, where)
        check_named(value, declared.__metadata__[0])
    elif is_typeddict(declared):
        _require(isinstance(value, dict), "an object", value, where)
        for key, kind in _keys(declared).items():
            _require(key in value, f"an object with {key!r}", "one without", where)
            check_types(value[key], kind, check_named, f"{where}.{key}" if where else key)
    elif get_origin(declared) in (Union, types.UnionType):
        # Of the unions in our files, one part is None.
        if value is not None:
            (kind,) = (one for one in get_args(declared) if one is not type(None))
            check_types(value, kind, check_named, where)
    elif get_origin(declared) is list:
        _require(isinstance(value, list), "a list", value, where)
        for number, one in enumerate(value):
            check_types(one, get_args(declared)[0], check_named, f"{where}[{number}]")
    elif get_origin(declared) is tuple:
        kinds = get_args(declared)
        fits = isinstance(value, list | tuple) and len(value) == len(kinds)
        _require(fits, f"a list of {len(kinds)}", value, where)
        for number, (one, kind) in enumerate(zip(value, kinds, strict=True)):
            check_types(one, kind, check_named, f"{where}[{number}]")
    elif get_origin(declared) is dict:
        _require(isinstance(value, dict), "an object", value, where)
        for key, one in value.items():
            check_types(one, get_args(declared)[1], check_named, f"{where}.{key}")
    else:
        _check_plain(value, declared, where)


def _check_plain(value: Any, declared: Any, where: str) -> None:
    if declared is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        # A whole number of JSON may be larger than any float.
        fits = fits and (isinstance(value, float) or abs(value) < 2**1023)
        _require(fits and math.isfinite(value), "a number", value, where)
    elif declared is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
        _require(fits, "a whole number", value, where)
    else:
        _require(isinstance(value, declared), f"a {declared.__name__}", value, where)


@cache
def _keys(declared: Any) -> dict[str, Any]:
    return get_type_hints(declared, include_extras=True)


def _require(fits: bool, expected: str, value: Any, where: str) -> None:
    if not fits:
        came = ascii(value)
        came = came if len(came) <= 60 else came[:57] + "..."
        raise ValueError(f"expected {expected} at {ascii(where)[1:-1][:100] or 'its top'}, received {came}")
