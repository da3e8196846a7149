"""Runs under pvpython: read a run's run.h5 through the plugin, and write down what came.

read_plugin.py PLUGIN RUN.H5 OUT.NPZ LAYER QUANTITY
"""

import sys

import numpy as np
from paraview import servermanager
from paraview.simple import *
from vtkmodules.util.numpy_support import vtk_to_numpy

plugin, run, out, layer, quantity = sys.argv[1:]
LoadPlugin(plugin, ns=globals())
reader = OpenDataFile(run)
assert type(reader).__name__ == "TensorViewReader", type(reader).__name__
found = {
    "layers": np.array(list(reader.GetProperty("Layers"))),
    "quantities": np.array(list(reader.GetProperty("Quantities"))),
}
reader.Layer, reader.Quantity = layer, quantity
reader.UpdatePipelineInformation()
found["times"] = np.array(list(reader.TimestepValues))
for number, time in enumerate(found["times"]):
    reader.UpdatePipeline(time)
    image = servermanager.Fetch(reader)
    points = image.GetPointData()
    for i in range(points.GetNumberOfArrays()):
        values = vtk_to_numpy(points.GetArray(i))
        found[f"{number}:{points.GetArrayName(i)}"] = values.reshape(image.GetDimensions()[::-1])
np.savez(out, **found)
