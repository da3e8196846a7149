"""`compare RUN RUN...`: several runs beside each other."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tensorview_insitu.cli.command import add_allow_code, add_command
from tensorview_insitu.cli.say import say
from tensorview_insitu.cli.settings import add_settings, settings_of


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "compare",
        run,
        "Write two or more runs beside each other: curves in one chart, kernels as differences from the "
        "first run. `open DIR` and `render DIR` show them.",
        "tensorview-insitu compare runs/slow runs/fast -o compared",
    )
    parser.add_argument("paths", metavar="RUN", nargs="+", help="the folders of the runs")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="where to (default: comparison, beside the first run)"
    )
    parser.add_argument("--render", action="store_true", help="make the picture too")
    add_settings(parser)
    add_allow_code(parser)


def run(options: argparse.Namespace) -> int:
    """Compare them."""
    from tensorview_insitu.export.comparison import export_comparison
    from tensorview_insitu.index import read_index
    from tensorview_insitu.loading.plain_file import check_folder
    from tensorview_insitu.paraview_states.states import write_states
    from tensorview_insitu.run.reader import Run

    settings = settings_of(options)
    runs = [Run.open(path) for path in options.paths]
    folder = Path(options.output) if options.output else runs[0].folder.parent / "comparison"
    check_folder(folder)
    say(export_comparison(runs, folder))
    for sentence in read_index(folder)["notes"]:
        say(f"missing: {sentence}")
    report = write_states(folder, ["compare"], settings)
    for line in [*report.written, *report.lines()]:
        say(line)
    if options.render:
        from tensorview_insitu.cli.render import render

        for picture in render(str(folder), ["compare"], settings=settings, allow_code=options.allow_code):
            say(picture)
    return 0
