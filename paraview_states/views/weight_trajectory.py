"""The path of a layer's weights through the training: TensorView's signature view."""

from __future__ import annotations

from tensorview_insitu.index import Index, Range, TrajectoryIndex

from .. import colour_maps, look
from ..impossible import SettingError
from ..layers import kernel_doubt, layers_with
from ..look import Line
from ..scene import Node, Scene, Split, Value, View
from ..settings import Settings

_BOX = 2.0  # how long each axis is drawn
_SHORT = 0.35  # an axis without labels, as a share of the longest


def weight_trajectory(index: Index, settings: Settings) -> Scene:
    """Three weights, and the principal components of all, as a path; how far the filters turn and grow."""
    layer, path = layers_with(index, lambda one: one["trajectory"], "path", settings.layer)[0]
    scene = look.new_scene(index, settings, "Weight trajectory", path["times"])
    array = colour_array(path, settings)
    doubt = kernel_doubt(index, layer)
    colours = scene.colour_map(
        array, **colour_maps.chosen(settings.colours, *path["arrays"][array], is_signed=False)
    )
    scene.layout = Split(
        "vertical",
        Split(
            "horizontal",
            weights_view(scene, layer, path, colours, array, settings, doubt),
            components_view(scene, layer, path, colours, array, doubt),
        ),
        Split(
            "horizontal",
            _movement(scene, layer, path, "angle", "degrees", doubt),
            _movement(scene, layer, path, "length", "times as long", doubt),
        ),
    )
    return scene


def colour_array(path: TrajectoryIndex, settings: Settings) -> str:
    """The array that colours a path."""
    wanted = settings.colour_by or "step"
    if wanted not in path["arrays"]:
        raise SettingError(
            "colour_by", f'No "{wanted}" to colour a path by. There are: {", ".join(path["arrays"])}.'
        )
    return wanted


def weights_view(
    scene: Scene,
    layer: str,
    path: TrajectoryIndex,
    colours: Node,
    array: str,
    settings: Settings,
    doubt: str,
) -> View:
    """Three weights as the coordinates of one point."""
    places = _places(path, settings)
    names = [f"w_{path['weights'][place]}" for place in places]
    function = f"iHat*{names[0]} + jHat*{names[1]} + kHat*{names[2]}"

    def in_weights(source: Node, what: str) -> Node:
        return scene.source(
            "Calculator",
            f"three weights of {layer}, {what}",
            Input=source,
            AttributeType=0,  # points
            CoordinateResults=1,
            Function=function,
            ResultArrayName="place",
        )

    told = ", ".join(path["weight_names"][place] for place in places)
    return _path_view(
        scene,
        f"weights of {layer}",
        in_weights(scene.read(path["path"]), "path"),
        in_weights(scene.read(path["now"]), "now"),
        [path["weight_ranges"][place] for place in places],
        [path["weight_moves"][place] for place in places],
        ("x", "y", "z"),
        colours,
        array,
        f"{layer}: three weights as one point, for every snapshot{doubt}\n({path['dims']}): {told}",
    )


def components_view(
    scene: Scene, layer: str, path: TrajectoryIndex, colours: Node, array: str, doubt: str
) -> View:
    """All weights of the layer, seen along their first three principal components."""
    shares = [f"{share:.0%}" for share in path["explained"]]
    return _path_view(
        scene,
        f"components of {layer}",
        scene.read(path["path"]),
        scene.read(path["now"]),
        path["ranges"],
        [1.0, 0.0, 0.0],
        ("component 1", "component 2", "component 3"),
        colours,
        array,
        f"{layer}: all weights along their principal components{doubt}\n{', '.join(shares)} of the variance",
    )


def _places(path: TrajectoryIndex, settings: Settings) -> list[int]:
    if settings.weights is None:
        return [0, 1, 2]
    unknown = [number for number in settings.weights if number not in path["weights"]]
    if unknown:
        held = ", ".join(map(str, path["weights"][:20]))
        raise SettingError(
            "weights", f"No weight {unknown[0]} in this path. It holds those that move most: {held}, ..."
        )
    return [path["weights"].index(number) for number in settings.weights]


