"""Layer x epoch heat maps: what tells a healthy layer from one that is dead, frozen or exploding."""

from __future__ import annotations

from tensorview_insitu.index import HeatMapIndex, Index

from .. import colour_maps, look
from ..heat_map import heat_map_view
from ..impossible import ImpossibleViewError
from ..scene import Scene, Split, View
from ..settings import Settings

_TITLES = {
    "log10_gradient_norm": ("gradient norm (mean over the epoch)", "log10"),
    "log10_update_to_weight": ("update norm / weight norm (mean over the epoch)", "log10"),
    "log10_epoch_to_weight": ("weights' move in an epoch / weight norm", "log10"),
    "log10_weight_norm": ("weight norm", "log10"),
    "dead_share": ("share of dead filters", "share"),
    "log10_moving": ("batch normalization: norm of the moving statistics", "log10"),
}


def layer_health(index: Index, settings: Settings) -> Scene:
    """All heat maps that the run has numbers for."""
    maps = index["health"]
    if not maps:
        raise ImpossibleViewError("no epoch of the run ended")
    scene = look.new_scene(index, settings, "Layer health", index["epochs"])
    rows = 2 if len(maps) == 2 else -(-len(maps) // 2)
    views = []
    for number, heat in enumerate(maps):
        alone = len(maps) == 2 or (number == len(maps) - 1 and len(maps) % 2)
        pane = (1280 if alone else 640, 720 // rows)
        views.append(_health_view(scene, index, heat, settings, pane))
    scene.layout = grid(views)
    return scene


def _health_view(
    scene: Scene, index: Index, heat: HeatMapIndex, settings: Settings, pane: tuple[int, int]
) -> View:
    title, bar = _TITLES[heat["array"]]
    assert index["health_now"] is not None
    is_log = heat["array"].startswith("log10")
    colours = scene.colour_map(
        heat["array"],
        **colour_maps.chosen(settings.colours, *look.outward(heat["range"]), is_signed=False),
        **(look.ZERO_IS_BLACK if is_log else {}),
    )
    title += " (black: zero, grey: none)" * is_log
    return heat_map_view(
        scene,
        heat,
        index["health_now"],
        colours,
        name=heat["array"],
        x="epoch",
        bar=bar,
        title=title,
        pane=pane,
        most_ticks=8,
    )


def grid(views: list[View]) -> Split | View:
    """Views in two columns; two lie above each other, and of an odd number the last has a row to itself."""
    if len(views) == 2:  # side by side they would be higher than wide
        return Split("vertical", views[0], views[1])
    rows: list[Split | View] = [
        Split("horizontal", views[i], views[i + 1]) if i + 1 < len(views) else views[i]
        for i in range(0, len(views), 2)
    ]
    layout = rows[-1]
    for number, row in enumerate(reversed(rows[:-1]), start=2):
        layout = Split("vertical", row, layout, 1.0 / number)
    return layout
