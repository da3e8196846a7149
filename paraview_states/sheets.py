"""Value over (filter, epoch) as a surface, and as lines at the first and the current epoch."""

from __future__ import annotations

from tensorview_insitu.index import SheetsIndex

from . import look
from .look import Line
from .scene import ArrayChoice, Node, Scene, Value, View
from .settings import Settings

FILTERS, EPOCHS, HEIGHT = 2.0, 2.0, 1.4  # how long they are drawn
_NOT_DRAWN = ["height", "epoch", "cell"]


def surface_view(
    scene: Scene,
    name: str,
    array: str,
    sheets: SheetsIndex,
    number: int,
    colours: Node,
    settings: Settings,
    *,
    title: str,
) -> View:
    """The sheet of one cell, coloured and raised by its value, with a line at the current time.

    Args:
        scene: where it goes.
        name: of the view.
        array: what the values are called.
        sheets: what is shown.
        number: of the cell.
        colours: of the values.
        settings: for the filters.
        title: over it.
    """
    surface = scene.read(sheets["file"])
    now = scene.read(sheets["now"])
    scale = scale_of(sheets)
    middle = scale[1] * sum(sheets["epoch_range"]) / 2
    view = look.render_view(
        scene,
        name,
        position=[FILTERS / 2 - 2.6, middle - 3.6, 3.4],
        focus=[FILTERS / 2 + 0.15, middle - 0.1, 0.02],
        up=[0.0, 0.0, 1.0],
        parallel_scale=1.72,
        axes={
            "XTitle": "filter",
            "YTitle": "epoch",
            "ZTitle": array,
            "DataScale": scale,
            **look.ticks("X", (0, sheets["filters"] - 1)),
            **look.ticks("Y", sheets["epoch_range"]),
            **look.ticks("Z", sheets["range"], 4, inside=True),
        },
    )
    sheet = _one_cell(scene, name, sheets, number, surface, settings)
    view.show(
        sheet,
        "UnstructuredGridRepresentation",
        Representation="Surface",
        **look.by_array(array, colours),
    )
    line = _one_cell(scene, f"{name} now", sheets, number, now, settings, lift=0.01)
    view.show(
        line,
        "UnstructuredGridRepresentation",
        Representation="Wireframe",
        LineWidth=3.0,
        **look.one_colour(scene.theme.ink, flat=True),
    )
    look.colour_bar(view, colours, array)
    look.caption(scene, view, f"caption {name}", title)
    look.epoch_caption(scene, view, f"epoch {name}", now)
    return view


def lines_view(
    scene: Scene,
    name: str,
    array: str,
    sheets: SheetsIndex,
    numbers: list[tuple[int, str, list[float]]],
    settings: Settings,
    *,
    untrusted: bool,
) -> View:
    """Value over filter at the first and the current epoch.

    Args:
        scene: where it goes.
        name: of the view.
        array: what the values are called.
        sheets: what is shown.
        numbers: of cells, what each is called, and its colour.
        settings: for the filters.
        untrusted: whether the values are not to be trusted.
    """
    first, last = settings.filters or (0, sheets["filters"] - 1)
    room: dict[str, Value] = {
        "BottomAxisUseCustomRange": 1,
        "BottomAxisRangeMinimum": float(first),
        "BottomAxisRangeMaximum": float(last),
    }
    view = look.chart(scene, name, x="filter", y=array, **room)
    now, start = scene.read(sheets["now"]), scene.read(sheets["first"])
    for number, label, colour in numbers:
        for source, when, dashed in ((start, "first", True), (now, "now", False)):
            only = _only(scene, f"line {name} {label} {when}", number, source)
            line = Line(array, f"{label} {when}".strip(), colour, dashed=dashed, untrusted=untrusted)
            look.draw_lines(view, only, "filter", [line], others=_NOT_DRAWN, association=look.POINTS)
    return view


def scale_of(sheets: SheetsIndex) -> list[float]:
    """How filters, epochs and values are scaled to fit the box that they are drawn in."""
    low, high = sheets["range"]
    return [
        look.scale_to(FILTERS, (0, sheets["filters"] - 1)),
        look.scale_to(EPOCHS, sheets["epoch_range"]),
        look.scale_to(HEIGHT, (min(low, 0.0), max(high, 0.0))),
    ]


def raised(scene: Scene, name: str, source: Node, factor: float) -> Node:
    """`source` raised by its array `height`."""
    return scene.source(
        "WarpScalar",
        name,
        Input=source,
        SelectInputScalars=ArrayChoice("POINTS", "height"),
        UseNormal=1,
        Normal=[0.0, 0.0, 1.0],
        ScaleFactor=factor,
    )


def _one_cell(
    scene: Scene,
    name: str,
    sheets: SheetsIndex,
    number: int,
    source: Node,
    settings: Settings,
    lift: float = 0.0,
) -> Node:
    """The sheet (or line) of one cell, raised by its value and drawn in the view's box."""
    scale = scale_of(sheets)
    cell = _only(scene, f"{name} only", number, source)
    only = look.only_filters(scene, cell, settings, "POINTS", sheets["filters"])
    high = raised(scene, f"{name} raised", only, scale[2])
    return scene.transform(
        name, high, Scale=[scale[0], scale[1], 1.0], Position=[0.0, 0.0, lift - float(number)]
    )


def _only(scene: Scene, name: str, number: int, source: Node) -> Node:
    """The values of one cell."""
    return look.between(scene, name, source, ArrayChoice("POINTS", "cell"), number, number)
