"""Why the network answers so, to one sample, by one method: over the image, and over the epochs."""

from __future__ import annotations

from tensorview_insitu.index import ExplanationIndex, Index

from .. import colour_maps, look
from ..explanations import chosen_explanation, lay_over
from ..look import Line
from ..scene import WINDOW, ArrayChoice, Scene, Split, View
from ..settings import Settings

_PANE = (640, 720)
_LONG = 1.7  # the epochs, in units of the image's larger side
_LEVEL = 0.5


def explanation(index: Index, settings: Settings) -> Scene:
    """The map over its image now; all maps as a volume with a surface at half of the largest; the numbers."""
    one = chosen_explanation(index, settings)
    scene = look.new_scene(index, settings, "Explanation", one["times"])
    if not one["volumes"]:  # one moment only, as of a saved model
        scene.layout = _over_image(scene, one, settings, WINDOW)
        return scene
    over = _over_image(scene, one, settings, _PANE)
    right = Split("vertical", _volume(scene, one, settings), _chart(scene, one, settings), 0.58)
    scene.layout = Split("horizontal", over, right)
    return scene


def _over_image(scene: Scene, one: ExplanationIndex, settings: Settings, pane: tuple[int, int]) -> View:
    sample = settings.sample
    scale = 1.0 / max(one["size"])
    size = (one["size"][0] * scale, one["size"][1] * scale)
    view = look.flat_view(scene, f"{one['name']} over sample {sample}", size, pane)
    low, high = one["ranges"][sample]
    colours = scene.colour_map(
        f"map_{sample}", **colour_maps.chosen(settings.colours, low, high, is_signed=low < 0)
    )
    image, maps = scene.read(one["image"]), scene.read(one["file"])
    at = {"Scale": [scale, scale, 1.0]}
    lay_over(
        scene,
        view,
        scene.transform("image", image, **at),
        f"image_{sample}",
        scene.transform("map", maps, **at, Position=[0.0, 0.0, 0.01]),
        f"map_{sample}",
        colours,
        one["image_range"],
    )
    look.colour_bar(view, colours, one["method"].replace("_", " "), Position=look.bar_place(pane))
    title = f"{one['method'].replace('_', ' ')} of sample {sample}\n{one['about']}"
    look.caption(scene, view, "caption", title.strip())
    look.epoch_caption(scene, view, "epoch", maps)
    return view


def _volume(scene: Scene, one: ExplanationIndex, settings: Settings) -> View:
    across, up = one["size"]
    side = float(max(across, up))
    scale = [_LONG / max(one["epoch_range"][1] - one["epoch_range"][0], 1e-9), 1 / side, 1 / side]
    first = one["epoch_range"][0] * scale[0]
    middle = [first + _LONG / 2, across / side / 2, up / side / 2]
    view = look.render_view(
        scene,
        "volume of maps",
        position=[middle[0] - 1.3, middle[1] - 3.0, middle[2] + 1.5],
        focus=[middle[0] + 0.1, middle[1], middle[2] - 0.05],
        up=[0.0, 0.0, 1.0],
        parallel_scale=1.05,
        axes={
            "XTitle": "epoch",
            "YTitle": "across",
            "ZTitle": "up",
            "DataScale": scale,
            **look.ticks("X", one["epoch_range"]),
            **look.ticks("Y", (0.0, float(across)), 3, inside=True),
            **look.ticks("Z", (0.0, float(up)), 4, inside=True),
            "UseCustomBounds": 1,
            "CustomBounds": [first, first + _LONG, 0.0, across / side, 0.0, up / side],
        },
    )
    volume = scene.read(one["volumes"][settings.sample])
    surface = scene.source(
        "Contour",
        "half of the largest",
        Input=volume,
        SelectInputScalars=ArrayChoice("POINTS", "share"),
        ContourValues=[_LEVEL],
    )
    colours = scene.colour_map("epoch", **colour_maps.magnitude(*one["epoch_range"]))
    drawn = scene.transform("surface drawn", surface, Scale=scale)
    view.show(drawn, "GeometryRepresentation", Representation="Surface", **look.by_array("epoch", colours))
    now = scene.transform("now drawn", scene.read(one["now"]), Scale=scale)
    view.show(
        now,
        "GeometryRepresentation",
        Representation="Wireframe",
        LineWidth=3.0,
        **look.one_colour(look.NOW, flat=True),
    )
    look.caption(scene, view, "volume caption", "where each map is above half of its largest value")
    return view


def _chart(scene: Scene, one: ExplanationIndex, settings: Settings) -> View:
    sample = settings.sample
    table = one["focus"]
    known = {
        f"probability_{sample}": ("probability of the class", look.TRAINING, False),
        f"score_{sample}": ("score of the class (no softmax)", look.TRAINING, False),
        f"drift_{sample}": ("rank correlation with the map before", look.VALIDATION, False),
        f"inside_{sample}": ("share inside the mask", colour_maps.category(3), True),
    }
    lines = [
        Line(column + mark, label, colour, dashed=dashed, dots=True, untrusted=bool(mark))
        for column, (label, colour, dashed) in known.items()
        for mark in ("", look.NOT_TRUSTED)
        if column + mark in table["columns"]
    ]
    x = "step" if scene.by_step else "epoch"
    view = look.chart(scene, f"sample {sample} over the training", x=x, y="")
    drawn = {line.array for line in lines}
    others = [column for column in table["columns"] if column not in drawn and column != x]
    look.draw_lines(view, scene.read(table["file"]), x, lines, others=others)
    return view
