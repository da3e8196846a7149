"""Runs under pvpython: the first array of each XDMF file at its last time: read_xdmf.py FILES.json OUT."""

import json
import sys

import numpy as np
from paraview import servermanager
from paraview.simple import *
from vtkmodules.util.numpy_support import vtk_to_numpy

read = {}
with open(sys.argv[1]) as listed:
    files = json.load(listed)
for number, file in enumerate(files):
    reader = XDMFReader(FileNames=[file])
    reader.UpdatePipeline(reader.TimestepValues[-1])
    read[str(number)] = vtk_to_numpy(servermanager.Fetch(reader).GetPointData().GetArray(0))
    Delete(reader)
np.savez(sys.argv[2], **read)
