"""Gradient norms: a heat map of variable x step, and lines on a log scale."""

from __future__ import annotations

from tensorview_insitu.index import GradientNormsIndex, Index, Times

from .. import colour_maps, look
from ..heat_map import heat_map_view
from ..impossible import ImpossibleViewError
from ..look import Line
from ..scene import Scene, Split, View
from ..settings import Settings

_MOST_LINES = 10


def gradient_norms(index: Index, settings: Settings) -> Scene:
    """Vanishing or exploding gradients at a glance; the paper's authors left this to the future."""
    norms = index["gradient_norms"]
    if norms is None:
        raise ImpossibleViewError("the run has no gradient norms")
    scene = look.new_scene(index, settings, "Gradient norms", times(index))
    scene.layout = Split(
        "vertical", gradient_heat_map(scene, index, settings, pane=(1280, 360)), _lines(scene, norms), 0.5
    )
    return scene


def gradient_heat_map(scene: Scene, index: Index, settings: Settings, *, pane: tuple[int, int]) -> View:
    """The heat map alone."""
    norms = index["gradient_norms"]
    assert norms is not None
    heat = norms["heat_map"]
    colours = scene.colour_map(
        heat["array"],
        **colour_maps.chosen(settings.colours, *look.outward(heat["range"]), is_signed=False),
        **look.ZERO_IS_BLACK,
    )
    wide = pane[0] > 1000
    note = " of every variable (black: zero, grey: none)" if wide else "s"
    what = f"{look.run_name(index)}: L2 norm of the gradient" if wide else "gradient norm"
    return heat_map_view(
        scene,
        heat,
        norms["now"],
        colours,
        name="heat map",
        x="step",
        bar="log10 of the norm" if wide else "log10",
        title=what + note,
        pane=pane,
        most_ticks=12 if wide else 6,
    )


def times(index: Index) -> Times:
    """The ends of epochs; of a run without any, now."""
    if index["epochs"]["epochs"]:
        return index["epochs"]
    return {"epochs": [index["run"]["epochs"]], "steps": [float(index["run"]["steps"])]}


def _lines(scene: Scene, norms: GradientNormsIndex) -> View:
    table = scene.read(norms["lines"])
    names, columns = norms["heat_map"]["rows"], norms["columns"]
    kernels = [i for i, name in enumerate(names) if name.endswith("kernel")] or list(range(len(names)))
    shown = _spread(kernels)
    mean = f", geometric mean of {norms['steps_per_column']} steps" * (norms["steps_per_column"] > 1)
    gaps = " (a gap: zero or none)" if norms["gaps"] else ""
    count = f"{len(shown)} of {len(kernels)} kernels" if len(shown) < len(kernels) else "all kernels"
    logs = [norms["log_ranges"][i] for i in shown]
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
        Line(
            columns[at],
            names[at],
            colour_maps.along(0.85 * i / max(1, len(shown) - 1)),
            dots=norms["gaps"],
            untrusted=names[at] in norms["heat_map"]["untrusted"],
        )
        for i, at in enumerate(shown)
    ]
    others = [column for i, column in enumerate(columns) if i not in shown]
    look.draw_lines(view, table, "step", lines, others=others)
    return view


def _spread(numbers: list[int]) -> list[int]:
    if len(numbers) <= _MOST_LINES:
        return numbers
    last = len(numbers) - 1
    return [numbers[round(i * last / (_MOST_LINES - 1))] for i in range(_MOST_LINES)]
