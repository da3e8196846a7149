"""`plugin`: where ParaView's reader of runs is, and how to load it."""

from __future__ import annotations

import argparse
from importlib import resources
from typing import Any

from tensorview_insitu.cli.command import add_command
from tensorview_insitu.cli.say import say_lines

_HOW = """{plugin}

With it, ParaView opens a run's run.h5 itself (File > Open), without an export. Its Python needs h5py
(Debian: apt install python3-h5py).

  in the window     Tools > Manage Plugins > Load New, and choose that file
  from a shell      PV_PLUGIN_PATH={folder} paraview
  in a script       LoadPlugin("{plugin}", ns=globals()); TensorViewReader(FileName="runs/cxr/run.h5")

Debian's ParaView 5.11 loads no Python plugin without a shim:

  PYTHONPATH={shim} PV_PLUGIN_PATH={folder} paraview"""


def add_to(commands: Any) -> None:
    """Add this command."""
    add_command(
        commands,
        "plugin",
        run,
        "Print where the ParaView plugin is that opens run.h5 without an export, and how to load it.",
        "tensorview-insitu plugin",
    )


def run(options: argparse.Namespace) -> int:
    """Tell it."""
    scripts = resources.files("tensorview_insitu.scripts")
    folder = scripts / "plugin"
    say_lines(_HOW.format(plugin=folder / "tensorview_reader.py", folder=folder, shim=scripts / "shim"))
    return 0
