"""Which files make up a run at this moment, without a row twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.segment import open_part

_NUMBERS = re.compile(r"(\d{6,})-(\d{6,})\.h5")


@dataclass(frozen=True)
class Part:
    """One HDF5 file of a run, and the segments that it stands for."""

    path: Path
    first: int
    last: int


def segments(folder: Path) -> list[Part]:
    """The segments of the run in `folder`, in order; of overlapping ones the widest."""
    matches = [m for m in map(_NUMBERS.fullmatch, _settled_names(folder / layout.SEGMENT_FOLDER)) if m]
    found = [Part(layout.segment_file(folder, int(m[1]), int(m[2])), int(m[1]), int(m[2])) for m in matches]
    return without_covered(found)


def _settled_names(folder: Path) -> list[str]:
    # A listing is no snapshot: while segments are merged it may show neither a new file nor its sources.
    before: list[str] | None = None
    while True:
        names = sorted(p.name for p in folder.glob("*.h5"))
        if names == before:
            return names
        before = names


def all_files(folder: Path) -> list[Path]:
    """Every HDF5 file of the run in `folder`, also those that another one stands for."""
    inside = folder / layout.SEGMENT_FOLDER
    packed = folder / layout.PACKED_FILE
    return [*([packed] if packed.exists() else []), *(inside / name for name in _settled_names(inside))]


def current_parts(folder: Path, damaged: dict[Path, str] | None = None) -> list[Part]:
    """run.h5, the segments that it lacks, and the tail, in order.

    Args:
        folder: the run.
        damaged: takes what is wrong with a file that cannot be read, which is then passed over.

    Raises:
        NotARunError: a file cannot be read, and `damaged` is None.
        FileNotFoundError: a file went while this looked; look again.
    """
    packed = folder / layout.PACKED_FILE
    tail = folder / layout.SEGMENT_FOLDER / layout.TAIL_FILE
    # The tail is looked at first: should it become a segment meanwhile, that segment is seen too,
    # and the tail, which bears its number, is passed over.
    found = _part(tail, damaged) if tail.exists() else []
    found += segments(folder)
    if packed.exists():
        found += _part(packed, damaged)
    return without_covered(found)


def _part(path: Path, damaged: dict[Path, str] | None) -> list[Part]:
    try:
        with open_part(path) as file:
            return [Part(path, int(file.attrs["first"]), int(file.attrs["last"]))]
    except NotARunError as error:
        if damaged is None:
            raise
        damaged[path] = str(error)
        return []


def without_covered(parts: list[Part]) -> list[Part]:
    """The parts in order, less those whose segments a wider (or immutable) one holds."""
    chosen: list[Part] = []
    end = -1
    # Of equals the tail comes last: a segment of the same number replaces it.
    ordered = sorted(parts, key=lambda p: (p.first, -p.last, p.path.name == layout.TAIL_FILE))
    for part in ordered:
        if part.last > end:
            chosen.append(part)
            end = part.last
    return chosen
