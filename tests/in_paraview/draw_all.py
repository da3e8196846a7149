"""Runs under pvpython: load states and run scripts one after the other, and draw each.

draw_all.py OUT_FOLDER STATE_OR_SCRIPT [STATE_OR_SCRIPT ...]
"""

import os
import runpy
import sys

import paraview.simple
from paraview.simple import *
from vtkmodules.vtkRenderingCore import vtkTextRenderer


def main(out, programs):
    vtkTextRenderer.GetInstance().SetScaleToPowerOfTwo(True)
    for number, program in enumerate(programs):
        ResetSession()
        paraview.simple._DisableFirstRenderCameraReset()
        if program.endswith(".pvsm"):
            LoadState(program)
        else:
            sys.argv = [program]
            runpy.run_path(program, run_name="__main__")
        layout = GetLayouts()[max(GetLayouts())]
        layout.SetSize(1280, 720)
        SaveScreenshot(os.path.join(out, f"{number}.png"), layout, ImageResolution=[1280, 720])


main(sys.argv[1], sys.argv[2:])
