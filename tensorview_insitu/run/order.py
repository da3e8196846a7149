"""Steps never fall along a dataset, whatever the files that it is spread over: else rows are there twice."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotARunError


class StepOrder:
    """Looks at the steps of consecutive rows of all datasets."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def check(self, file: h5py.File, name: str, steps: NDArray[np.int64]) -> None:
        """Go on with the next rows of dataset `name`.

        Raises:
            NotARunError: a step is lower than the one before, or, in /steps, the same.
        """
        if not len(steps):
            return
        rises = np.diff(steps, prepend=self._last.get(name, -1))
        if (rises < (1 if name == layout.STEPS else 0)).any():
            raise NotARunError(f"Dataset /{name} of {file.filename}: its steps fall, or are there twice")
        self._last[name] = int(steps[-1])
