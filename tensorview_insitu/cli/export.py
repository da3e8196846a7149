"""`export RUN`: a run as VTK, CSV and ParaView states."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
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
        help="only these layers, and their kernels as long CSV tables too; exit code 1 when a part of one of "
        "them fails",
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
        made = export_beside(
            options.path, options.output, options.layer, options.format, skip_damaged=options.skip_damaged
        )
        if options.every is not None:
            made.lines.append(f"ignored: --every, by {options.format}: nothing is copied")
    else:
        made = export(
            options.path, options.output, options.layer, options.every, skip_damaged=options.skip_damaged
        )
    for line in made.lines:
        say(line)
    return 1 if made.lacks_named else 0


@dataclass
class Made:
    """What an export made.

    Args:
        lines: what is to be printed: the files, and what is missing.
        failed: by part, why it is not there.
        lacks_named: whether a part failed of a layer that was asked for by its name.
    """

    lines: list[str]
    failed: dict[str, str]
    lacks_named: bool


def _lacks_named(failed: dict[str, str], layers: list[str] | None) -> bool:
    kinds = ("layers", "kernel_tables", "sidecars")
    named = tuple(f"{kind}/{layer}/" for kind in kinds for layer in layers or ())
    return any(part.startswith(named) for part in failed) if named else False


def export_beside(
    path: str, output: str | None, layers: list[str] | None, kind: str, *, skip_damaged: bool = False
) -> Made:
    """Write the files through which ParaView reads run.h5 itself, and their states."""
    from tensorview_insitu.export.run import EXPORT_FOLDER
    from tensorview_insitu.export.vtkhdf import export_vtkhdf
    from tensorview_insitu.export.xdmf import export_xdmf
    from tensorview_insitu.paraview_states.settings import Settings
    from tensorview_insitu.paraview_states.states import write_raw_states
    from tensorview_insitu.run.reader import Run

    opened = Run.open(path, skip_damaged=skip_damaged)
    folder = Path(output) if output else opened.folder / EXPORT_FOLDER / kind
    write = export_xdmf if kind == "xdmf" else export_vtkhdf
    sidecars = write(opened, folder, layers=layers)
    states = write_raw_states(folder, sidecars.files, Settings())
    lines = [
        *(str(folder / one["file"]) for one in sidecars.files),
        *map(str, states),
        *(f"missing: {note}" for note in sidecars.notes),
    ]
    return Made(lines, sidecars.failed, _lacks_named(sidecars.failed, layers))


def export(
    path: str, output: str | None, layers: list[str] | None, every: int | None, *, skip_damaged: bool = False
) -> Made:
    """Export a run with its states."""
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
    lines = [
        str(index_file),
        *(str(path) for path in report.written),
        *report.lines(),
        *(f"missing: {note}" for note in index["notes"]),
        *(f"damaged: {problem}" for problem in opened.damaged.values()),
    ]
    return Made(lines, index["failed"], _lacks_named(index["failed"], layers))
