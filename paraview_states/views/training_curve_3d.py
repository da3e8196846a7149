"""The training as a path through (epoch, loss, metric), with a marker at the current time."""

from __future__ import annotations

from tensorview_insitu.index import Index

from .. import colour_maps, look
from ..impossible import ImpossibleViewError
from ..scene import Node, Scene, Value, View
from ..settings import Settings

_BOX = (2.0, 1.1, 1.0)  # how long epochs, loss and metric are drawn


def training_curve_3d(index: Index, settings: Settings) -> Scene:
    """The paper's figure 2: a coloured tube for training, a thin one for validation."""
    curve = index["curve"]
    if curve is None:
        raise ImpossibleViewError("no epoch of the run ended with a finite loss and another metric")
    metric = curve["metric"]
    ranges = (curve["epoch_range"], curve["loss_range"], curve["metric_range"])
    scale = [look.scale_to(length, extent) for length, extent in zip(_BOX, ranges, strict=True)]
    centre = [s * (low + high) / 2 for s, (low, high) in zip(scale, ranges, strict=True)]
    scene = look.new_scene(index, settings, "Training curve in 3-D", index["epochs"])

    dashes, doubts = curve["dashes"], curve["untrusted"]
    training = scene.read(dashes.get("training", curve["training"]))
    drawn = scene.transform("training scaled", training, Scale=scale)
    tube = scene.source("TubeFilter", "training tube", Input=drawn, Radius=0.022, NumberOfSides=24)
    now = scene.read(curve["now"])
    marker = scene.transform("marker", now, Scale=scale)
    colours = scene.colour_map("loss", **colour_maps.magnitude(*curve["training_loss_range"]))

    view = look.render_view(
        scene,
        "training curve",
        position=[centre[0] - 2.2, centre[1] - 3.6, centre[2] + 1.9],
        focus=[centre[0], centre[1], centre[2] - 0.06],
        up=[0.0, 0.0, 1.0],
        parallel_scale=1.12,
        large=True,
        axes={
            "XTitle": "epoch",
            "YTitle": "loss",
            "ZTitle": metric,
            "DataScale": scale,
            **look.ticks("X", ranges[0]),
            **look.ticks("Y", ranges[1]),
            **look.ticks("Z", ranges[2], inside=True),
        },
    )
    lone = {kind for one in index["metrics"] if one["name"] in ("loss", metric) for kind in one["lone"]}
    view.show(tube, "GeometryRepresentation", Representation="Surface", **look.by_array("loss", colours))
    legend = "tube: training, ball: current epoch"
    doubt = f"\ndashed: {', '.join(doubts)} not trusted" if doubts else ""
    if curve["validation"]:
        validation = scene.read(dashes.get("validation", curve["validation"]))
        moved = scene.transform("validation scaled", validation, Scale=scale)
        thin = scene.source("TubeFilter", "validation tube", Input=moved, Radius=0.009, NumberOfSides=16)
        view.show(
            thin, "GeometryRepresentation", Representation="Surface", **look.one_colour(look.VALIDATION)
        )
        legend = "tube: training, thin orange: validation, ball: current epoch"
        if "validation" in lone:
            _show_points(view, moved, look.one_colour(look.VALIDATION))
            legend = "tube: training, orange points: validation, ball: current epoch"
    if "training" in lone:
        _show_points(view, drawn, look.by_array("loss", colours))
    view.show(
        marker,
        "GeometryRepresentation",
        Representation="Points",
        PointSize=20.0,
        RenderPointsAsSpheres=1,
        **look.one_colour(look.NOW),
    )
    look.colour_bar(view, colours, "training loss" + look.NOT_TRUSTED * ("loss" in doubts), large=True)
    look.caption(scene, view, "caption", f"{look.run_name(index)}: epoch, loss and {metric}\n{legend}{doubt}")
    look.epoch_caption(scene, view, "epoch", now)
    scene.layout = view
    return scene


def _show_points(view: View, curve: Node, colour: dict[str, Value]) -> None:
    """Draw the points of a curve some of whose values stand alone: no line, and no tube, reaches those."""
    view.show(
        curve,
        "GeometryRepresentation",
        Representation="Points",
        PointSize=10.0,
        RenderPointsAsSpheres=1,
        **colour,
    )
