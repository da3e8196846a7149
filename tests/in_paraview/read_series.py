"""Runs under pvpython: read a series with ParaView's reader; read_series.py SERIES.pvd OUT.npz."""

import sys

import numpy as np
from paraview import servermanager
from paraview.simple import PVDReader
from vtkmodules.util.numpy_support import vtk_to_numpy

reader = PVDReader(FileName=sys.argv[1])
reader.UpdatePipelineInformation()
times = list(reader.TimestepValues)
arrays = {"times": times}
for number, time in enumerate(times):
    reader.UpdatePipeline(time)
    data = servermanager.Fetch(reader)
    attributes = data.GetPointData()
    for i in range(attributes.GetNumberOfArrays()):
        array = attributes.GetArray(i)
        values = vtk_to_numpy(array).reshape(data.GetDimensions(), order="F")
        arrays[f"{number}:{array.GetName()}"] = values
np.savez(sys.argv[2], **arrays)
