"""Runs under pvpython: the columns of a table as ParaView reads it: read_table.py TABLE.csv OUT.json."""

import json
import sys

from paraview import servermanager
from paraview.simple import *
from vtkmodules.util.numpy_support import vtk_to_numpy

reader = CSVReader(FileName=[sys.argv[1]])
reader.UpdatePipeline()
table = servermanager.Fetch(reader)
columns = [table.GetColumn(i) for i in range(table.GetNumberOfColumns())]
with open(sys.argv[2], "w") as file:
    json.dump({column.GetName(): vtk_to_numpy(column).tolist() for column in columns}, file)
