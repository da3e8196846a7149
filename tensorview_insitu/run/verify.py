"""Verify a run: read every byte of it, and tell what is damaged, missing, or not its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from tensorview_insitu.run import segment
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.order import StepOrder
from tensorview_insitu.run.parts import open_parts

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
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        verdict = Verdict(problems=[*found.problems.values(), *found.lacking().values()])
        steps = StepOrder()
        for part in found.parts:
            _verify_datasets(found.files[part.path], verdict, steps)
            progress(verdict.files, len(found.files))
        for part in found.covered:
            _verify_datasets(found.files[part.path], verdict, StepOrder())
            progress(verdict.files, len(found.files))
    return verdict


def _verify_datasets(file: h5py.File, verdict: Verdict, steps: StepOrder) -> None:
    verdict.files += 1
    for name in segment.dataset_names(file):
        verdict.datasets += 1
        length = file[name].shape[0]
        row_bytes = max(1, file[name].nbytes // max(1, length))
        rows_at_once = max(1, _PIECE_BYTES // row_bytes)
        try:
            for start in range(0, length, rows_at_once):
                steps.check(file, name, segment.read(file, name, slice(start, start + rows_at_once)).steps)
        except NotARunError as error:
            verdict.problems.append(str(error))
