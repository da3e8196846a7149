"""Tiles in a view: a small grid for each filter, its number above it."""

from __future__ import annotations

from tensorview_insitu.index import TilesIndex

from . import look
from .scene import Node, Scene, View
from .settings import Settings

_MOST_NUMBERED = 30  # in a view that shares the window: more are too small to read


def tiles_view(
    scene: Scene,
    name: str,
    tiles: TilesIndex,
    source: Node,
    array: str,
    colours: Node,
    settings: Settings,
    *,
    bar: str,
    title: str,
    pane: tuple[int, int],
    large: bool = False,
) -> View:
    """A view of one layer's tiles.

    Args:
        scene: where it goes.
        name: of the view.
        tiles: what is shown.
        source: where the values come from.
        array: of its cells.
        colours: of its values.
        settings: for the filters.
        bar: the title of the colour bar.
        title: over it.
        pane: how large the view is, in pixels of the window.
        large: whether it has the whole window.
    """
    scale = 1.0 / max(tiles["size"])
    size = (tiles["size"][0] * scale, tiles["size"][1] * scale)
    view = look.flat_view(scene, name, size, pane, large=large)
    is_image = tiles["pattern"].endswith(".vti")
    # Of a matrix, which is one tile, the filters are its columns.
    filters = tiles["tiles"] if tiles["of"] > 1 else max(1, round(tiles["size"][0]))
    chosen = source if is_image else look.only_filters(scene, source, settings, "CELLS", filters)
    drawn = scene.transform(f"{name} drawn", chosen, Scale=[scale, scale, 1.0])
    kind = "StructuredGridRepresentation" if is_image else look.kind_of(drawn)
    view.show(drawn, kind, Representation="Surface", **look.by_array(array, colours, "CELLS", flat=True))
    if tiles["labels"] and (large or tiles["tiles"] <= _MOST_NUMBERED):
        numbers = scene.transform(f"{name} numbers", scene.read(tiles["labels"]), Scale=[scale, scale, 1.0])
        view.show(
            numbers,
            "GeometryRepresentation",
            Representation="Surface",
            **look.one_colour(scene.theme.ink, flat=True),
        )
    if tiles["outlines"]:
        dead = scene.transform(
            f"{name} dead", scene.read(tiles["outlines"]), Scale=[scale, scale, 1.0], Position=[0, 0, 0.01]
        )
        view.show(
            dead,
            "GeometryRepresentation",
            Representation="Wireframe",
            LineWidth=2.0,
            **look.one_colour(look.NOW, flat=True),
        )
    look.colour_bar(view, colours, bar, large=large, Position=look.bar_place(pane, large=large))
    look.caption(scene, view, f"{name} caption", title, large=large)
    return view


def how_many(tiles: TilesIndex) -> str:
    """Which of the filters are shown, where not all are."""
    return "" if tiles["tiles"] == tiles["of"] else f" (the first {tiles['tiles']} of {tiles['of']} filters)"
