"""The bias of every filter, over the epochs and at the current one."""

from __future__ import annotations

from tensorview_insitu.index import Index, SheetsIndex

from .. import colour_maps, look
from ..layers import doubt, layers_with
from ..scene import Scene, Split
from ..settings import Settings
from ..sheets import lines_view, surface_view


def biases(index: Index, settings: Settings) -> Scene:
    """The paper's figure 6, for the layer chosen, or for the first and the last that have a bias."""
    layers = layers_with(index, lambda one: one["biases"], "bias", settings.layer)
    shown = [layers[0]] if len(layers) == 1 else [layers[0], layers[-1]]
    scene = look.new_scene(index, settings, "Biases", shown[0][1]["times"])
    rows = [_row(scene, index, layer, sheets, settings, shown) for layer, sheets in shown]
    if len(rows) == 1:  # one above the other: side by side they would be higher than wide
        scene.layout = Split("vertical", rows[0].first, rows[0].second)
    else:
        scene.layout = Split("vertical", rows[0], rows[1])
    return scene


def _row(
    scene: Scene,
    index: Index,
    layer: str,
    sheets: SheetsIndex,
    settings: Settings,
    shown: list[tuple[str, SheetsIndex]],
) -> Split:
    mark = doubt(index, layer, "bias")
    ranges = [s["range"] for _, s in shown] if settings.colour_range == "all" else [sheets["range"]]
    limits = (min(low for low, _ in ranges), max(high for _, high in ranges))
    # ParaView knows one colour map for each array name of a state: that of the first layer is "bias".
    name = "bias" if layer == shown[0][0] else f"bias of {layer}"
    colours = scene.colour_map(name, **colour_maps.chosen(settings.colours, *limits, is_signed=True))
    surface = surface_view(
        scene,
        f"bias of {layer}",
        "bias",
        sheets,
        0,
        colours,
        settings,
        title=f"{layer}: bias of every filter over the epochs{mark}",
    )
    lines = lines_view(
        scene,
        f"{layer}: bias at the first and the current epoch{mark}",
        "bias",
        sheets,
        [(0, "", look.TRAINING)],
        settings,
        untrusted=bool(mark),
    )
    return Split("horizontal", surface, lines)
