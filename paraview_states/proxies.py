"""The closed list of ParaView proxies and properties that scenes use.

A .pvsm ignores names that it does not know, in silence; so a scene can use only what stands here,
and a test holds every name against what ParaView itself says of the proxy.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Proxy:
    """One kind of proxy.

    Args:
        group: its group in ParaView's XML.
        python: how `paraview.simple` calls its constructor; empty where a function makes it.
        properties: their XML names and, where it differs, their Python name.
        inner: for a proxy that this one owns: the property that holds it and its kind.
    """

    group: str
    python: str
    properties: dict[str, str]
    inner: dict[str, str] = field(default_factory=dict)


def _named(*same: str, **differing: str) -> dict[str, str]:
    return {**{name: name for name in same}, **differing}


_DISPLAY = _named(
    "Input", "Visibility", "Representation", "ColorArrayName", "LookupTable", "Opacity", "LineWidth",
    "PointSize", "RenderPointsAsSpheres", "RenderLinesAsTubes", "AmbientColor", "DiffuseColor", "EdgeColor",
    "Ambient", "Diffuse", "Specular", "Interpolation",
)  # fmt: skip

_CHART_AXES = [
    f"{side}Axis{what}"
    for side in ("Left", "Bottom")
    for what in (
        "Title", "TitleFontSize", "LabelFontSize", "LogScale", "UseCustomRange", "RangeMinimum",
        "RangeMaximum", "GridColor", "TitleBold", "LabelNotation",
    )
]  # fmt: skip

_AXIS = ("Title", "TitleFontSize", "TitleColor", "LabelFontSize", "LabelColor", "UseCustomLabels", "Labels")
_GRID_NAMES = {
    "UseCustomLabels": "AxisUseCustomLabels",
    "Labels": "AxisLabels",
}

PROXIES: dict[str, Proxy] = {
    "XMLPolyDataReader": Proxy("sources", "XMLPolyDataReader", _named("FileName")),
    "XMLImageDataReader": Proxy("sources", "XMLImageDataReader", _named("FileName")),
    "PVDReader": Proxy("sources", "PVDReader", _named("FileName")),
    "CSVReader": Proxy("sources", "CSVReader", _named("FileName")),
    "XdmfReader": Proxy("sources", "XDMFReader", _named("FileNames")),
    # Older ones than ParaView 5.13 read no time steps with it.
    "HDFReader": Proxy("sources", "VTKHDFReader", _named("FileName")),
    "TextSource": Proxy("sources", "Text", _named("Text")),
    "TubeFilter": Proxy(
        "filters", "Tube", _named("Input", "Radius", NumberOfSides="NumberofSides")
    ),
    "Threshold": Proxy(
        "filters",
        "Threshold",
        _named(
            "Input", "LowerThreshold", "UpperThreshold", "ThresholdMethod", SelectInputScalars="Scalars"
        ),
    ),
    "WarpScalar": Proxy(
        "filters",
        "WarpByScalar",
        _named("Input", "ScaleFactor", "UseNormal", "Normal", SelectInputScalars="Scalars"),
    ),
    "Contour": Proxy(
        "filters", "Contour", _named("Input", SelectInputScalars="ContourBy", ContourValues="Isosurfaces")
    ),
    "AppendAttributes": Proxy("filters", "AppendAttributes", _named("Input")),
    "Calculator": Proxy(
        "filters",
        "Calculator",
        _named("Input", "AttributeType", "Function", "ResultArrayName", "CoordinateResults"),
    ),
    "TransformFilter": Proxy("filters", "Transform", _named("Input"), {"Transform": "Transform3"}),
    "Transform3": Proxy("extended_sources", "", _named("Scale", Position="Translate", Rotation="Rotate")),
    "TimeToTextConvertor": Proxy("filters", "AnnotateTimeFilter", _named("Input", "Format")),
    "GeometryRepresentation": Proxy("representations", "", _DISPLAY),
    "UniformGridRepresentation": Proxy("representations", "", _DISPLAY),
    "UnstructuredGridRepresentation": Proxy("representations", "", _DISPLAY),
    "StructuredGridRepresentation": Proxy("representations", "", _DISPLAY),
    "XYChartRepresentation": Proxy(
        "representations",
        "",
        _named(
            "Input", "Visibility", "AttributeType", "UseIndexForXAxis", "XArrayName", "SeriesVisibility",
            "SeriesLabel", "SeriesColor", "SeriesLineThickness", "SeriesLineStyle", "SeriesMarkerStyle",
            "SeriesMarkerSize",
        ),
    ),
    "TextSourceRepresentation": Proxy(
        "representations",
        "",
        _named("Input", "Visibility", "Color", "FontSize", "Bold", "WindowLocation", "Justification"),
    ),
    "ScalarBarWidgetRepresentation": Proxy(
        "representations",
        "",
        _named(
            "LookupTable", "Visibility", "Enabled", "Title", "ComponentTitle", "TitleColor", "LabelColor",
            "TitleFontSize", "LabelFontSize", "WindowLocation", "Orientation", "Position",
            "AutomaticLabelFormat", "LabelFormat", "RangeLabelFormat", "HorizontalTitle", "AddRangeLabels",
            "DrawNanAnnotation", "NanAnnotation", "AutoOrient",
            ScalarBarLength="ScalarBarLength",
            ScalarBarThickness="ScalarBarThickness",
        ),
    ),
    "GridAxes3DActor": Proxy(
        "annotations",
        "",
        _named(
            "Visibility", "GridColor", "ShowGrid", "ShowTicks", "AxesToLabel", "FacesToRender", "DataScale",
            "DataPosition", "UseCustomBounds", "CustomBounds", "CullFrontface", "CullBackface", "ShowEdges",
            *(f"{axis}{_GRID_NAMES.get(what, what)}" for axis in "XYZ" for what in _AXIS),
        ),
    ),
    "PVLookupTable": Proxy(
        "lookup_tables",
        "",
        _named(
            "RGBPoints", "ColorSpace", "NanColor", "ScalarRangeInitialized", "AutomaticRescaleRangeMode",
            "Annotations", "IndexedColors", "UseBelowRangeColor", "BelowRangeColor", "UseAboveRangeColor",
            "AboveRangeColor", "NumberOfTableValues", "NanOpacity",
            IndexedLookup="InterpretValuesAsCategories",
        ),
    ),
    "RenderView": Proxy(
        "views",
        "RenderView",
        _named(
            "ViewSize", "Background", "UseColorPaletteForBackground", "CameraPosition", "CameraFocalPoint",
            "CameraViewUp", "CameraViewAngle", "CameraParallelProjection", "CameraParallelScale",
            "CenterOfRotation", "OrientationAxesVisibility", "InteractionMode", "UseFXAA",
        ),
        {"AxesGrid": "GridAxes3DActor"},
    ),
    "XYChartView": Proxy(
        "views",
        "XYChartView",
        _named(
            "ViewSize", "ChartTitle", "ChartTitleFontSize", "ChartTitleBold", "ShowLegend", "LegendLocation",
            "LegendFontSize", "LegendPosition", *_CHART_AXES,
        ),
    ),
}  # fmt: skip
