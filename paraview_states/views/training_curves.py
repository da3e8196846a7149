"""Loss and metric over the epochs as 2-D charts: raw and normalised, training and validation."""

from __future__ import annotations

from tensorview_insitu.index import Index, MetricIndex

from .. import look
from ..impossible import ImpossibleViewError
from ..look import Line
from ..scene import Node, Scene, Split, View
from ..settings import Settings


def training_curves(index: Index, settings: Settings) -> Scene:
    """The paper's figures 3 and 4. Normalised is min-max: each curve from its least (0) to its most (1)."""
    metrics = index["metrics"]
    if not metrics or metrics[0]["training"] is None:
        raise ImpossibleViewError("the run has no loss at an epoch's end")
    scene = look.new_scene(index, settings, "Training curves", index["epochs"])
    table = index["tables"]["epochs"]
    raw = scene.read(table["file"])
    normalised = scene.read(index["tables"]["epochs_normalised"]["file"])
    shown = metrics[:2]
    upper = [_raw(scene, raw, metric, table["columns"]) for metric in shown]
    lower = [
        _normalised(scene, normalised, shown, kind, table["columns"])
        for kind in ("training", "validation")
        if any(_column(metric, kind) for metric in shown)
    ]
    if index["curve"] is not None:
        arrays = ["loss", index["curve"]["metric"], "share", "share"]
        now = scene.read(index["curve"]["now_line"])
        for view, array in zip([*upper, *lower], arrays, strict=False):
            others = [name for name in arrays[:3] if name != array]
            line = Line(array, "now", look.NOW)
            look.draw_lines(view, now, "epoch", [line], others=others, association=look.POINTS)
    scene.layout = Split("vertical", _beside(upper), _beside(lower))
    return scene


def curve_view(scene: Scene, index: Index, metric: MetricIndex) -> View:
    """One metric over the epochs, with a line at the current one."""
    table = index["tables"]["epochs"]
    view = _raw(scene, scene.read(table["file"]), metric, table["columns"])
    curve = index["curve"]
    if curve is not None and metric["name"] == "loss":
        now = scene.read(curve["now_line"])
        others = [curve["metric"], "share"]
        look.draw_lines(
            view, now, "epoch", [Line("loss", "now", look.NOW)], others=others, association=look.POINTS
        )
    return view


def _raw(scene: Scene, source: Node, metric: MetricIndex, columns: list[str]) -> View:
    name = metric["name"].replace("_", " ")
    doubts = metric["untrusted"]
    view = look.chart(scene, name + look.NOT_TRUSTED * bool(doubts), x="epoch", y=name)
    lines = []
    if metric["training"]:
        untrusted = "training" in doubts
        lines.append(
            Line(
                metric["training"],
                "training",
                look.TRAINING,
                untrusted=untrusted,
                dots="training" in metric["lone"],
            )
        )
    if metric["validation"]:
        untrusted = "validation" in doubts
        lines.append(
            Line(
                metric["validation"],
                "validation",
                look.VALIDATION,
                dashed=True,
                untrusted=untrusted,
                dots="validation" in metric["lone"],
            )
        )
    look.draw_lines(view, source, "epoch", lines, others=_others(columns, lines))
    return view


def _normalised(
    scene: Scene, source: Node, metrics: list[MetricIndex], kind: str, columns: list[str]
) -> View:
    doubt = look.NOT_TRUSTED * any(kind in metric["untrusted"] for metric in metrics)
    view = look.chart(scene, f"{kind}, normalised{doubt}", x="epoch", y="share of its range")
    colours = [look.TRAINING, look.VALIDATION]
    lines = [
        Line(
            column,
            metric["name"],
            colour,
            dashed=bool(number),
            untrusted=kind in metric["untrusted"],
            dots=kind in metric["lone"],
        )
        for number, (metric, colour) in enumerate(zip(metrics, colours, strict=False))
        if (column := _column(metric, kind))
    ]
    look.draw_lines(view, source, "epoch", lines, others=_others(columns, lines))
    return view


def _column(metric: MetricIndex, kind: str) -> str | None:
    return metric["training"] if kind == "training" else metric["validation"]


def _others(columns: list[str], lines: list[Line]) -> list[str]:
    drawn = {line.array for line in lines}
    return [column for column in columns if column not in drawn and column != "epoch"]


def _beside(views: list[View]) -> Split | View:
    return views[0] if len(views) == 1 else Split("horizontal", views[0], views[1])
