"""What a view is told of an export: the same, with every text as it can be printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from tensorview_insitu.index import Index
from tensorview_insitu.text.printable import distinct, printable

from .settings import Settings

_Value = TypeVar("_Value")


def shown(index: Index, settings: Settings) -> tuple[Index, Settings]:
    """Index and settings with printable texts; names that differ still do."""
    forms = distinct(_texts(index))

    def named(text: str | None) -> str | None:
        return None if text is None else forms.get(text, printable(text))

    told = replace(
        settings,
        layer=named(settings.layer),
        colour_by=named(settings.colour_by),
        method=named(settings.method),
    )
    return cast(Index, _replaced(index, forms)), told


def shown_part(part: _Value) -> _Value:
    """A part of an index with printable texts."""
    return cast(_Value, _replaced(part, distinct(_texts(part))))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield key
            yield from _texts(one)
    # Numbers come in long lists of nothing else.
    elif isinstance(value, list | tuple) and not (value and isinstance(value[0], int | float)):
        for one in value:
            yield from _texts(one)


def _replaced(value: Any, forms: Mapping[str, str]) -> Any:
    if all(text == form for text, form in forms.items()):
        return value
    if isinstance(value, str):
        return forms.get(value, printable(value))
    if isinstance(value, Mapping):
        return {forms.get(key, key): _replaced(one, forms) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(one, forms) for one in value]
    return value