def _path_view(
    scene: Scene,
    name: str,
    line: Node,
    now: Node,
    ranges: list[Range],
    moves: list[float],
    titles: tuple[str, str, str],
    colours: Node,
    array: str,
    title: str,
) -> View:
    # One scale for all three: a path that hardly moves along one of them shall look like it.
    lengths = [high - low for low, high in ranges]
    longest = max(lengths) or 1.0
    scale = [_BOX / longest] * 3
    centre = [s * (low + high) / 2 for s, (low, high) in zip(scale, ranges, strict=True)]
    # From the side that the path does not lead to or come from: it would be a dot.
    side = min((-2.6, 2.6), key=lambda x: abs(x * moves[0] - 3.6 * moves[1] + 2.6 * moves[2]))
    view = look.render_view(
        scene,
        name,
        position=[centre[0] + side, centre[1] - 3.6, centre[2] + 2.6],
        focus=[centre[0] + 0.15, centre[1] - 0.1, centre[2] + 0.08],
        up=[0.0, 0.0, 1.0],
        parallel_scale=2.0,
        axes={
            **{f"{axis}Title": text for axis, text in zip("XYZ", titles, strict=True)},
            "DataScale": scale,
            **_ticks("X", ranges[0], longest),
            **_ticks("Y", ranges[1], longest),
            **_ticks("Z", ranges[2], longest),
        },
    )
    drawn = scene.transform(f"{name} scaled", line, Scale=scale)
    tube = scene.source("TubeFilter", f"{name} tube", Input=drawn, Radius=0.016, NumberOfSides=12)
    view.show(tube, "GeometryRepresentation", Representation="Surface", **look.by_array(array, colours))
    marker = scene.transform(f"{name} marker", now, Scale=scale)
    view.show(
        marker,
        "GeometryRepresentation",
        Representation="Points",
        PointSize=16.0,
        RenderPointsAsSpheres=1,
        **look.one_colour(look.NOW),
    )
    look.colour_bar(view, colours, array.replace("_", " "))
    look.caption(scene, view, f"{name} caption", title)
    look.epoch_caption(scene, view, f"{name} time", now)
    return view


def _ticks(axis: str, extent: Range, longest: float) -> dict[str, Value]:
    # Along an axis that hardly anything moves along, labels would lie on each other.
    if extent[1] - extent[0] < _SHORT * longest:
        return {f"{axis}AxisUseCustomLabels": 1, f"{axis}AxisLabels": []}
    found = look.ticks(axis, extent, 4, inside=True)
    labels = found[f"{axis}AxisLabels"]
    if isinstance(labels, list) and len(labels) > 2:  # the axis' name is in its middle
        return {**found, f"{axis}AxisLabels": [*labels[:1], *labels[-1:]]}
    return found


def _movement(scene: Scene, layer: str, path: TrajectoryIndex, what: str, unit: str, doubt: str) -> View:
    table = scene.read(path["movement"])
    name = {"angle": "turned", "length": "grown"}[what]
    view = look.chart(scene, f"{layer}: how far its filters have {name}{doubt}", x="epoch", y=unit)
    lines = []
    for other, colour in (("first", look.TRAINING), ("previous", look.VALIDATION)):
        for word in ("median", "most") if what == "angle" else ("least", "median", "most"):
            label = f"{word}, against the {other}"
            lines.append(
                Line(
                    f"{what}_to_{other}_{word}", label, colour, dashed=word != "median", untrusted=bool(doubt)
                )
            )
    drawn = {line.array for line in lines}
    others = [c for c in path["movement_columns"] if c not in drawn and c != "epoch"]
    look.draw_lines(view, table, "epoch", lines, others=others)
    return view
