"""The parts of an export, each of which may fail: it costs that part, is said, and leaves no file behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tensorview_insitu.export.files import Target
from tensorview_insitu.run.errors import NotARunError, NotInRunError
from tensorview_insitu.run.reader import Run
from tensorview_insitu.text.one_line import one_line, told

_T = TypeVar("_T")
_Absent = TypeVar("_Absent")

PARTS = {
    "data": "what several parts are made of: `data/epochs`, `data/batches`, `data/gradient_norms`, ...",
    "tables": "one CSV table each: `tables/batches`",
    "curve": "the path through epoch, loss and metric",
    "gradient_norms": "their table, heat map and lines",
    "layers": "`layers/<layer>/<variable>`, and of it `.../distribution`, `.../sheets`, `.../grids`, "
    "`.../trajectory`",
    "kernel_tables": "one kernel in long form each",
    "feature_maps": "one layer each",
    "explanations": "one method each",
    "explanation_grid": "all methods for all samples",
    "health": "one heat map of layers over epochs each, and `health/now`",
    "network": "all kernels in one scene",
    "quantities": "the numbers of the user's own",
    "comparison": "`comparison/curves`, `comparison/<layer>`",
    "sidecars": "one file beside run.h5 each",
}
"""What the name of a part begins with, and what it is."""


class Parts:
    """Makes the parts of one export.

    A full disk, or any other OSError, is no failure of a part: it ends the export.

    Args:
        target: where to.
        run: what of; what of it is damaged and passed over is said with the part that lacks it.

    Attributes:
        made: the parts that were made, with those that there was nothing to make of.
        failed: by part, why it is not there, in a sentence.
        notes: sentences about them, one a line.
    """

    def __init__(self, target: Target, run: Run | None = None) -> None:
        self._target, self._run = target, run
        self.made: list[str] = []
        self.failed: dict[str, str] = {}
        self.notes: list[str] = []
        self._errors: list[Exception] = []

    def make(
        self, part: str, work: Callable[[], _T], absent: _Absent, *, files: Sequence[str] = ()
    ) -> _T | _Absent:
        """Make one part.

        Args:
            part: its name; what it begins with is one of `PARTS`.
            work: writes its files, and gives what index.json says of it.
            absent: what it gives where there is nothing to write; also when it fails.
            files: patterns of all files that it may have written, now or in an export before. They are
                removed when it fails, or has nothing to write: old files must not pass for new ones.

        Raises:
            OSError: the disk is full, ...
        """
        assert part.split("/")[0] in PARTS, part
        damaged = self._damaged()
        found: _T | _Absent = absent
        try:
            found = work()
        except OSError:
            raise
        except Exception as error:
            reasons = self._damaged() - damaged
            # What is wrong with a run is a sentence by itself.
            why = str(error) if isinstance(error, NotARunError | NotInRunError) else told(error)
            self.fail(part, "; ".join(sorted(reasons)) or why)
            self._errors.append(error)
        else:
            self.made.append(part)
            for reason in sorted(self._damaged() - damaged):
                self.note(f"{part} lacks what is damaged: {reason}")
        if found is absent or found is None or (isinstance(found, list | tuple | dict) and not found):
            self.remove(files)
        return found

    def fail(self, part: str, reason: str) -> None:
        """Say that a part is not there."""
        sentence = one_line(f"{part} is not exported: {reason}")
        self.failed[part] = sentence
        self.note(sentence)

    def note(self, sentence: str) -> None:
        """Say something about the export, once."""
        line = one_line(sentence)
        if line not in self.notes:
            self.notes.append(line)

    def check(self) -> None:
        """Raise what the first part failed of, when none was made: then the run is to blame, or we are."""
        if self._errors and not self.made:
            raise self._errors[0]

    def remove(self, files: Sequence[str]) -> None:
        """Take away files of an export before, by their patterns, and what a writer had begun of them."""
        for pattern in files:
            folder, _, name = pattern.rpartition("/")
            for each in (name, f".{name.rstrip('*')}*"):
                for path in self._target.folder.glob(f"{folder}/{each}" if folder else each):
                    if path.is_symlink() or path.is_file():
                        path.unlink()

    def _damaged(self) -> set[str]:
        return set() if self._run is None else set(self._run.damaged.values())
