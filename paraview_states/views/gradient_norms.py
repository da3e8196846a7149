"""Gradient norms: a heat map of variable x step, and lines on a log scale."""

from __future__ import annotations

from tensorview_insitu.index import GradientNormsIndex, Index

from .. import colour_maps, look
from ..look import Line
from ..scene import Scene, Split, View
from .impossible import ImpossibleViewError

_MOST_LINES = 10
_BAR = 0.14  # right of the heat map, for the colour bar, in units of its width
_ASPECT = 1280 / 360  # of the upper half of the window


def gradient_norms(index: Index) -> Scene:
    """Vanishing or exploding gradients at a glance; the paper's authors left this to the future."""
    norms = index["gradient_norms"]
    if norms is None:
        raise ImpossibleViewError("the run has no gradient norms")
    scene = Scene(f"Gradient norms of {look.run_name(index)}", index["epochs"] or [index["run"]["epochs"]])
    scene.layout = Split("vertical", _heat_map(scene, index, norms), _lines(scene, norms), 0.5)
    return scene


def _heat_map(scene: Scene, index: Index, norms: GradientNormsIndex) -> View:
    image = scene.read(norms["heat_map"])
    names = scene.read(norms["labels"])
    now = scene.read(norms["now"])
    colours = scene.colour_map(
        "log10_norm",
        **colour_maps.magnitude(*norms["log_range"]),
        # A norm of zero, whose logarithm is minus infinity: a dead variable must not look small.
        UseBelowRangeColor=1,
        BelowRangeColor=[0.0, 0.0, 0.0],
    )
    width = float(norms["steps"])
    height = norms["row_height"] * len(norms["variables"])
    scale = 1.0 / width
    left = norms["label_width"] * scale
    middle = [(1.0 + _BAR - left) / 2, scale * height / 2 - 0.02, 0.0]
    view = look.render_view(
        scene,
        "heat map",
        position=[middle[0], middle[1], 5.0],
        focus=middle,
        up=[0.0, 1.0, 0.0],
        parallel_scale=max((left + 1.0 + _BAR + 0.04) / 2 / _ASPECT, 0.75 * scale * height),
        axes={
            "XTitle": "step",
            "DataScale": [scale, scale, scale],
            "ShowGrid": 0,
            # The names are left of it, where no step is.
            "UseCustomBounds": 1,
            "CustomBounds": [0.0, 1.0, 0.0, scale * height, 0.0, 0.0],
            "AxesToLabel": 2,  # below, not above
            **look.ticks("X", (0, norms["steps"]), 12),
            **look.no_ticks("Y"),
            **look.no_ticks("Z"),
        },
    )
    drawn = scene.transform("heat map drawn", image, Scale=[scale, scale, scale])
    view.show(
        drawn,
        "StructuredGridRepresentation",
        Representation="Surface",
        **look.by_array("log10_norm", colours, "CELLS", flat=True),
    )
    labels = scene.transform("names drawn", names, Scale=[scale, scale, scale])
    view.show(
        labels, "GeometryRepresentation", Representation="Surface", **look.one_colour(look.INK, flat=True)
    )
    tall = [scale, scale * height, 1.0]
    line = scene.transform("now drawn", now, Scale=tall, Position=[0.0, 0.0, 0.01])
    view.show(
        line,
        "GeometryRepresentation",
        Representation="Surface",
        LineWidth=3.0,
        **look.one_colour(look.NOW, flat=True),
    )
    look.colour_bar(view, colours, "log10 of the norm", Position=[0.92, 0.2])
    look.caption(
        scene,
        view,
        "caption",
        f"{look.run_name(index)}: L2 norm of the gradient of every variable (black: zero, grey: none)",
    )
    look.epoch_caption(scene, view, "epoch", now)
    return view


def _lines(scene: Scene, norms: GradientNormsIndex) -> View:
    table = scene.read(norms["lines"])
    columns = norms["variables"]
    kernels = [name for name in columns if name.endswith("kernel")] or columns
    shown = _spread(kernels)
    mean = f", geometric mean of {norms['steps_per_column']} steps" * (norms["steps_per_column"] > 1)
    gaps = " (a gap: zero or none)" if norms["gaps"] else ""
    count = f"{len(shown)} of {len(kernels)} kernels" if len(shown) < len(kernels) else "all kernels"
    logs = [norms["log_ranges"][norms["variables"].index(name)] for name in shown]
    low, high = min(log[0] for log in logs), max(log[1] for log in logs)
    view = look.chart(
        scene,
        f"gradient norms of {count}, first layer dark, last light{mean}{gaps}",
        x="step",
        y="norm",
        LeftAxisLogScale=1,
        LeftAxisUseCustomRange=1,
        LeftAxisRangeMinimum=10.0 ** (low - 0.1),
        LeftAxisRangeMaximum=10.0 ** (high + 0.1),
        BottomAxisUseCustomRange=1,
        BottomAxisRangeMinimum=0.0,
        BottomAxisRangeMaximum=float(norms["steps"]),
    )
    lines = [
        Line(name, name, colour_maps.along(0.85 * i / max(1, len(shown) - 1)), dots=norms["gaps"])
        for i, name in enumerate(shown)
    ]
    others = [c for c in columns if c not in shown]
    look.draw_lines(view, table, "step", lines, others=others)
    return view


def _spread(names: list[str]) -> list[str]:
    if len(names) <= _MOST_LINES:
        return names
    last = len(names) - 1
    return [names[round(i * last / (_MOST_LINES - 1))] for i in range(_MOST_LINES)]
