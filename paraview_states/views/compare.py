"""Two or more runs: their curves over each other, their kernels as difference fields."""

from __future__ import annotations

from tensorview_insitu.index import ComparedLayerIndex, ComparedMetricIndex, ComparisonIndex, Index

from .. import colour_maps, look
from ..impossible import ImpossibleViewError, SettingError
from ..look import Line
from ..scene import Node, Scene, View
from ..settings import Settings
from ..tiles import how_many, tiles_view
from .layer_health import grid

_PANE = (640, 360)


def compare(index: Index, settings: Settings) -> Scene:
    """The first run, the difference of each other from it (up to two), and the curves of all."""
    comparison = index["comparison"]
    if comparison is None:
        raise ImpossibleViewError("it takes two runs: tensorview-insitu compare RUN RUN")
    layer = _layer(comparison, settings.layer)
    times = layer["tiles"]["times"] if layer is not None else index["epochs"]
    scene = look.new_scene(index, settings, "Comparison", times)
    views: list[View] = []
    if "comparison" in index["tables"]:
        table = scene.read(index["tables"]["comparison"]["file"])
        columns = index["tables"]["comparison"]["columns"]
        views += [_curves(scene, table, columns, metric, comparison) for metric in comparison["metrics"][:2]]
    if layer is not None:
        views += _kernels(scene, layer, comparison, settings)
    if not views:
        raise ImpossibleViewError("the runs have neither metrics nor kernels in common")
    scene.layout = grid(views)
    return scene


def _layer(comparison: ComparisonIndex, name: str | None) -> ComparedLayerIndex | None:
    layers = comparison["layers"]
    if name is None:
        return layers[0] if layers else None
    for layer in layers:
        if layer["layer"] == name:
            return layer
    raise SettingError("layer", f'No layer "{name}" in this comparison. It holds: {_names(comparison)}.')


def _names(comparison: ComparisonIndex) -> str:
    return ", ".join(layer["layer"] for layer in comparison["layers"]) or "none"


def _curves(
    scene: Scene, table: Node, columns: list[str], metric: ComparedMetricIndex, comparison: ComparisonIndex
) -> View:
    name = metric["name"].replace("_", " ")
    doubt = look.NOT_TRUSTED * any(one["untrusted"] for one in metric["columns"])
    view = look.chart(scene, f"{name}: training, and dashed validation{doubt}", x="epoch", y=name)
    lines = [
        Line(
            one["column"],
            f"{comparison['runs'][one['run']]}{'' if one['kind'] == 'training' else ', validation'}",
            colour_maps.category(one["run"]),
            dashed=one["kind"] != "training",
            untrusted=one["untrusted"],
            dots=one["lone"],
        )
        for one in metric["columns"]
    ]
    drawn = {line.array for line in lines}
    look.draw_lines(
        view, table, "epoch", lines, others=[c for c in columns if c not in drawn and c != "epoch"]
    )
    return view


def _kernels(
    scene: Scene, layer: ComparedLayerIndex, comparison: ComparisonIndex, settings: Settings
) -> list[View]:
    tiles, runs = layer["tiles"], comparison["runs"]
    source = scene.read(tiles["file"])
    # One range for the differences of all, so that they can be compared.
    doubts = layer["untrusted"]
    first = f"{layer['layer']} of {runs[0]}: {tiles['about']}{how_many(tiles)}"
    shown = [("weight_0", tiles["range"], first + look.NOT_TRUSTED * (0 in doubts))]
    more = f" (and {len(runs) - 3} runs more, not drawn)" if len(runs) > 3 else ""
    shown += [
        (
            f"difference_{number}",
            tiles["change_range"],
            f"{layer['layer']}: {run} less {runs[0]}{more * (number == 2)}"
            + look.NOT_TRUSTED * (0 in doubts or number in doubts),
        )
        for number, run in list(enumerate(runs))[1:3]
    ]
    views = []
    for array, limits, title in shown:
        colours = scene.colour_map(array, **colour_maps.chosen(settings.colours, *limits, is_signed=True))
        view = tiles_view(
            scene,
            array.replace("_", " "),
            tiles,
            source,
            array,
            colours,
            settings,
            bar=array.split("_")[0],
            title=title,
            pane=_PANE,
        )
        look.epoch_caption(scene, view, f"time of {array}", source)
        views.append(view)
    return views
