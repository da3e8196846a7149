"""`open RUN`: a run in the ParaView window."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tensorview_insitu.cli.command import add_allow_code, add_command
from tensorview_insitu.cli.say import say
from tensorview_insitu.cli.settings import add_settings, settings_of


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "open",
        run,
        "Open a run in the ParaView window; exports it first when need be. The folder may have moved.",
        "tensorview-insitu open runs/cxr --view training_curve_3d",
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--view", metavar="V", help="which view (default: dashboard; of a comparison: compare)"
    )
    add_settings(parser)
    add_allow_code(parser)


def run(options: argparse.Namespace) -> int:
    """Open it, and wait until the window is closed."""
    from tensorview_insitu.cli.exported import export_folder, ready_state
    from tensorview_insitu.cli.paraview_process import (
        NoParaViewError,
        environment_of_paraview,
        find,
        has_screen,
    )
    from tensorview_insitu.index import read_index
    from tensorview_insitu.paraview_states.states import write_states
    from tensorview_insitu.paraview_states.views import check_view

    view = options.view and check_view(options.view)
    settings = settings_of(options)
    folder = export_folder(options.path)
    view = view or ("dashboard" if read_index(folder)["comparison"] is None else "compare")
    with tempfile.TemporaryDirectory() as scratch:
        for line in write_states(folder, [view], settings).warnings():
            say(line, file=sys.stderr)
        state = ready_state(
            folder, view, Path(scratch), settings=settings, allow_code=options.allow_code, in_place=True
        )
        program = find("paraview")
        if not has_screen():
            raise NoParaViewError(
                f"There is no display to open a window on. `tensorview-insitu render {options.path}` makes "
                f"pictures without one; on a machine with a display, open {state}."
            )
        command = [program, f"--state={state}"]
        return subprocess.run(command, env=environment_of_paraview(), check=False).returncode
