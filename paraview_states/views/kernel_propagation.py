"""How the weights of single grid cells move through the epochs, filter by filter."""

from __future__ import annotations

from tensorview_insitu.index import Index, Range, SheetsIndex

from .. import colour_maps, look
from ..impossible import SettingError
from ..layers import kernel_doubt, layers_with
from ..scene import Node, Scene, Split, View
from ..settings import Settings
from ..sheets import FILTERS, lines_view, raised, scale_of, surface_view

_STACK = 2.75  # how high the stack is at the most
_GAP = 0.34  # between its sheets, where they are few
_MOST_NAMED = 12  # cells that a legend can name


def kernel_propagation(index: Index, settings: Settings) -> Scene:
    """The paper's figures 7 and 8: two grid cells as surfaces, as lines, and all cells as a stack."""
    layer, sheets = _chosen(index, settings)
    scene = look.new_scene(index, settings, "Kernel propagation", sheets["times"])
    first, second = _cells(sheets, settings.cells)
    colours = _colours(scene, index, sheets, settings)
    doubt = kernel_doubt(index, layer)
    surfaces = [_surface(scene, layer, sheets, cell, colours, settings, doubt) for cell in (first, second)]
    numbers = [
        (sheets["cells"].index(cell), _label(cell), colour)
        for cell, colour in zip((first, second), (look.TRAINING, look.VALIDATION), strict=True)
    ]
    lines = lines_view(
        scene,
        f"{layer}: at the first and the current epoch{doubt}",
        "weight",
        sheets,
        numbers,
        settings,
        untrusted=bool(doubt),
    )
    scene.layout = Split(
        "vertical",
        Split("horizontal", surfaces[0], surfaces[1]),
        Split("horizontal", lines, _stack(scene, layer, sheets, settings, doubt)),
    )
    return scene


def kernel_surface(scene: Scene, index: Index, settings: Settings) -> View:
    """The surface of one cell alone, the centre of the grid unless another is chosen."""
    layer, sheets = _chosen(index, settings)
    cell = _cells(sheets, settings.cells)[1]
    colours = _colours(scene, index, sheets, settings)
    return _surface(scene, layer, sheets, cell, colours, settings, kernel_doubt(index, layer))


def _chosen(index: Index, settings: Settings) -> tuple[str, SheetsIndex]:
    return layers_with(index, lambda one: one["sheets"], "kernel", settings.layer)[0]


def weight_range(index: Index, own: Range, settings: Settings) -> Range:
    """The range of a layer's weights, or of those of all layers."""
    if settings.colour_range == "layer":
        return own
    ranges = [layer["sheets"]["range"] for layer in index["layers"] if layer["sheets"] is not None]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _colours(scene: Scene, index: Index, sheets: SheetsIndex, settings: Settings) -> Node:
    limits = weight_range(index, sheets["range"], settings)
    return scene.colour_map("weight", **colour_maps.chosen(settings.colours, *limits, is_signed=True))


def _cells(sheets: SheetsIndex, wanted: tuple[tuple[int, ...], ...] | None) -> tuple[list[int], list[int]]:
    held = sheets["cells"]
    if wanted is None:
        corner = [0] * (len(held[-1]) - 1) + held[-1][-1:]  # the right end of the first row
        return corner, held[len(held) // 2]
    for cell in wanted:
        if list(cell) not in held:
            raise SettingError(
                "cells", f"No cell {tuple(cell)} in this kernel. Its last is {tuple(held[-1])}."
            )
    return list(wanted[0]), list(wanted[-1])


def _surface(
    scene: Scene,
    layer: str,
    sheets: SheetsIndex,
    cell: list[int],
    colours: Node,
    settings: Settings,
    doubt: str,
) -> View:
    label = _label(cell)
    return surface_view(
        scene,
        f"cell {label}",
        "weight",
        sheets,
        sheets["cells"].index(cell),
        colours,
        settings,
        title=f"{layer}, grid cell {label}: weight of every filter{_of_channel(sheets)}{doubt}",
    )


def _stack(scene: Scene, layer: str, sheets: SheetsIndex, settings: Settings, doubt: str) -> View:
    scale = scale_of(sheets)
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
        position=[FILTERS / 2 - 2.6, middle - 3.6, height / 2 + 1.6],
        focus=[FILTERS / 2, middle, height / 2],
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
    surface = look.only_filters(scene, scene.read(sheets["file"]), settings, "POINTS", sheets["filters"])
    high = raised(scene, "all cells raised", surface, 0.6 / reach)
    drawn = scene.transform("all cells", high, Scale=[scale[0], scale[1], gap])
    view.show(drawn, look.kind_of(drawn), Representation="Surface", **look.by_array("cell", colours))
    look.colour_bar(view, colours, legend, DrawNanAnnotation=0)
    look.caption(scene, view, "caption all", f"{layer}: all grid cells, one above the other{doubt}")
    return view


def _label(cell: list[int]) -> str:
    return "(" + ", ".join(map(str, cell)) + ")"


def _of_channel(sheets: SheetsIndex) -> str:
    if sheets["channels"] == 1:
        return ""
    return f" (input channel {sheets['channel']} of {sheets['channels']})"
