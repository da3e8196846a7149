"""Runs under pvpython: load a state or run a script, and write down what ParaView then holds.

inspect_scene.py STATE_OR_SCRIPT OUT_FOLDER TIME [TIME ...]
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import paraview.simple
from paraview import servermanager
from paraview.simple import *
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkRenderingCore import vtkTextRenderer

# What ParaView counts up or works out by itself while it draws.
VOLATILE = {
    "CacheKey", "ForcedCacheKey", "ForceUseCache", "ViewTime", "ViewPosition", "SelectionRepresentation",
    "HiddenRepresentations", "HiddenProps", "Selection", "CenterOfRotation", "RotationFactor",
    "CameraFocalDistance", "CameraFocalDisk", "EyeTransformMatrix", "ModelTransformMatrix", "DataRangeMin",
    "DataRangeMax",
}  # fmt: skip
# Where a new proxy gets a guess from its data, and one of a state the plain default: what these say is
# used only once someone switches on glyphs, Gaussian points, volumes, ray tracing or selection labels.
UNUSED = {
    "BlockColorsDistinctValues", "GaussianRadius", "GlyphTableIndexArray", "OSPRayScaleArray", "OpacityArray",
    "OpacityArrayComponent", "OpacityArrayName", "OpacityComponent", "ScaleArrayComponent", "ScaleFactor",
    "SelectInputVectors", "SelectNormalArray", "SelectOrientationVectors", "SelectScaleArray",
    "SelectTCoordArray", "SelectTangentArray", "SelectionPointFieldDataArrayName",
    "ScalarOpacityUnitDistance",
    "SelectionCellFieldDataArrayName", "SetScaleArray", "BorderColor", "SeriesOpacity", "SeriesPlotCorner",
    "TransferFunction2D", "Camera3DManipulators", "FXAAHardContrastThreshold", "LODThreshold",
}  # fmt: skip
# An empty list of arrays to read means all of them, as does a list that names all.
READ_ALL = {"PointArrays", "PointArrayStatus", "CellArrays", "CellArrayStatus", "Vectors"}
# Of an array with one component (ParaView 5.13's Threshold): nothing, or its name, which is none.
NO_CHOICE = {"SelectedComponent"}


def main(program, out, times):
    paraview.simple._DisableFirstRenderCameraReset()
    if program.endswith(".pvsm"):
        LoadState(program)
    else:
        sys.argv = [program]
        runpy.run_path(program, run_name="__main__")
    vtkTextRenderer.GetInstance().SetScaleToPowerOfTwo(True)
    layout = GetLayouts()[max(GetLayouts())]
    layout.SetSize(1280, 720)
    held = everything()
    arrays = {}
    for number, time in enumerate(times):
        GetAnimationScene().AnimationTime = time
        SaveScreenshot(f"{out}/{number}.png", layout, ImageResolution=[1280, 720])
        for (name, _), source in GetSources().items():
            arrays.update(values(f"{number}:{name}", source, time))
    Path(f"{out}/held.json").write_text(json.dumps(held, indent=1, sort_keys=True))
    np.savez(f"{out}/arrays.npz", **arrays)


def everything():
    names = {source.SMProxy: name for (name, _), source in GetSources().items()}
    held = {f"source {name}": described(source, names) for (name, _), source in GetSources().items()}
    views = {key[0]: view for key, view in servermanager.ProxyManager().GetProxiesInGroup("views").items()}
    for name, view in views.items():
        held[f"view {name}"] = described(view, names)
        if hasattr(view, "AxesGrid"):
            held[f"axes of {name}"] = described(view.AxesGrid, names)
        for display in view.Representations:
            if hasattr(display, "Input"):
                shown = names[display.Input.SMProxy]
                held[f"display of {shown} in {name}"] = described(display, names)
                table = getattr(display, "LookupTable", None)
                if table is not None and display.ColorArrayName[1]:
                    held[f"colours of {shown} in {name}"] = described(table, names)
            else:
                held[f"bar {display.Title} in {name}"] = described(display, names)
    held["animation"] = {"TimeKeeper": list(GetTimeKeeper().TimestepValues)}
    return held


def described(proxy, names):
    found = {"is": f"{proxy.GetXMLGroup()} {proxy.GetXMLName()}"}
    for name in proxy.ListProperties():
        is_reader = proxy.GetXMLGroup() in ("sources", "filters")
        if is_reader and name in READ_ALL | NO_CHOICE or not is_reader and name in VOLATILE | UNUSED:
            continue
        side = name.partition("AxisRange")[0]
        if name.startswith(f"{side}AxisRange") and not proxy.GetPropertyValue(f"{side}AxisUseCustomRange"):
            continue  # ParaView's own choice
        if not name.endswith("Info"):
            found[name] = plain(proxy.GetPropertyValue(name), names)
    return found


def plain(value, names):
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if hasattr(value, "SMProxy"):
        return names.get(value.SMProxy, value.SMProxy.GetXMLName())
    try:
        return [plain(one, names) for one in value]
    except TypeError:
        return str(type(value))


def values(prefix, source, time):
    source.UpdatePipeline(time)
    data = servermanager.Fetch(source)
    found = {}
    if data is None or data.IsA("vtkTable") and data.GetNumberOfRows() == 0:
        return found
    kinds = (
        {"row": "GetRowData"} if data.IsA("vtkTable") else {"point": "GetPointData", "cell": "GetCellData"}
    )
    for kind, method in kinds.items():
        attributes = getattr(data, method)()
        for i in range(attributes.GetNumberOfArrays()):
            array = attributes.GetArray(i)
            if array is not None:  # no text
                found[f"{prefix}:{kind}:{array.GetName()}"] = vtk_to_numpy(array)
    if hasattr(data, "GetPoints") and data.GetPoints() is not None:
        found[f"{prefix}:points"] = vtk_to_numpy(data.GetPoints().GetData())
    return found


main(sys.argv[1], sys.argv[2], [float(time) for time in sys.argv[3:]])
