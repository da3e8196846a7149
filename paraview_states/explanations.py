"""What the two views of explanations share: an image with a map over it."""

from __future__ import annotations

from tensorview_insitu.index import ExplanationIndex, Index, Range

from . import colour_maps, look
from .impossible import ImpossibleViewError, SettingError
from .scene import Node, Scene, View
from .settings import Settings

_THROUGH = 0.5  # how much of the image is seen through the map


def chosen_explanation(index: Index, settings: Settings) -> ExplanationIndex:
    """The explanation that a person named, or the first.

    Raises:
        ImpossibleViewError: none was recorded.
        SettingError: there is none of that name, or no such sample.
    """
    known = index["explanations"]
    if not known:
        raise ImpossibleViewError(
            'no explanations were recorded: add Explanations("grad_cam", x[:4]) to the quantities'
        )
    named = [one for one in known if settings.method in (None, one["name"])]
    if not named:
        names = ", ".join(one["name"] for one in known)
        raise SettingError("method", f'No explanation "{settings.method}" in this export. It holds: {names}.')
    if not 0 <= settings.sample < named[0]["samples"]:
        raise SettingError(
            "sample",
            f"Expected a sample from 0 to {named[0]['samples'] - 1}. Received: sample={settings.sample}.",
        )
    return named[0]


def lay_over(
    scene: Scene,
    view: View,
    image: Node,
    image_array: str,
    maps: Node,
    map_array: str,
    colours: Node,
    image_range: Range,
) -> None:
    """Show a grey image, and a map that it is seen through."""
    grey = scene.colour_map(image_array, **colour_maps.grey(*image_range), NanOpacity=0.0)
    kind = "StructuredGridRepresentation"
    view.show(image, kind, Representation="Surface", **look.by_array(image_array, grey, "CELLS", flat=True))
    view.show(
        maps,
        kind,
        Representation="Surface",
        **{**look.by_array(map_array, colours, "CELLS", flat=True), "Opacity": _THROUGH},
    )
