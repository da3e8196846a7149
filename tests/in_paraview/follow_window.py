"""Runs under pvpython: what the script of the live window does when its export grows.

follow_window.py LIVE_WINDOW.PY EXPORT LATER_EXPORT OUT.JSON    (TENSORVIEW_INSITU_STATE names the state)
"""

import json
import runpy
import shutil
import sys

from paraview.simple import *

script, export, later, out = sys.argv[1:]
follower = runpy.run_path(script)["follower"]
animation = GetAnimationScene()
found = [[animation.EndTime, animation.AnimationTime]]
follower.look()  # nothing is new
found.append([animation.EndTime, animation.AnimationTime])
shutil.copytree(later, export, dirs_exist_ok=True)
follower.look()
found.append([animation.EndTime, animation.AnimationTime])
# Whoever looks at an earlier time is left there.
animation.AnimationTime = 1.0
follower.seen = 0
follower.look()
found.append([animation.EndTime, animation.AnimationTime])
with open(out, "w") as file:
    json.dump(found, file)
