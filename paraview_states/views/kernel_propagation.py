"""How the weights of single grid cells move through the epochs, filter by filter."""

from __future__ import annotations

from tensorview_insitu.index import Index, LayerIndex, SheetsIndex

from .. import colour_maps, look
from ..look import Line
from ..scene import ArrayChoice, Node, Scene, Split, Value, View
from .impossible import ImpossibleViewError

_FILTERS, _EPOCHS, _HEIGHT = 2.0, 2.0, 1.4  # how long they are drawn
_STACK = 2.75  # how high the stack is at the most
_GAP = 0.34  # between its sheets, where they are few
_MOST_NAMED = 12  # cells that a legend can name
_BETWEEN = 0  # Threshold's method: between two values
_NOT_DRAWN = ["height", "epoch", "cell"]


def kernel_propagation(
    index: Index, layer: str | None = None, cells: tuple[tuple[int, ...], ...] | None = None
) -> Scene:
    """The paper's figures 7 and 8.

    Args:
        index: of the export.
        layer: which layer; by default the first with a kernel.
        cells: the two grid cells, as `((0, 2), (1, 1))`; by default the upper right and the centre.
    """
    chosen = _layer(index, layer)
    sheets = chosen["sheets"]
    assert sheets is not None
    first, second = _cells(sheets, cells)
    scene = Scene(f"Kernel propagation of {look.run_name(index)}", sheets["times"])
    surface = scene.read(sheets["file"])
    now = scene.read(sheets["now"])
    start = scene.read(sheets["first"])
    colours = scene.colour_map("weight", **colour_maps.signed(*sheets["range"]))
    surfaces = [
        _surface(scene, chosen["name"], sheets, cell, surface, now, colours) for cell in (first, second)
    ]
    lines = _lines(scene, chosen["name"], sheets, (first, second), now, start)
    stack = _stack(scene, chosen["name"], sheets, surface)
    scene.layout = Split(
        "vertical",
        Split("horizontal", surfaces[0], surfaces[1]),
        Split("horizontal", lines, stack),
    )
    return scene


def _layer(index: Index, name: str | None) -> LayerIndex:
    having = [layer for layer in index["layers"] if layer["sheets"] is not None]
    if not having:
        raise ImpossibleViewError("no kernel was exported")
    if name is None:
        return having[0]
    for layer in having:
        if layer["name"] == name:
            return layer
    names = ", ".join(layer["name"] for layer in having)
    raise ValueError(f'No layer "{name}" with a kernel in this export. It holds: {names}.')


