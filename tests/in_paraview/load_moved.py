"""Runs under pvpython: load a state as "Search files under specified directory" does; print its files.

load_moved.py STATE.pvsm DIRECTORY OUT.json
"""

import json
import sys

from paraview.simple import GetSources, LoadState

LoadState(sys.argv[1], data_directory=sys.argv[2])
names = [s.FileName for s in GetSources().values() if hasattr(s, "FileName")]
with open(sys.argv[3], "w") as out:
    json.dump([name if isinstance(name, str) else name[0] for name in names], out)
