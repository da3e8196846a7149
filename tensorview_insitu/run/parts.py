"""Which files make up a run at this moment, and what is wrong with them.

Whoever reads, verifies, packs, merges or resumes a run asks here, so that a file that does not belong, or one
that is missing, is found by all of them alike. A file is told by what it says of itself (its run, and the
segments it holds), by its name, and by what run.json counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.errors import DAMAGE, NotARunError
from tensorview_insitu.run.identity import read_identity

_NUMBERS = re.compile(r"(\d{6,})-(\d{6,})\.h5", re.ASCII)

Span = tuple[int, int]
"""The first and the last of consecutive segments."""


@dataclass(frozen=True)
class Part:
    """One HDF5 file of a run, and the segments that it stands for."""

    path: Path
    first: int
    last: int

    @property
    def is_tail(self) -> bool:
        """Whether it is what came since the last segment; run.json does not count it."""
        return self.path.name == layout.TAIL_FILE


@dataclass
class Inventory:
    """The files of a run at one moment, open, and what is wrong with them.

    Args:
        folder: the run.
        identity: its run.json, as it was before the files were listed.
        parts: what makes up the run, in order, without a row twice.
        covered: files whose segments one of the parts holds too.
        problems: what is wrong with a file, by its path; it is neither a part nor covered.
        missing: the segments that no file holds.
        files: the parts and what they cover, open, by path.
    """

    folder: Path
    identity: dict[str, Any]
    parts: list[Part] = field(default_factory=list)
    covered: list[Part] = field(default_factory=list)
    problems: dict[Path, str] = field(default_factory=dict)
    missing: list[Span] = field(default_factory=list)
    files: dict[Path, h5py.File] = field(default_factory=dict)

    def in_order(self) -> list[h5py.File]:
        """The open files that make up the run."""
        return [self.files[part.path] for part in self.parts]

    def lacking(self, names: Iterable[str] | None = None) -> dict[Path, str]:
        """What should be there and is not, by the path of the file that should hold it, or that counts it.

        Args:
            names: the datasets whose rows are counted; None: all. They are counted where all files are there.
        """
        found = {
            layout.segment_file(self.folder, *span): f"{self.folder} lacks {_named(span)}"
            for span in self.missing
        }
        if not found and not self.problems:
            wrong = list(self._miscounted(names))
            if wrong:
                more = f" (and so for {len(wrong) - 1} more)" if wrong[1:] else ""
                found[self.folder / layout.RUN_FILE] = f"{self.folder}: {wrong[0]}{more}"
        return found

    def _miscounted(self, names: Iterable[str] | None) -> Iterator[str]:
        expected = self.identity.get("rows")
        if expected is None:  # of a run from before they were counted
            return
        counted = [part for part in self.parts if not part.is_tail]
        files = [self.files[part.path] for part in counted]
        if names is None:
            names = dict.fromkeys([*expected, *(n for file in files for n in segment.dataset_names(file))])
        # A recorder that died may have published a segment more than it had counted.
        all_counted = (counted[-1].last + 1 if counted else 0) == self.identity.get("segments")
        for name in names:
            found = [file.get(name) for file in files]
            rows = sum(each.shape[0] for each in found if isinstance(each, h5py.Dataset))
            told = expected.get(name, 0)
            if rows < told or (all_counted and rows > told):
                yield f"run.json counts {told} rows of /{name}, but there are {rows}"

    def refuse(self) -> None:
        """Raise what is wrong, if anything is.

        Raises:
            NotARunError: the first of it.
        """
        for problem in [*self.problems.values(), *self.lacking().values()]:
            raise NotARunError(problem)


def _named(span: Span) -> str:
    first, last = span
    return f"segment {first}" if first == last else f"segments {first} to {last}"


def open_parts(folder: Path, stack: contextlib.ExitStack) -> Inventory:
    """Open the files of the run in `folder`.

    Args:
        folder: the run.
        stack: closes them.

    Raises:
        NotARunError: run.json cannot be read.
        FileNotFoundError: a file went while this looked, or the whole run did; look again.
    """
    # run.json is read first, and counts a segment when it is published: what it counts should be there.
    found = Inventory(folder, read_identity(folder))
    parts: list[Part] = []
    vanished: list[Path] = []
    for path in _paths(folder):
        try:
            file = stack.enter_context(_opened(path))
            parts.append(_part(file, path, found.identity["run_id"]))
            found.files[path] = file
        except FileNotFoundError:
            vanished.append(path)
        except NotARunError as error:
            found.problems[path] = str(error)
    _arrange(found, parts)
    if not all(_is_covered(path, found.parts) for path in vanished):
        raise FileNotFoundError(errno.ENOENT, "it went while the run was looked at", str(vanished[0]))
    if found.problems and read_identity(folder)["run_id"] != found.identity["run_id"]:
        raise FileNotFoundError(errno.ENOENT, "another run took its place", str(folder))
    return found


def _paths(folder: Path) -> Iterator[Path]:
    # The tail comes first: should it become a segment meanwhile, that segment is seen too, and the tail,
    # which bears its number, is passed over. run.h5 comes last: what was packed meanwhile is in it.
    tail = folder / layout.SEGMENT_FOLDER / layout.TAIL_FILE
    if os.path.lexists(tail):
        yield tail
    yield from (path for path in _settled_paths(folder) if path.name != layout.TAIL_FILE)
    packed = folder / layout.PACKED_FILE
    if os.path.lexists(packed):
        yield packed


def _settled_paths(folder: Path) -> list[Path]:
    # A listing is no snapshot: while segments are merged it may show neither a new file nor its sources.
    before: list[Path] | None = None
    while True:
        paths = sorted(p for p in (folder / layout.SEGMENT_FOLDER).glob("*.h5") if p.name[0] != ".")
        if paths == before:
            return paths
        before = paths


def _opened(path: Path) -> h5py.File:
    if path.name not in (layout.TAIL_FILE, layout.PACKED_FILE) and _span(path) is None:
        raise NotARunError(f"{path} is no segment. Expected a name like 000000-000000.h5")
    return segment.open_part(path)


def _span(path: Path) -> Span | None:
    """The segments that a file holds by its name."""
    match = _NUMBERS.fullmatch(path.name)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    return (first, last) if path.name == layout.segment_file(Path(), first, last).name else None


def _part(file: h5py.File, path: Path, run_id: str) -> Part:
    """What a file says of itself.

    Raises:
        NotARunError: it belongs to another run, or is no file that its name says.
    """
    try:
        of, first, last = segment.run_of(file), int(file.attrs["first"]), int(file.attrs["last"])
    except DAMAGE as error:
        raise NotARunError(f"{path} is damaged: {error}") from error
    if of != run_id:
        raise NotARunError(f"{path} belongs to another run")
    if not 0 <= first <= last or _span(path) not in (None, (first, last)):
        raise NotARunError(
            f"{path} holds {_named((first, last))}, and not those of its name: it was renamed or copied"
        )
    return Part(path, first, last)


def _arrange(found: Inventory, parts: list[Part]) -> None:
    """Tell parts, what they cover, and what does not fit between them; and what is missing."""
    last_published = max((part.last for part in parts if not part.is_tail), default=-1)
    end = -1
    # The widest comes first. Of equals the tail comes last: a segment of the same number replaces it.
    for part in sorted(parts, key=lambda p: (p.first, -p.last, p.is_tail)):
        if part.last <= end:
            found.covered.append(part)
        elif part.first <= end:
            found.problems[part.path] = f"{part.path}: some of its segments are in another file too"
        elif part.is_tail and part.first < last_published:
            found.problems[part.path] = f"{part.path} holds segment {part.first}, and is older than others"
        else:
            found.parts.append(part)
            end = part.last
    found.missing = _missing(found)


def _missing(found: Inventory) -> list[Span]:
    if any(path.name == layout.PACKED_FILE for path in found.problems):
        return []  # nobody knows what was in it
    spans = [(part.first, part.last) for part in found.parts if not part.is_tail]
    spans += [(first, last) for first, last in found.identity.get("lost", [])]
    # What cannot be read is told already, and not missing too.
    spans += [span for span in map(_span, found.problems) if span is not None]
    end = max([found.identity.get("segments", 0), *(part.first for part in found.parts if part.is_tail)])
    gaps: list[Span] = []
    expected = 0
    for first, last in [*sorted(spans), (end, end)]:
        if first > expected:
            gaps.append((expected, first - 1))
        expected = max(expected, last + 1)
    return gaps


def _is_covered(path: Path, parts: list[Part]) -> bool:
    span = _span(path)
    return span is not None and any(part.first <= span[0] and span[1] <= part.last for part in parts)


def segments(folder: Path) -> list[Part]:
    """The segments of the run in `folder`, in order, by their names; of overlapping ones the widest."""
    spans = [(path, _span(path)) for path in _settled_paths(folder)]
    named = [Part(path, *span) for path, span in spans if span is not None]
    chosen: list[Part] = []
    for part in sorted(named, key=lambda p: (p.first, -p.last)):
        if not chosen or part.last > chosen[-1].last:
            chosen.append(part)
    return chosen
