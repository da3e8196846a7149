"""Numbers of the user's own over the epochs: a chart for each quantity."""

from __future__ import annotations

from tensorview_insitu.index import Index, QuantityIndex

from .. import colour_maps, look
from ..impossible import ImpossibleViewError
from ..look import Line
from ..scene import Scene, View
from ..settings import Settings
from .gradient_norms import times
from .layer_health import grid

_MOST_CHARTS = 6
_MOST_LINES = 10
_CLOCK = ("step", "epoch")


def quantities(index: Index, settings: Settings) -> Scene:
    """What was recorded by quantities that are no part of the package."""
    # An export of an earlier version has none.
    found = index.get("quantities") or []
    if not found:
        raise ImpossibleViewError("the run has no quantities of the user's own")
    scene = look.new_scene(index, settings, "Quantities", times(index))
    scene.layout = grid([_chart(scene, index, one) for one in found[:_MOST_CHARTS]])
    return scene


def _chart(scene: Scene, index: Index, one: QuantityIndex) -> View:
    columns = [column for column in one["table"]["columns"] if column not in _CLOCK]
    drawn = columns[:_MOST_LINES]
    some = f", the first {len(drawn)} of {len(columns)} numbers" if len(drawn) < len(columns) else ""
    view = look.chart(scene, f"{one['name']}{some}", x="epoch", y=drawn[0] if len(drawn) == 1 else "")
    lines = [
        Line(
            name,
            name.removesuffix(look.NOT_TRUSTED),
            colour_maps.along(0.85 * i / max(1, len(drawn) - 1)),
            dots=True,
            untrusted=name in one["table"]["untrusted"],
        )
        for i, name in enumerate(drawn)
    ]
    others = [column for column in one["table"]["columns"] if column not in (*drawn, "epoch")]
    look.draw_lines(view, scene.read(one["table"]["file"]), "epoch", lines, others=others)
    if index["epochs"]["epochs"]:
        arrays = [other["array"] for other in index.get("quantities", []) if other is not one]
        now = [Line(one["array"], "now", look.NOW)]
        look.draw_lines(view, scene.read(one["now"]), "epoch", now, others=arrays, association=look.POINTS)
    return view
