"""Which layer of an export a view shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tensorview_insitu.index import Index, LayerIndex

from .impossible import ImpossibleViewError, SettingError
from .look import NOT_TRUSTED

_Part = TypeVar("_Part")


def layers_with(
    index: Index, part: Callable[[LayerIndex], _Part | None], what: str, name: str | None
) -> list[tuple[str, _Part]]:
    """The layers that have what a view shows; only `name`, if that is given.

    Args:
        index: of the export.
        part: takes what the view shows from a layer.
        what: that, in a word.
        name: a layer's name.

    Raises:
        ImpossibleViewError: no layer has it.
        SettingError: that layer has not.
    """
    having = [(layer["name"], found) for layer in index["layers"] if (found := part(layer)) is not None]
    if not having:
        raise ImpossibleViewError(f"no {what} was exported")
    return named(having, f"a {what}", name)


def doubt(index: Index, layer: str, variable: str) -> str:
    """What follows the name of a variable in a title: that its snapshots are not to be trusted."""
    doubted = [one["untrusted"] for one in index["layers"] if one["name"] == layer]
    return NOT_TRUSTED if any(variable in one for one in doubted) else ""


def kernel_doubt(index: Index, layer: str) -> str:
    """The same of the kernel that the views of a layer are of, its first."""
    for one in index["layers"]:
        kernels = [variable["name"] for variable in one["variables"] if variable["name"].endswith("kernel")]
        if one["name"] == layer and kernels:
            return doubt(index, layer, kernels[0])
    return ""


def named(having: Sequence[tuple[str, _Part]], what: str, name: str | None) -> list[tuple[str, _Part]]:
    """Those of layer `name`; all, if none is given.

    Raises:
        SettingError: it has none.
    """
    chosen = [pair for pair in having if name is None or pair[0] == name]
    if not chosen:
        names = ", ".join(dict.fromkeys(layer for layer, _ in having))
        raise SettingError("layer", f'No layer "{name}" with {what} in this export. It holds: {names}.')
    return chosen