def _cells(sheets: SheetsIndex, wanted: tuple[tuple[int, ...], ...] | None) -> tuple[list[int], list[int]]:
    held = sheets["cells"]
    if wanted is None:
        corner = [0] * (len(held[-1]) - 1) + held[-1][-1:]  # the right end of the first row
        return corner, held[len(held) // 2]
    for cell in wanted:
        if list(cell) not in held:
            raise ValueError(f"No cell {tuple(cell)} in this kernel. Its last is {tuple(held[-1])}.")
    return list(wanted[0]), list(wanted[-1])


def _surface(
    scene: Scene,
    layer: str,
    sheets: SheetsIndex,
    cell: list[int],
    surface: Node,
    now: Node,
    colours: Node,
) -> View:
    label = _label(cell)
    scale = _scale(sheets)
    middle = scale[1] * sum(sheets["epoch_range"]) / 2
    view = look.render_view(
        scene,
        f"cell {label}",
        position=[_FILTERS / 2 - 2.6, middle - 3.6, 3.4],
        focus=[_FILTERS / 2 + 0.15, middle - 0.1, -0.05],
        up=[0.0, 0.0, 1.0],
        parallel_scale=1.6,
        axes={
            "XTitle": "filter",
            "YTitle": "epoch",
            "ZTitle": "weight",
            "DataScale": scale,
            **look.ticks("X", (0, sheets["filters"] - 1)),
            **look.ticks("Y", sheets["epoch_range"]),
            **look.ticks("Z", sheets["range"], 4, inside=True),
        },
    )
    sheet = _one_cell(scene, f"cell {label}", sheets, cell, surface)
    view.show(
        sheet,
        "UnstructuredGridRepresentation",
        Representation="Surface",
        **look.by_array("weight", colours),
    )
    line = _one_cell(scene, f"cell {label} now", sheets, cell, now, lift=0.01)
    view.show(
        line,
        "UnstructuredGridRepresentation",
        Representation="Wireframe",
        LineWidth=3.0,
        **look.one_colour(look.INK, flat=True),
    )
    look.colour_bar(view, colours, "weight")
    look.caption(
        scene,
        view,
        f"caption {label}",
        f"{layer}, grid cell {label}: weight of every filter{_of_channel(sheets)}",
    )
    look.epoch_caption(scene, view, f"epoch {label}", now)
    return view


def _one_cell(
    scene: Scene, name: str, sheets: SheetsIndex, cell: list[int], source: Node, lift: float = 0.0
) -> Node:
    """The sheet (or line) of one cell, raised by its weight and drawn in the view's box."""
    number = sheets["cells"].index(cell)
    scale = _scale(sheets)
    only = _only(scene, f"{name} only", sheets, cell, source)
    raised = _raised(scene, f"{name} raised", only, scale[2])
    return scene.transform(
        name, raised, Scale=[scale[0], scale[1], 1.0], Position=[0.0, 0.0, lift - float(number)]
    )


def _only(scene: Scene, name: str, sheets: SheetsIndex, cell: list[int], source: Node) -> Node:
    number = float(sheets["cells"].index(cell))
    return scene.source(
        "Threshold",
        name,
        Input=source,
        SelectInputScalars=ArrayChoice("POINTS", "cell"),
        ThresholdMethod=_BETWEEN,
        LowerThreshold=number,
        UpperThreshold=number,
    )


def _raised(scene: Scene, name: str, source: Node, factor: float) -> Node:
    return scene.source(
        "WarpScalar",
        name,
        Input=source,
        SelectInputScalars=ArrayChoice("POINTS", "height"),
        UseNormal=1,
        Normal=[0.0, 0.0, 1.0],
        ScaleFactor=factor,
    )


def _lines(
    scene: Scene,
    layer: str,
    sheets: SheetsIndex,
    cells: tuple[list[int], list[int]],
    now: Node,
    start: Node,
) -> View:
    room: dict[str, Value] = {
        "BottomAxisUseCustomRange": 1,
        "BottomAxisRangeMinimum": 0.0,
        "BottomAxisRangeMaximum": float(sheets["filters"] - 1),
    }
    view = look.chart(
        scene,
        f"{layer}: at the first and the current epoch",
        x="filter",
        y="weight",
        **room,
    )
    for cell, colour in zip(cells, (look.TRAINING, look.VALIDATION), strict=True):
        for source, when, dashed in ((start, "first", True), (now, "now", False)):
            only = _only(scene, f"line {_label(cell)} {when}", sheets, cell, source)
            line = Line("weight", f"{_label(cell)} {when}", colour, dashed=dashed)
            look.draw_lines(view, only, "filter", [line], others=_NOT_DRAWN, association=look.POINTS)
    return view


def _stack(scene: Scene, layer: str, sheets: SheetsIndex, surface: Node) -> View:
    scale = _scale(sheets)
    labels = [_label(cell) for cell in sheets["cells"]]
    last = len(labels) - 1
    if len(labels) <= _MOST_NAMED:
        colours = scene.colour_map("cell", **colour_maps.categories(labels))
        legend = "grid cell"
    else:
        colours = scene.colour_map("cell", **colour_maps.magnitude(0.0, float(last)))
        legend = f"cell: 0 is {labels[0]}, {last} is {labels[-1]}"
    gap = min(_GAP, _STACK / max(1, last))
    # Sheets lie one unit apart, and are raised by at most half of one.
    reach = max(abs(value) for value in sheets["range"]) or 1.0
    height = gap * last
    middle = scale[1] * sum(sheets["epoch_range"]) / 2
    view = look.render_view(
        scene,
        "all cells",
        position=[_FILTERS / 2 - 2.6, middle - 3.6, height / 2 + 1.6],
        focus=[_FILTERS / 2, middle, height / 2],
        up=[0.0, 0.0, 1.0],
        parallel_scale=2.25,
        axes={
            "XTitle": "filter",
            "YTitle": "epoch",
            "DataScale": [scale[0], scale[1], gap],
            **look.ticks("X", (0, sheets["filters"] - 1)),
            **look.ticks("Y", sheets["epoch_range"]),
            **look.no_ticks("Z"),
        },
    )
    raised = _raised(scene, "all cells raised", surface, 0.6 / reach)
    drawn = scene.transform("all cells", raised, Scale=[scale[0], scale[1], gap])
    view.show(drawn, "GeometryRepresentation", Representation="Surface", **look.by_array("cell", colours))
    look.colour_bar(view, colours, legend, DrawNanAnnotation=0)
    look.caption(scene, view, "caption all", f"{layer}: all grid cells, one above the other")
    return view


def _scale(sheets: SheetsIndex) -> list[float]:
    low, high = sheets["range"]
    return [
        look.scale_to(_FILTERS, (0, sheets["filters"] - 1)),
        look.scale_to(_EPOCHS, sheets["epoch_range"]),
        look.scale_to(_HEIGHT, (min(low, 0.0), max(high, 0.0))),
    ]


def _label(cell: list[int]) -> str:
    return "(" + ", ".join(map(str, cell)) + ")"


def _of_channel(sheets: SheetsIndex) -> str:
    if sheets["channels"] == 1:
        return ""
    return f" (input channel {sheets['channel']} of {sheets['channels']})"
