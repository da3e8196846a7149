"""Render states as they are asked for; runs under pvpython: pvpython live_frames.py.

Every line of standard input is a job as JSON: `state`, `size`, `time` and `file`. Prints `frame FILE` for
every picture made, and `failed WHY` for one that was not, both as JSON; ends when its input does.
"""

import json
import os

import paraview.simple
from paraview.simple import *
from picture_size import set_size
from vtkmodules.vtkRenderingCore import vtkTextRenderer


def main():
    """Do the jobs."""
    # Without this, VTK 9.2 draws the text of charts with a ghost where 3-D text is drawn beside it.
    vtkTextRenderer.GetInstance().SetScaleToPowerOfTwo(True)
    # sys.stdin is no file in pvpython.
    for line in open(0):
        job = json.loads(line)
        try:
            print("frame", json.dumps(render(**job)), flush=True)
        except Exception as error:  # the next picture may succeed
            print("failed", json.dumps(f"{type(error).__name__}: {error}"), flush=True)


def render(state, size, time, file):
    """One picture. The state is loaded anew: its ranges grow with the run."""
    ResetSession()
    paraview.simple._DisableFirstRenderCameraReset()
    LoadState(state)
    layout = GetLayouts()[max(GetLayouts())]
    set_size(layout, size)
    GetAnimationScene().AnimationTime = time
    temporary = file + ".tmp.png"
    SaveScreenshot(temporary, layout, ImageResolution=size)
    os.replace(temporary, file)
    return file


main()
