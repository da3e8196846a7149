"""`pack RUN`: finish a crashed run."""

from __future__ import annotations

import argparse
from typing import Any

from tensorview_insitu.cli.command import add_command
from tensorview_insitu.cli.progress import progress_bar
from tensorview_insitu.cli.say import say


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "pack",
        run,
        "Put all of a run into one HDF5 file, run.h5, as a training does when it ends.",
        "tensorview-insitu pack runs/cxr",
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run whose training is over")


def run(options: argparse.Namespace) -> int:
    """Pack it."""
    from tensorview_insitu.run.identity import CRASHED, RUNNING, write_identity
    from tensorview_insitu.run.pack import pack
    from tensorview_insitu.run.reader import Run

    opened = Run.open(options.path)
    identity, status = opened.identity, opened.status
    if status == RUNNING:
        raise ValueError(
            f"{opened.folder} is being written by process {identity['pid']} on {identity['host']}. "
            "A run is packed when its training ends."
        )
    with progress_bar("packing") as progress:
        packed = pack(opened.folder, progress)
    if status == CRASHED:
        write_identity(opened.folder, {**identity, "status": CRASHED})
    say(packed)
    return 0
