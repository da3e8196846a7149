"""Verify a run: read every byte of it, and tell what is damaged, missing, or not its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from tensorview_insitu.run import segment
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.identity import read_identity
from tensorview_insitu.run.parts import all_files

_PIECE_BYTES = 32 << 20


@dataclass
class Verdict:
    """What was read, and what was wrong.

    Args:
        files: how many HDF5 files.
        datasets: how many datasets in them.
        problems: each in a line; none when the run is whole.
    """

    files: int = 0
    datasets: int = 0
    problems: list[str] = field(default_factory=list)


def verify(folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Verdict:
    """Read all of the run in `folder`; nobody should be writing it.

    Args:
        folder: the run.
        progress: called with the number of files read and their total.

    Raises:
        NotARunError: `folder` is no run.
    """
    run_id = read_identity(folder)["run_id"]
    verdict = Verdict()
    numbers: set[int] = set()
    files = all_files(folder)
    for done, path in enumerate(files):
        try:
            with segment.open_part(path) as file:
                verdict.files += 1
                if segment.run_of(file) != run_id:
                    verdict.problems.append(f"{path} belongs to another run")
                    continue
                numbers.update(range(int(file.attrs["first"]), int(file.attrs["last"]) + 1))
                _verify_datasets(file, verdict)
        except NotARunError as error:
            verdict.problems.append(str(error))
        progress(done + 1, len(files))
    lost = sorted(set(range(max(numbers, default=-1) + 1)) - numbers)
    if lost:
        verdict.problems.append(f"segments {', '.join(map(str, lost))} are missing")
    return verdict


def _verify_datasets(file: h5py.File, verdict: Verdict) -> None:
    for name in segment.dataset_names(file):
        verdict.datasets += 1
        length = file[name].shape[0]
        row_bytes = max(1, file[name].nbytes // max(1, length))
        rows_at_once = max(1, _PIECE_BYTES // row_bytes)
        before = -1
        try:
            for start in range(0, length, rows_at_once):
                steps = segment.read(file, name, slice(start, start + rows_at_once)).steps
                if np.any(np.diff(steps, prepend=before) < 0):
                    verdict.problems.append(f"Dataset /{name} of {file.filename}: its steps fall")
                    break
                before = steps[-1]
        except NotARunError as error:
            verdict.problems.append(str(error))
