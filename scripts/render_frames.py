"""Render frames of a state; runs under pvpython: pvpython render_frames.py JOB.json.

JOB.json holds `state`, `size`, `frames` (a list of `time` and `file`) and perhaps `movie`, the path of a
movie without its ending, and `server`, the host and port of a pvserver. Prints a line for every picture, and
one for the movie, each with the file's name as JSON: in a name there may be line ends.
"""

import json
import os
import sys

import paraview.simple
from paraview.simple import *
from picture_size import set_size
from vtkmodules.vtkRenderingCore import vtkTextRenderer


def main(job_file):
    """Do the job."""
    with open(job_file) as file:
        job = json.load(file)
    if job.get("server"):
        Connect(*job["server"])
    paraview.simple._DisableFirstRenderCameraReset()
    LoadState(job["state"])
    # Without this, VTK 9.2 draws the text of charts with a ghost where 3-D text is drawn beside it.
    vtkTextRenderer.GetInstance().SetScaleToPowerOfTwo(True)
    layout = GetLayouts()[max(GetLayouts())]
    animation = GetAnimationScene()
    set_size(layout, job["size"])
    for frame in job["frames"]:
        animation.AnimationTime = frame["time"]
        temporary = frame["file"] + ".tmp.png"
        SaveScreenshot(temporary, layout, ImageResolution=job["size"])
        os.replace(temporary, frame["file"])
        print("frame", json.dumps(frame["file"]), flush=True)
    if "movie" in job:
        print("movie", json.dumps(save_movie(job["movie"], layout, job["size"])), flush=True)


def save_movie(path, layout, size):
    """Save the animation in the first format that this ParaView really writes; empty if in none."""
    for ending in (".ogv", ".avi"):
        SaveAnimation(path + ending, layout, ImageResolution=size, FrameRate=5)
        # ParaView raises nothing when it cannot write a format.
        if os.path.exists(path + ending) and os.path.getsize(path + ending):
            return path + ending
    return ""


main(sys.argv[-1])
