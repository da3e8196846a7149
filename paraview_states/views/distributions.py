"""How weights and biases are spread, over the epochs: a ridge for each, with its quantiles."""

from __future__ import annotations

from tensorview_insitu.index import DistributionIndex, Index

from .. import colour_maps, look
from ..impossible import ImpossibleViewError
from ..layers import doubt, named
from ..scene import ArrayChoice, Node, Scene, View
from ..settings import Settings
from .layer_health import grid

_WIDE, _LONG, _HIGH = 2.2, 2.0, 1.2
_MOST = 4


def distributions(index: Index, settings: Settings) -> Scene:
    """All variables of the layer chosen, or up to four kernels."""
    held = index["distributions"]
    if not held:
        raise ImpossibleViewError("no variable was exported")
    if settings.layer is not None:
        shown = [one for _, one in named([(one["layer"], one) for one in held], "variables", settings.layer)]
    else:
        kernels = [one for one in held if one["variable"].endswith("kernel")] or held
        shown = [kernels[round(i * (len(kernels) - 1) / (_MOST - 1))] for i in range(_MOST)]
        shown = list({(one["layer"], one["variable"]): one for one in shown}.values())
    shown = shown[:_MOST]
    scene = look.new_scene(index, settings, "Distributions", shown[0]["times"])
    scene.layout = grid([_ridge(scene, index, one, settings) for one in shown])
    return scene


def _ridge(scene: Scene, index: Index, one: DistributionIndex, settings: Settings) -> View:
    name = f"{one['layer']}/{one['variable']}"
    values, epochs, densities = one["value_range"], one["epoch_range"], one["density_range"]
    scale = [
        look.scale_to(_WIDE, values),
        look.scale_to(_LONG, epochs),
        look.scale_to(_HIGH, (0.0, densities[1])),
    ]
    middle = [scale[0] * sum(values) / 2, scale[1] * sum(epochs) / 2]
    colours = scene.colour_map(
        f"density of {name}",
        **colour_maps.chosen(settings.colours, 0.0, densities[1], is_signed=False),
    )
    view = look.render_view(
        scene,
        name,
        position=[middle[0] - 1.4, middle[1] - 4.0, 3.2],
        focus=[middle[0] + 0.15, middle[1] - 0.1, 0.35],
        up=[0.0, 0.0, 1.0],
        parallel_scale=1.7,
        axes={
            "XTitle": "value",
            "YTitle": "epoch",
            "ZTitle": "density",
            "DataScale": scale,
            **look.ticks("X", values, 5),
            **look.ticks("Y", epochs),
            **look.ticks("Z", (0.0, densities[1]), 4, inside=True),
        },
    )
    surface = _drawn(scene, f"{name} surface", scene.read(one["surface"]), scale, 0.0)
    view.show(
        surface, "GeometryRepresentation", Representation="Surface", **look.by_array("density", colours)
    )
    lines = _drawn(scene, f"{name} quantiles", scene.read(one["lines"]), scale, 0.03)
    view.show(
        lines,
        "GeometryRepresentation",
        Representation="Wireframe",
        LineWidth=2.0,
        **look.one_colour([1.0, 1.0, 1.0], flat=True),
    )
    source = scene.read(one["now"])
    now = _drawn(scene, f"{name} now", source, scale, 0.02)
    view.show(
        now,
        "GeometryRepresentation",
        Representation="Wireframe",
        LineWidth=3.0,
        **look.one_colour(look.NOW, flat=True),
    )
    look.colour_bar(view, colours, "density")
    shares = ", ".join(f"{100 * q:g}" for q in one["quantiles"])
    told = f"{name}: {one['values']:,} values; white: {shares} % quantiles"
    told += doubt(index, one["layer"], one["variable"])
    look.caption(scene, view, f"{name} caption", told)
    look.epoch_caption(scene, view, f"{name} time", source)
    return view


def _drawn(scene: Scene, name: str, source: Node, scale: list[float], lift: float) -> Node:
    raised = scene.source(
        "WarpScalar",
        f"{name} raised",
        Input=source,
        SelectInputScalars=ArrayChoice("POINTS", "height"),
        UseNormal=1,
        Normal=[0.0, 0.0, 1.0],
        ScaleFactor=scale[2],
    )
    return scene.transform(name, raised, Scale=[scale[0], scale[1], 1.0], Position=[0.0, 0.0, lift])
