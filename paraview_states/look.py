"""How all views look: background, fonts, sizes, and the parts that several of them share."""

from __future__ import annotations

import math

from tensorview_insitu.index import Index, Range

from .scene import ArrayChoice, Node, Scene, Series, Value, View

INK = [0.1, 0.1, 0.1]
_PAPER = [1.0, 1.0, 1.0]
_GRID = [0.75, 0.75, 0.75]

TITLE_SIZE, _AXIS_TITLE_SIZE, _LABEL_SIZE = 15, 14, 12
_LARGER = 4  # added to each where a view has the whole window

# Blue and vermilion of Okabe and Ito (2008), https://jfly.uni-koeln.de/color/
TRAINING = [0.0, 0.447, 0.698]
VALIDATION = [0.835, 0.369, 0.0]
NOW = [0.8, 0.1, 0.45]

_RIGHT_OF_CHART = 6
_ANYWHERE, _LOWER_LEFT, _UPPER_CENTER = 0, 1, 6
_SIDE_FACES = 1 | 2 | 8 | 16
_DASHED = 2
_DOT = 4
POINTS = 0
ROWS = 6


def render_view(
    scene: Scene,
    name: str,
    *,
    position: list[float],
    focus: list[float],
    up: list[float],
    axes: dict[str, Value] | None,
    parallel_scale: float,
    large: bool = False,
) -> View:
    """A 3-D view in parallel projection, with titled axes.

    Args:
        scene: where it goes.
        name: its name.
        position: where the camera stands.
        focus: what it looks at.
        up: which way is up.
        axes: the properties of its axes grid: titles and data scale; None hides it.
        parallel_scale: half the height of what is seen.
        large: whether it has the whole window.
    """
    camera: dict[str, Value] = {
        "UseColorPaletteForBackground": 0,
        "Background": _PAPER,
        "OrientationAxesVisibility": 0,
        "UseFXAA": 1,  # smooth edges
        "CameraPosition": position,
        "CameraFocalPoint": focus,
        "CameraViewUp": up,
        "CameraParallelProjection": 1,
        "CameraParallelScale": parallel_scale,
        "CenterOfRotation": focus,
    }
    fonts: dict[str, Value] = {
        "Visibility": 1,
        "GridColor": _GRID,
        "ShowGrid": 1,
        "ShowEdges": 1,
        # Each axis named at the bottom and at the sides, from wherever one looks; not at the top as well.
        "AxesToLabel": _SIDE_FACES,
    }
    more = _LARGER if large else 0
    for axis in "XYZ":
        fonts |= {
            f"{axis}TitleFontSize": _AXIS_TITLE_SIZE + more,
            f"{axis}TitleColor": INK,
            f"{axis}LabelFontSize": _LABEL_SIZE + more,
            f"{axis}LabelColor": INK,
        }
    return scene.view("RenderView", name, camera, None if axes is None else {**fonts, **axes})


def chart(scene: Scene, name: str, *, x: str, y: str, **properties: Value) -> View:
    """A 2-D chart with titled axes and a legend."""
    return scene.view(
        "XYChartView",
        name,
        {
            "ChartTitle": name,
            "ChartTitleFontSize": TITLE_SIZE,
            "BottomAxisTitle": x,
            "BottomAxisTitleFontSize": _AXIS_TITLE_SIZE,
            "BottomAxisLabelFontSize": _LABEL_SIZE,
            "BottomAxisGridColor": _GRID,
            "LeftAxisTitle": y,
            "LeftAxisTitleFontSize": _AXIS_TITLE_SIZE,
            "LeftAxisLabelFontSize": _LABEL_SIZE,
            "LeftAxisGridColor": _GRID,
            "LegendFontSize": _LABEL_SIZE,
            "LegendLocation": _RIGHT_OF_CHART,
            **properties,
        },
    )


class Line:
    """One line of a chart.

    Args:
        array: the column it is of.
        label: what the legend calls it.
        colour: red, green, blue.
        dashed: whether it is drawn dashed.
        dots: whether its values are marked, so that a lone one between gaps is seen.
    """

    def __init__(
        self,
        array: str,
        label: str,
        colour: list[float],
        *,
        dashed: bool = False,
        dots: bool = False,
        line: bool = True,
    ) -> None:
        self.array, self.label, self.colour = array, label, colour
        self.dashed, self.dots = dashed, dots


