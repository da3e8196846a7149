"""Runs under pvpython: edit_state.py STATE. Adds what people add by hand, and saves the state over itself."""

import sys

from paraview.simple import *

LoadState(sys.argv[-1])
Render()
view = GetRenderViews()[0]
SetActiveView(view)
source = next(one for (name, _), one in GetSources().items() if name.endswith(".vtp"))
for make in (
    Slice, Clip, Contour, Glyph, PlotOverLine, ResampleToImage, Calculator, Elevation, CellCenters, Shrink,
    FeatureEdges, Connectivity, Threshold, Delaunay2D, WarpByScalar, PlotDataOverTime, ExtractSubset,
    DescriptiveStatistics, ProbeLocation, AnnotateTimeFilter,
):  # fmt: skip
    try:
        made = make(Input=source)
        made.UpdatePipeline()
        Show(made, view)
    except RuntimeError as error:  # a filter for other data; what it left is saved too
        print(make.__name__, error)
for make in (Ruler, Text, Sphere, AnnotateTime):
    Show(make(), view)
for kind in (
    "SpreadSheetView",
    "BoxChartView",
    "PlotMatrixView",
    "ParallelCoordinatesChartView",
    "QuartileChartView",
):
    Show(source, CreateView(kind))
AddCameraLink(GetRenderViews()[0], GetRenderViews()[1], "linked")
AddLight(view=view)
display = GetDisplayProperties(source, view)
display.DataAxesGrid.GridAxesVisibility = 1
display.PolarAxes.Visibility = 1
SaveState(sys.argv[-1])
