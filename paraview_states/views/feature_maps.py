"""What the layers answer to the probe, tile by tile, with dead filters outlined and counted."""

from __future__ import annotations

from tensorview_insitu.index import FeatureMapsIndex, Index
from tensorview_insitu.text.percent import from_column
from tensorview_insitu.text.printable import printable

from .. import colour_maps, look
from ..impossible import ImpossibleViewError
from ..layers import named
from ..look import Line
from ..scene import Scene, Split, View
from ..settings import Settings
from ..tiles import how_many, tiles_view
from .layer_health import grid

_MOST_LAYERS = 3
_CLOCK = ("step", "epoch", "batch", "wall_time")


def feature_maps(index: Index, settings: Settings) -> Scene:
    """The layer chosen, or the first three that have maps, and the number of dead filters over the epochs."""
    layers = chosen_maps(index, settings)
    shown = layers[:_MOST_LAYERS]
    scene = look.new_scene(index, settings, "Feature maps", shown[0]["tiles"]["times"])
    if index["dead_filters"] is None:  # it could not be exported: the maps still can be seen
        pane = (1280 if len(shown) == 1 else 640, 720 // len(shown))
        scene.layout = grid([maps_view(scene, maps, settings, pane=pane) for maps in shown])
        return scene
    if len(shown) == 1:
        scene.layout = Split(
            "horizontal",
            maps_view(scene, shown[0], settings, pane=(922, 720)),
            _dead(scene, index),
            0.72,
        )
        return scene
    views = [maps_view(scene, maps, settings, pane=(640, 360)) for maps in shown]
    views.append(_dead(scene, index))
    lower = views[2] if len(views) == 3 else Split("horizontal", views[2], views[3])
    scene.layout = Split("vertical", Split("horizontal", views[0], views[1]), lower)
    return scene


def chosen_maps(index: Index, settings: Settings) -> list[FeatureMapsIndex]:
    """The layers that have maps; only the one that a person named."""
    layers = index["feature_maps"]
    if not layers:
        raise ImpossibleViewError(
            "no activations that are pictures were recorded: of a network that has any, add "
            "Activations(x[:4]) to the quantities"
        )
    return [
        maps for _, maps in named([(maps["layer"], maps) for maps in layers], "feature maps", settings.layer)
    ]


def maps_view(scene: Scene, maps: FeatureMapsIndex, settings: Settings, *, pane: tuple[int, int]) -> View:
    """The maps of one layer, of the first sample of the probe."""
    tiles = maps["tiles"]
    source = scene.read(tiles["file"])
    signed = tiles["range"][0] < 0
    colours = scene.colour_map(
        f"sample_0 of {maps['layer']}",
        **colour_maps.chosen(settings.colours, *tiles["range"], is_signed=signed),
        NanOpacity=0.0,  # between the tiles
    )
    view = tiles_view(
        scene,
        f"maps of {maps['layer']}",
        tiles,
        source,
        "sample_0",
        colours,
        settings,
        bar="activation",
        title=f"{maps['layer']}: {tiles['about']}{how_many(tiles)}\n"
        f"outlined: dead on the whole probe ({maps['dead']} at the end)",
        pane=pane,
    )
    look.epoch_caption(scene, view, f"time of {maps['layer']}", source)
    return view


def _dead(scene: Scene, index: Index) -> View:
    table = index["dead_filters"]
    assert table is not None
    layers = [c for c in table["columns"] if c not in _CLOCK]
    view = look.chart(scene, "dead filters: zero all over the probe", x="step", y="filters")
    shown = layers[:10]
    lines = [
        Line(
            column,
            printable(from_column(column)).removesuffix(look.NOT_TRUSTED),
            colour_maps.category(number),
            dots=True,
            untrusted=column in table["untrusted"],
        )
        for number, column in enumerate(shown)
    ]
    others = [c for c in table["columns"] if c not in shown and c != "step"]
    look.draw_lines(view, scene.read(table["file"]), "step", lines, others=others)
    return view
