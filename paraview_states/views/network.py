"""The whole network in one 3-D scene: a slab for each layer, a cell for each weight."""

from __future__ import annotations

from tensorview_insitu.index import Index

from .. import colour_maps, look
from ..impossible import ImpossibleViewError, SettingError
from ..layers import doubt
from ..scene import Scene
from ..settings import Settings


def network(index: Index, settings: Settings) -> Scene:
    """Coloured by weight, change, gradient norm or place; ParaView's selection tells what a cell is."""
    whole = index["network"]
    if whole is None:
        raise ImpossibleViewError("no kernel was exported")
    scene = look.new_scene(index, settings, "Network", whole["times"])
    array = settings.colour_by or "weight"
    ranges = whole["arrays"]
    if array not in ranges:
        raise SettingError(
            "colour_by", f'No "{array}" to colour the network by. There are: {", ".join(ranges)}.'
        )
    signed = array in ("weight", "change")
    is_log = array.startswith("log10")
    colours = scene.colour_map(
        array,
        **colour_maps.chosen(settings.colours, *look.outward(ranges[array]), is_signed=signed),
        **(look.ZERO_IS_BLACK if is_log else {}),
    )
    (x0, x1), (y0, y1), (z0, z1) = whole["bounds"]
    middle = [(x0 + x1) / 2 + 0.06 * (x1 - x0), (y0 + y1) / 2, (z0 + z1) / 2 + 0.12]
    view = look.render_view(
        scene,
        "network",
        position=[middle[0] - 2.2, middle[1] - 5.0, middle[2] + 1.7],
        focus=middle,
        up=[0.0, 0.0, 1.0],
        parallel_scale=max(0.62 * (z1 - z0 + 1.0), (0.92 * (x1 - x0) + 1.0) / 2 / 0.8 / (1280 / 720)),
        axes=None,
        large=True,
    )
    cells = scene.read(whole["file"])
    shown = look.only_filters(scene, cells, settings, "CELLS", int(ranges["filter"][1]) + 1)
    view.show(
        shown,
        look.kind_of(shown),
        Representation="Surface",
        **look.by_array(array, colours, "CELLS", flat=True),
    )
    boxes = scene.read(whole["boxes"])
    view.show(
        boxes,
        "GeometryRepresentation",
        Representation="Wireframe",
        **look.one_colour(scene.theme.ink, flat=True),
    )
    # The names are written in the plane z = 0: stood up, they face the viewer.
    names = scene.upright("names standing", scene.read(whole["labels"]))
    view.show(
        names,
        "GeometryRepresentation",
        Representation="Surface",
        **look.one_colour(scene.theme.ink, flat=True),
    )
    look.colour_bar(view, colours, array.replace("_", " "), large=True)
    part = (
        "every weight"
        if whole["drawn"] == whole["weights"]
        else f"{whole['drawn']:,} of {whole['weights']:,} weights (each layer's first filters and channels)"
    )
    count = f"{len(whole['layers'])} kernels" + (
        "" if whole["of"] == len(whole["layers"]) else f" of {whole['of']}"
    )
    told = f"{look.run_name(index)}: {count}, {part}" + " (black: zero, grey: none)" * is_log
    doubted = [
        name for name, kernel in zip(whole["layers"], whole["kernels"], strict=True) if doubt(index, *kernel)
    ]
    if doubted:
        told += f"\nnot trusted: {', '.join(doubted)}"
    look.caption(scene, view, "caption", told, large=True)
    look.epoch_caption(scene, view, "epoch", cells, large=True)
    scene.layout = view
    return scene
