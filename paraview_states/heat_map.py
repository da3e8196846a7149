"""A heat map in a view: rows with their names on the left, time along the bottom, a line at now."""

from __future__ import annotations

from tensorview_insitu.index import HeatMapIndex

from . import look
from .scene import Node, Scene, Value, View

_FLAT = 1e-6


def heat_map_view(
    scene: Scene,
    heat: HeatMapIndex,
    now: str,
    colours: Node,
    *,
    name: str,
    x: str,
    bar: str,
    title: str,
    pane: tuple[int, int],
    most_ticks: int = 12,
) -> View:
    """A view of one heat map.

    Args:
        scene: where it goes.
        heat: what is shown.
        now: the file of a line at the current time, one high.
        colours: of its cells.
        name: of the view.
        x: the title of the horizontal axis.
        bar: the title of the colour bar.
        title: over it.
        pane: how large the view is, in pixels of the window.
        most_ticks: on the horizontal axis.
    """
    image = scene.read(heat["file"])
    names = scene.read(heat["labels"])
    low, high = heat["extent"]
    wide = 1.0 / (high - low)
    left = heat["label_width"] * wide
    height = heat["height"] * wide
    axes: dict[str, Value] = {
        "XTitle": x,
        "DataScale": [wide, 1.0, 1.0],
        "ShowGrid": 0,
        # The names are left of it, where no time is.
        "UseCustomBounds": 1,
        "CustomBounds": [wide * low, wide * high, 0.0, height, 0.0, 0.0],
        "AxesToLabel": 2,  # below, not above
        **look.ticks("X", (low, high), most_ticks),
        **look.no_ticks("Y"),
        **look.no_ticks("Z"),
    }
    view = look.flat_view(scene, name, (1.0, height), pane, left=left, begin=wide * low, axes=axes)
    # Its cells are one high: flat, or they would hide the lines that are drawn on them.
    drawn = scene.transform(f"{name} drawn", image, Scale=[wide, wide, _FLAT])
    view.show(
        drawn,
        "StructuredGridRepresentation",
        Representation="Surface",
        **look.by_array(heat["array"], colours, "CELLS", flat=True),
    )
    labels = scene.transform(f"{name} names", names, Scale=[wide, wide, wide])
    view.show(
        labels,
        "GeometryRepresentation",
        Representation="Surface",
        **look.one_colour(scene.theme.ink, flat=True),
    )
    if heat["hatching"] is not None:
        lines = scene.transform(
            f"{name} hatching", scene.read(heat["hatching"]), Scale=[wide] * 3, Position=[0.0, 0.0, 0.005]
        )
        view.show(
            lines,
            "GeometryRepresentation",
            Representation="Wireframe",
            LineWidth=1.5,
            **look.one_colour(scene.theme.ink, flat=True),
        )
        title += ("; " if pane[0] > 1000 else "\n") + "hatched: not trusted"
    line = scene.read(now)
    at_now = scene.transform(f"{name} now", line, Scale=[wide, height, 1.0], Position=[0.0, 0.0, 0.01])
    view.show(
        at_now,
        "GeometryRepresentation",
        Representation="Surface",
        LineWidth=3.0,
        **look.one_colour(look.NOW, flat=True),
    )
    look.colour_bar(view, colours, bar, Position=look.bar_place(pane))
    look.caption(scene, view, f"{name} caption", title)
    look.epoch_caption(scene, view, f"{name} time", line)
    return view
