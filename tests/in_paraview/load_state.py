"""Runs under pvpython: load_state.py STATE. Loads it as it is, and brings everything in it up to date."""

import sys

from paraview.simple import *

LoadState(sys.argv[-1])
for source in GetSources().values():
    source.UpdatePipeline()
