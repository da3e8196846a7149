"""What a state may hold that somebody else wrote or edited: proxies that only read, compute and draw.

Besides those of our own scenes (`proxies.py`) these are the sources, filters and views of ParaView's menus
that people add by hand to such a scene, and what ParaView itself puts into every state it saves. They are
chosen one by one, never by what a name lacks: `misc/ExecutableRunner` starts programs, `misc/PluginLoader`
loads libraries, the query of a `SelectionQuerySource` is Python that runs, and none of them has "Python" in
its name. Of the readers only those of our own files are here.
"""

from __future__ import annotations

from .proxies import PROXIES

# What reads a file, and the ending that the file must have: a .pvti or a .series would name others.
READERS = {
    "XMLPolyDataReader": ".vtp",
    "XMLImageDataReader": ".vti",
    "PVDReader": ".pvd",
    "CSVReader": ".csv",
}

# Those of scenes that read run.h5 itself, beside an export: no command of ours opens their states, and what
# an .xmf or .vtkhdf names could lie anywhere.
_NOT_OPENED = ("XdmfReader", "HDFReader")

_MORE: dict[str, tuple[str, ...]] = {
    "sources": (
        "ArrowSource", "Axes", "ConeSource", "CubeSource", "CylinderSource", "DiskSource", "EllipseSource",
        "GlyphSource2D", "LineSource", "OutlineSource", "PlaneSource", "PointSource", "PolyLineSource",
        "Ruler", "SphereSource", "SuperquadricSource", "TextSource", "TimeToTextConvertorSource",
        "VectorText",
    ),
    "filters": (
        "Append", "AppendPolyData", "CellCenters", "CellDataToPointData", "CellSize", "CleanPolyData",
        "Clip", "ConvertToPointCloud", "Curvatures", "Cut", "DataSetSurfaceFilter", "DataSetTriangleFilter",
        "DecimatePro", "Delaunay2D", "DescriptiveStatistics", "ElevationFilter", "ExtractComponent",
        "ExtractEdges", "ExtractGrid", "ExtractHistogram", "ExtractHistogram2D", "ExtractTimeSteps",
        "FeatureEdges", "ForceTime", "GeometryFilter", "Glyph", "Gradient", "GroupDataSets",
        "GroupTimeSteps", "ImageDataToPointSet", "IntegrateAttributes", "IsoVolume",
        "LinearExtrusionFilter", "MaskPoints", "MergeBlocks", "MinMax", "OutlineCornerFilter",
        "OutlineFilter", "PVConnectivityFilter", "PassArrays", "PassThrough", "PlotAttributes",
        "PlotDataOverTime", "PlotOnSortedLines", "PointDataToCellData", "PolyDataNormals", "ProbeLine",
        "ProbePoint", "QuadricClustering", "ReflectionFilter", "RenameArrays", "ResampleToImage",
        "ResampleToLine", "RibbonFilter", "RulerFilter", "ScatterPlot", "ShrinkFilter", "SliceWithPlane",
        "SmoothPolyDataFilter", "Stripper", "Subdivide", "SurfaceNormals", "TableFFT", "TableToPolyData",
        "TableToStructuredGrid", "TemporalInterpolator", "TemporalShiftScale", "TemporalSnapToTimeStep",
        "TemporalStatistics", "ThresholdTable", "TimeStepProgressFilter", "TransposeTable",
        "TriangleFilter", "WarpVector",
    ),
    "extended_sources": (
        "BoundedPlaneSource", "FixedRadiusPointSource", "HighResLineSource", "LineSource", "PointSource",
        "RotateAroundOriginTransform", "Transform2",
    ),
    "implicit_functions": (
        "Axis Aligned Box", "Axis Aligned Plane", "Box", "Cylinder", "None", "Plane", "Quadric", "Scalar",
        "Sphere",
    ),
    "incremental_point_locators": (
        "IncrementalOctreeMergePoints", "IncrementalOctreePointLocator", "MergePoints",
        "NonMergingPointLocator", "None", "PointLocator",
    ),
    "internal_filters": (
        "PipelineConnection",
    ),
    "representations": (
        "BoxChartRepresentation", "CompositeOrthographicSliceRepresentation", "GridAxesRepresentation",
        "HistogramChartRepresentation", "OutlineRepresentation", "ParallelCoordinatesRepresentation",
        "PlotMatrixRepresentation", "PolarAxesRepresentation", "ProgressBarSourceRepresentation",
        "QuartileChartRepresentation", "RulerSourceRepresentation", "SpreadSheetRepresentation",
        "XYBarChartRepresentation", "XYPointChartRepresentation",
    ),
    "views": (
        "BoxChartView", "OrthographicSliceView", "ParallelCoordinatesChartView", "PlotMatrixView",
        "QuartileChartView", "SpreadSheetView", "XYBarChartView", "XYHistogramChartView",
        "XYPointChartView",
    ),
    "additional_lights": (
        "Light",
    ),
    "animation": (
        "AnimationScene", "CameraAnimationCue", "KeyFrameAnimationCue", "TimeAnimationCue",
    ),
    "animation_keyframes": (
        "BooleanKeyFrame", "CameraKeyFrame", "CompositeKeyFrame", "ExponentialKeyFrame", "KeyFrame",
        "RampKeyFrame", "SinusoidKeyFrame",
    ),
    "misc": (
        "RepresentationAnimationHelper", "TimeKeeper", "ViewLayout",
    ),
    "piecewise_functions": (
        "PiecewiseFunction",
    ),
    "transfer_2d_functions": (
        "TransferFunction2D",
    ),
    "settings": (
        "ColorPalette",
    ),
}  # fmt: skip

ALLOWED = frozenset(
    [(proxy.group, kind) for kind, proxy in PROXIES.items() if kind not in _NOT_OPENED]
    + [(group, kind) for group, kinds in _MORE.items() for kind in kinds]
)
"""`(group, type)` of every proxy."""

SETTINGS = (
    "ColorPalette", "GeneralSettings", "RenderViewInteractionSettings", "RenderViewSettings",
    "RepresentedArrayListSettings",
)  # fmt: skip
"""The settings to whose colours a state may link."""
