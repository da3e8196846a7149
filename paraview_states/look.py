"""How all views look: background, fonts, sizes, and the parts that several of them share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tensorview_insitu.index import Index, Range, Times
from tensorview_insitu.text.printable import shortened

from .impossible import SettingError
from .scene import ArrayChoice, Node, Scene, Series, Value, View
from .settings import Settings
from .written import in_braces

_CHART_GRID = [0.75, 0.75, 0.75]  # charts are white on any background: ParaView's have no other

TITLE_SIZE, _AXIS_TITLE_SIZE, _LABEL_SIZE = 15, 14, 12
_LARGER = 4  # added to each where a view has the whole window

# Blue and vermilion of Okabe and Ito (2008), https://jfly.uni-koeln.de/color/
TRAINING = [0.0, 0.447, 0.698]
VALIDATION = [0.835, 0.369, 0.0]
NOW = [0.8, 0.1, 0.45]

_RIGHT_OF_CHART = 6
_ANYWHERE, _LOWER_LEFT, _UPPER_CENTER = 0, 1, 6
_SIDE_FACES = 1 | 2 | 8 | 16
_SOLID_LINE, _DASHED, _DASH_DOT, _DASH_DOT_DOT = 1, 2, 4, 5  # styles of lines in charts
_DOT = 4  # of a marker
# The logarithm of zero is minus infinity: what is dead must not look small.
ZERO_IS_BLACK: dict[str, Value] = {"UseBelowRangeColor": 1, "BelowRangeColor": [0.0, 0.0, 0.0]}
NOT_TRUSTED = " (not trusted)"
POINTS = 0
ROWS = 6


def new_scene(index: Index, settings: Settings, title: str, times: Times) -> Scene:
    """A scene of this run, with the background and the time that a person chose."""
    shown = times["steps"] if settings.by_step else times["epochs"]
    name = run_name(index)
    # Where fewer snapshots are shown than were recorded, the caption says so.
    thinned = f" (one of {index['every']} snapshots)" if index["every"] > 1 else ""
    incomplete = " (incomplete: a part failed)" if index["failed"] else ""
    told = name + thinned + incomplete
    return Scene(f"{title} of {name}", list(shown), settings.theme, settings.by_step, told)


def outward(extent: Range) -> Range:
    """A range that still holds its ends when its numbers are written with seven digits.

    What falls below a range is drawn as zero where `ZERO_IS_BLACK`: its own least value must not.
    """
    low, high = extent
    return low - 1e-6 * abs(low), high + 1e-6 * abs(high)


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
        "Background": list(scene.theme.paper),
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
        "GridColor": list(scene.theme.grid),
        "ShowGrid": 1,
        "ShowEdges": 1,
        # Each axis named at the bottom and at the sides, from wherever one looks; not at the top as well.
        "AxesToLabel": _SIDE_FACES,
    }
    more = _LARGER if large else 0
    for axis in "XYZ":
        fonts |= {
            f"{axis}TitleFontSize": _AXIS_TITLE_SIZE + more,
            f"{axis}TitleColor": list(scene.theme.ink),
            f"{axis}LabelFontSize": _LABEL_SIZE + more,
            f"{axis}LabelColor": list(scene.theme.ink),
        }
    return scene.view("RenderView", name, camera, None if axes is None else {**fonts, **axes})


def flat_view(
    scene: Scene,
    name: str,
    size: Range,
    pane: tuple[int, int],
    *,
    left: float = 0.0,
    begin: float = 0.0,
    axes: dict[str, Value] | None = None,
    large: bool = False,
) -> View:
    """A view straight from above of what is `size` large, with room for text around it.

    Args:
        scene: where it goes.
        name: its name.
        size: how wide and high it is drawn.
        pane: how large the view is, in pixels of the window.
        left: how far it reaches to the left of `begin`.
        begin: where it begins in x.
        axes: as for `render_view`.
        large: whether it has the whole window.
    """
    width, height = pane
    above, below = (64, 44) if large else (46, 30)
    below += 24 if axes is not None else 0
    beside, bar = 16, 190 if large else 120
    # Units of a pixel: what is wider or higher decides.
    unit = max(size[1] / (height - above - below), (left + size[0]) / (width - beside - bar))
    middle = [
        begin + (size[0] - left) / 2 + unit * (bar - beside) / 2,
        size[1] / 2 + unit * (above - below) / 2,
        0.0,
    ]
    half = unit * height / 2
    return render_view(
        scene,
        name,
        position=[middle[0], middle[1], 10.0 * half],
        focus=middle,
        up=[0.0, 1.0, 0.0],
        parallel_scale=half,
        axes=axes,
        large=large,
    )


def bar_place(pane: tuple[int, int], *, large: bool = False) -> list[float]:
    """Where the colour bar of a flat view lies: right of what is shown."""
    return [1.0 - (140 if large else 98) / pane[0], 0.2]


def only_filters(scene: Scene, source: Node, settings: Settings, association: str, count: int) -> Node:
    """`source` cut down to the filters that a person chose, of `count`.

    Raises:
        SettingError: there are none of them.
    """
    if settings.filters is None:
        return source
    if settings.filters[0] >= count:
        raise SettingError(
            "filters",
            f"No filter {settings.filters[0]} here: it shows filters 0 to {count - 1}. "
            f"Received: filters={settings.filters}.",
        )
    choice = ArrayChoice(association, "filter")
    return between(scene, f"filters of {source.name}", source, choice, *settings.filters)


def between(scene: Scene, name: str, source: Node, array: ArrayChoice, low: float, high: float) -> Node:
    """`source` cut down to where an array is from `low` to `high`."""
    return scene.source(
        "Threshold",
        name,
        Input=source,
        SelectInputScalars=array,
        ThresholdMethod=0,  # between
        LowerThreshold=float(low),
        UpperThreshold=float(high),
    )


def kind_of(source: Node) -> str:
    """The representation that fits what a source gives."""
    if source.kind == "Threshold":
        return "UnstructuredGridRepresentation"
    parent = source.properties.get("Input")
    if source.kind in ("WarpScalar", "TransformFilter", "Calculator") and isinstance(parent, Node):
        return kind_of(parent)
    return "GeometryRepresentation"


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
            "BottomAxisGridColor": _CHART_GRID,
            "LeftAxisTitle": y,
            "LeftAxisTitleFontSize": _AXIS_TITLE_SIZE,
            "LeftAxisLabelFontSize": _LABEL_SIZE,
            "LeftAxisGridColor": _CHART_GRID,
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
        untrusted: whether it is drawn as dashes and dots, and its label says that it is not to be trusted.
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
        untrusted: bool = False,
    ) -> None:
        self.array, self.colour = array, colour
        self.label = label + NOT_TRUSTED * untrusted
        self.dashed, self.dots, self.untrusted = dashed, dots, untrusted

    @property
    def style(self) -> int:
        """Of the line, as ParaView numbers them."""
        if self.untrusted:
            return _DASH_DOT_DOT if self.dashed else _DASH_DOT
        return _DASHED if self.dashed else _SOLID_LINE


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
        SeriesLineStyle=Series({line.array: line.style for line in lines}),
        SeriesMarkerStyle=Series({line.array: _DOT if line.dots else 0 for line in lines}),
        SeriesMarkerSize=Series({line.array: 5 for line in lines}),
    )


def caption(scene: Scene, view: View, name: str, text: str, *, large: bool = False) -> None:
    """A title over a 3-D view."""
    source = scene.source("TextSource", name, Text=text)
    _show_text(view, source, _UPPER_CENTER, TITLE_SIZE + (_LARGER if large else 0))


def epoch_caption(scene: Scene, view: View, name: str, timed: Node, *, large: bool = False) -> None:
    """The run and its current epoch in the corner of a 3-D view; `timed` is a source with time steps."""
    unit = "step" if scene.by_step else "epoch"
    run = in_braces(shortened(scene.run, 60))
    text = f"{run}, {unit} {{time:g}}" if run else f"{unit} {{time:g}}"
    source = scene.source("TimeToTextConvertor", name, Input=timed, Format=text)
    _show_text(view, source, _LOWER_LEFT, _AXIS_TITLE_SIZE + (_LARGER if large else 0))


def _show_text(view: View, source: Node, location: int, size: int) -> None:
    view.show(
        source,
        "TextSourceRepresentation",
        Visibility=1,
        Color=list(view.theme.ink),
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
            "TitleColor": list(view.theme.ink),
            "LabelColor": list(view.theme.ink),
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


def one_colour(colour: Sequence[float], *, flat: bool = False) -> dict[str, Value]:
    """The properties of a display in one colour; `flat` without light and shade."""
    return {
        **(_FLAT if flat else _SOLID),
        "ColorArrayName": ArrayChoice("POINTS", ""),
        "AmbientColor": list(colour),
        "DiffuseColor": list(colour),
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
