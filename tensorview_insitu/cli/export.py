"""`export RUN`: a run as VTK, CSV and ParaView states."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tensorview_insitu.cli.command import add_command
from tensorview_insitu.cli.progress import progress_bar
from tensorview_insitu.cli.say import say

_FORMATS = ("vtk", "xdmf", "vtkhdf")


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "export",
        run,
        "Write a run as time-series VTK, CSV and ParaView states; a live or crashed run too. Exporting "
        "again after more epochs writes only what is new.",
        "tensorview-insitu export runs/cxr --layer conv1",
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run")
    parser.add_argument("-o", "--output", metavar="DIR", help="where to (default: RUN/paraview)")
    parser.add_argument(
        "--layer",
        action="extend",
        nargs="+",
        metavar="L",
        help="only these layers, and their kernels as long CSV tables too",
    )
    parser.add_argument(
        "--every", type=int, metavar="n", help="every n-th snapshot (default: all; of very many, fewer)"
    )
    parser.add_argument(
        "--format",
        default="vtk",
        help="vtk (default); xdmf, or vtkhdf for ParaView 5.13 and later: small files beside run.h5, out of "
        "which ParaView then reads, so that nothing is copied",
    )
    parser.add_argument(
        "--skip-damaged", action="store_true", help="leave out the files of the run that cannot be read"
    )


def run(options: argparse.Namespace) -> int:
    """Export it."""
    if options.format not in _FORMATS:
        raise ValueError(f"Expected --format as one of {', '.join(_FORMATS)}. Received: {options.format}")
    if options.format != "vtk":
        for path in export_beside(options.path, options.output, options.layer, options.format):
            say(path)
        return 0
    for line in export(
        options.path, options.output, options.layer, options.every, skip_damaged=options.skip_damaged
    ):
        say(line)
    return 0


def export_beside(path: str, output: str | None, layers: list[str] | None, kind: str) -> list[Path]:
    """Write the files through which ParaView reads run.h5 itself, and their states."""
    from tensorview_insitu.export.run import EXPORT_FOLDER
    from tensorview_insitu.export.vtkhdf import export_vtkhdf
    from tensorview_insitu.export.xdmf import export_xdmf
    from tensorview_insitu.paraview_states.settings import Settings
    from tensorview_insitu.paraview_states.states import write_raw_states
    from tensorview_insitu.run.reader import Run

    opened = Run.open(path)
    folder = Path(output) if output else opened.folder / EXPORT_FOLDER / kind
    write = export_xdmf if kind == "xdmf" else export_vtkhdf
    files = write(opened, folder, layers=layers)
    return [*(folder / one["file"] for one in files), *write_raw_states(folder, files, Settings())]


def export(
    path: str, output: str | None, layers: list[str] | None, every: int | None, *, skip_damaged: bool = False
) -> list[str]:
    """Export a run with its states; what was made, and what could not be, in lines to print."""
    from tensorview_insitu.export.run import export_run
    from tensorview_insitu.index import read_index
    from tensorview_insitu.paraview_states.states import write_states
    from tensorview_insitu.run.reader import Run

    opened = Run.open(path, skip_damaged=skip_damaged)
    with progress_bar("exporting") as progress:
        index_file = export_run(opened, output, layers=layers, every=every, progress=progress)
    folder: Path = index_file.parent
    report = write_states(folder)
    index = read_index(folder)
    return [
        str(index_file),
        *(str(path) for path in report.written),
        *(f"kept (edited since it was written): {path}" for path in report.kept),
        *(f"no view {name}: {why}" for name, why in report.impossible.items()),
        *(f"missing: {note}" for note in index["notes"]),
        *(f"damaged: {problem}" for problem in opened.damaged.values()),
    ]
