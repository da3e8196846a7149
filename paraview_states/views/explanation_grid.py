"""All methods for all samples side by side: the image, and each method's map over it."""

from __future__ import annotations

from tensorview_insitu.index import Index

from .. import colour_maps, look
from ..explanations import lay_over
from ..impossible import ImpossibleViewError
from ..scene import WINDOW, Scene
from ..settings import Settings


def explanation_grid(index: Index, settings: Settings) -> Scene:
    """A row for each sample, a column for each method; each map in shares of its largest value."""
    grid = index["explanation_grid"]
    if grid is None:
        raise ImpossibleViewError(
            'no explanations were recorded: add Explanations("grad_cam", x[:4]) to the quantities'
        )
    scene = look.new_scene(index, settings, "Explanations", grid["times"])
    scale = 1.0 / max(grid["size"])
    size = (grid["size"][0] * scale, grid["size"][1] * scale)
    view = look.flat_view(scene, "methods and samples", size, WINDOW, large=True)
    colours = scene.colour_map(
        "share", **colour_maps.chosen(settings.colours, 0.0, 1.0, is_signed=False), NanOpacity=0.0
    )
    at = {"Scale": [scale, scale, 1.0]}
    maps = scene.read(grid["file"])
    lay_over(
        scene,
        view,
        scene.transform("images drawn", scene.read(grid["images"]), **at),
        "image",
        scene.transform("maps drawn", maps, **at, Position=[0.0, 0.0, 0.01]),
        "share",
        colours,
        (0.0, 1.0),
    )
    names = scene.transform("names", scene.read(grid["labels"]), **at)
    view.show(
        names,
        "GeometryRepresentation",
        Representation="Surface",
        **look.one_colour(scene.theme.ink, flat=True),
    )
    look.colour_bar(
        view, colours, "share of its largest", large=True, Position=look.bar_place(WINDOW, large=True)
    )
    look.caption(scene, view, "caption", "what each method says of each sample", large=True)
    look.epoch_caption(scene, view, "epoch", maps, large=True)
    scene.layout = view
    return scene