def draw_lines(
    view: View,
    source: Node,
    x: str,
    lines: list[Line],
    *,
    others: list[str],
    association: int = ROWS,
) -> None:
    """Show columns of `source` over its column `x`.

    Args:
        view: a chart.
        source: a table, or geometry with arrays.
        x: the column of the horizontal axis.
        lines: what is shown.
        others: the columns that are not; ParaView would show some of them by itself.
        association: `ROWS` of a table or `POINTS` of geometry.
    """
    if association == POINTS:
        others = [*others, "Points_X", "Points_Y", "Points_Z", "Points_Magnitude"]
    hidden = {name: False for name in [x, *others]}
    view.show(
        source,
        "XYChartRepresentation",
        Visibility=1,
        AttributeType=association,
        UseIndexForXAxis=0,
        XArrayName=x,
        SeriesVisibility=Series({**hidden, **{line.array: True for line in lines}}),
        SeriesLabel=Series({line.array: line.label for line in lines}),
        SeriesColor=Series({line.array: line.colour for line in lines}),
        SeriesLineThickness=Series({line.array: 2 for line in lines}),
        SeriesLineStyle=Series({line.array: _DASHED if line.dashed else 1 for line in lines}),
        SeriesMarkerStyle=Series({line.array: _DOT if line.dots else 0 for line in lines}),
        SeriesMarkerSize=Series({line.array: 5 for line in lines}),
    )


def caption(scene: Scene, view: View, name: str, text: str, *, large: bool = False) -> None:
    """A title over a 3-D view."""
    source = scene.source("TextSource", name, Text=text)
    _show_text(view, source, _UPPER_CENTER, TITLE_SIZE + (_LARGER if large else 0))


def epoch_caption(scene: Scene, view: View, name: str, timed: Node, *, large: bool = False) -> None:
    """The current epoch in the corner of a 3-D view; `timed` is a source with time steps."""
    source = scene.source("TimeToTextConvertor", name, Input=timed, Format="epoch {time:g}")
    _show_text(view, source, _LOWER_LEFT, _AXIS_TITLE_SIZE + (_LARGER if large else 0))


def _show_text(view: View, source: Node, location: int, size: int) -> None:
    view.show(
        source,
        "TextSourceRepresentation",
        Visibility=1,
        Color=INK,
        FontSize=size,
        WindowLocation=location,
    )


def colour_bar(view: View, colours: Node, title: str, *, large: bool = False, **properties: Value) -> None:
    """What the colours mean, on the right."""
    more = _LARGER if large else 0
    view.colour_bar(
        colours,
        title,
        **{
            "ComponentTitle": "",
            "Visibility": 1,
            "Enabled": 1,
            "AutoOrient": 0,
            "Orientation": 1,
            "WindowLocation": _ANYWHERE,
            "Position": [0.895 if large else 0.85, 0.2],
            "ScalarBarLength": 0.55,
            "TitleColor": INK,
            "LabelColor": INK,
            "TitleFontSize": _AXIS_TITLE_SIZE + more,
            "LabelFontSize": _LABEL_SIZE + more,
            "AutomaticLabelFormat": 0,
            "LabelFormat": "%.3g",
            "RangeLabelFormat": "%.3g",
            **properties,
        },
    )


# Half lit by itself, so that a colour means the same on the side that is turned away; flat things wholly.
_SOLID: dict[str, Value] = {"Visibility": 1, "Ambient": 0.5, "Diffuse": 0.6}
_FLAT: dict[str, Value] = {"Visibility": 1, "Ambient": 1.0, "Diffuse": 0.0}


def by_array(
    array: str, colours: Node, association: str = "POINTS", *, flat: bool = False
) -> dict[str, Value]:
    """The properties of a display that is coloured by an array; `flat` without light and shade."""
    return {
        **(_FLAT if flat else _SOLID),
        "ColorArrayName": ArrayChoice(association, array),
        "LookupTable": colours,
    }


def one_colour(colour: list[float], *, flat: bool = False) -> dict[str, Value]:
    """The properties of a display in one colour; `flat` without light and shade."""
    return {
        **(_FLAT if flat else _SOLID),
        "ColorArrayName": ArrayChoice("POINTS", ""),
        "AmbientColor": colour,
        "DiffuseColor": colour,
    }


def ticks(axis: str, extent: Range, most: int = 6, *, inside: bool = False) -> dict[str, Value]:
    """Round labels for one axis of an axes grid: ParaView's own come so close that they meet its title.

    Args:
        axis: `"X"`, `"Y"` or `"Z"`.
        extent: what the axis spans.
        most: the most labels.
        inside: leave out those at the ends, where they would meet another axis' labels.
    """
    low, high = extent
    margin = 0.08 * (high - low) if inside else 0.0
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-12)))
    step = next(s for s in (step / 5, step / 2, step, 2 * step, 5 * step) if (high - low) / s < most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    labels = [round(i * step, 12) for i in range(first, last + 1)]
    labels = [label for label in labels if low + margin <= label <= high - margin]
    return {f"{axis}AxisUseCustomLabels": 1, f"{axis}AxisLabels": labels}


def no_ticks(axis: str) -> dict[str, Value]:
    """No labels for one axis of an axes grid."""
    return {f"{axis}Title": "", f"{axis}AxisUseCustomLabels": 1, f"{axis}AxisLabels": []}


def scale_to(length: float, extent: Range) -> float:
    """The factor that draws `extent` as long as `length`."""
    size = extent[1] - extent[0]
    return length / size if size > 0 else 1.0


def run_name(index: Index) -> str:
    """What a caption calls the run."""
    return index["run"]["name"]
