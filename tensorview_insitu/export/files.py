"""The folder that an export writes into: what is there already, and what is new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.export.manifest import MANIFEST_FILE, Ledger, Manifest
from tensorview_insitu.index import Range
from tensorview_insitu.text.file_names import checked

_MOST_TIMES = 1000


class Target:
    """Where an export goes.

    Args:
        folder: the folder of index.json.
        before: what an export before wrote there; None writes every file again.
        manifest: the name of the manifest.
    """

    def __init__(self, folder: Path, before: Manifest | None = None, manifest: str = MANIFEST_FILE) -> None:
        self.folder = folder
        self.ledger = Ledger(folder, before, manifest)

    def lacks(self, file: str, *made_of: Any) -> bool:
        """Whether `file` has to be written; its folder is made.

        Args:
            file: its path in the export.
            made_of: all that its content depends on: arrays, dicts of them, names, numbers.
        """
        self.path(file)
        return not self.ledger.keeps(file, *made_of)

    def path(self, file: str) -> Path:
        """Where `file`, which this export writes, lies; its folder is made.

        Raises:
            ValueError: a part of it is no name that `safe_names` gives.
        """
        path = self.folder / checked(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.ledger.note(file)
        return path


def finite_range(*arrays: Any) -> Range:
    """Smallest and largest finite value; (0, 1) where there is none."""
    values = np.concatenate([np.ravel(np.asarray(a, np.float64)) for a in arrays])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def spread(count: int, most: int = _MOST_TIMES) -> NDArray[np.int64]:
    """At most `most` of the numbers below `count`, evenly, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def every_nth(count: int, n: int) -> NDArray[np.int64]:
    """Every n-th number below `count`, and the last."""
    numbers: Sequence[int] = sorted({*range(0, count, n), *([count - 1] if count else [])})
    return np.asarray(numbers, np.int64)
