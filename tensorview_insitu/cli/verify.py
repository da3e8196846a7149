"""`verify RUN`: is every byte of a run as it was written?"""

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
        "verify",
        run,
        "Read all of a run and check it against its checksums; names what is damaged, with exit code 1.",
        "tensorview-insitu verify runs/cxr",
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run")


def run(options: argparse.Namespace) -> int:
    """Verify it."""
    from tensorview_insitu.run.reader import Run
    from tensorview_insitu.run.verify import verify

    opened = Run.open(options.path)
    with progress_bar("verifying") as progress:
        verdict = verify(opened.folder, progress)
    for problem in verdict.problems:
        say(problem)
    state = "damaged" if verdict.problems else "whole"
    say(f"{opened.folder} is {state}: {verdict.datasets} datasets in {verdict.files} file(s) read")
    return 1 if verdict.problems else 0
