"""The settings of views, as arguments of the commands that write them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorview_insitu.paraview_states.settings import Settings


def add_settings(parser: argparse.ArgumentParser, *, layer: bool = True) -> None:
    """Add what a person may set of a view; `layer` unless the command has one of its own."""
    group = parser.add_argument_group("settings of the view (written into the state too)")
    if layer:
        group.add_argument("--layer", metavar="L", help="the layer that is shown")
    group.add_argument("--cells", metavar="R,C:R,C", help="two cells of the kernel's grid, as 0,2:1,1")
    group.add_argument("--filters", metavar="A-B", help="only these filters, as 0-15")
    group.add_argument("--weights", metavar="I,J,K", help="three weights, by their numbers, for their path")
    group.add_argument("--between", metavar="E,F", help="kernels as those of epoch F less those of epoch E")
    group.add_argument("--colour-by", metavar="A", help="the array that colours a path or the network")
    group.add_argument("--method", metavar="M", help="the explanation that is shown, by its name")
    group.add_argument("--sample", metavar="N", type=int, help="the number of the sample that is explained")
    group.add_argument("--time", help="what the animation counts: epoch or step")
    group.add_argument("--colours", help="viridis, cividis, cool_to_warm or purple_orange")
    group.add_argument("--colour-range", help="of one layer, or one for all: layer or all")
    group.add_argument("--background", help="white or dark")


def settings_of(options: argparse.Namespace, *, layer: str | None = None) -> Settings:
    """The settings that were given.

    Raises:
        ValueError: one of them is wrong.
    """
    from tensorview_insitu.paraview_states.settings import Settings

    given = {
        name: value
        for name in ("colour_by", "method", "sample", "time", "colours", "colour_range", "background")
        if (value := getattr(options, name)) is not None
    }
    filters = _numbers("--filters", options.filters, "-", 2, "0-15")
    weights = _numbers("--weights", options.weights, ",", 3, "0,5,17")
    between = options.between and _floats(options.between)
    return Settings(
        layer=layer if layer is not None else getattr(options, "layer", None),
        cells=_cells(options.cells),
        filters=(filters[0], filters[1]) if filters else None,
        weights=weights,
        between=between or None,
        **given,
    )


def _numbers(name: str, text: str | None, between: str, count: int, example: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(between)
    if len(parts) != count or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"Expected {name} as {example}. Received: {text}")
    return tuple(int(part) for part in parts)


def _floats(text: str) -> tuple[float, float]:
    try:
        earlier, later = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"Expected --between as 10,20. Received: {text}") from None
    return earlier, later


def _cells(text: str | None) -> tuple[tuple[int, ...], ...] | None:
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 2 or not all(n.strip().isdigit() for part in parts for n in part.split(",")):
        raise ValueError(f"Expected --cells as 0,2:1,1. Received: {text}")
    return tuple(tuple(int(n) for n in part.split(",")) for part in parts)
