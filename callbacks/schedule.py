"""When a quantity is recorded: `every="epoch"`, `"batch"`, or a number of batches."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Every = Literal["epoch", "batch"] | int


def check_every(every: Any) -> Every:
    """Return `every` when it is a rhythm.

    Raises:
        ValueError: it is none.
    """
    is_count = isinstance(every, int) and not isinstance(every, bool) and every >= 1
    if every not in ("epoch", "batch") and not is_count:
        raise ValueError(
            f'Expected every to be "epoch", "batch" or a positive int. Received: every={every!r}.'
        )
    return every  # type: ignore[no-any-return]


def batches(every: Every) -> int | None:
    """The number of batches between two records; None when it is once an epoch."""
    if every == "epoch":
        return None
    return 1 if every == "batch" else every


def kept(every: Every, steps: NDArray[np.int64], *, epoch_end: bool) -> NDArray[np.bool_]:
    """Which of the rows with these steps are recorded.

    Args:
        every: the rhythm.
        steps: `(rows,)`, counted from 1.
        epoch_end: whether the last row is the last of its epoch.
    """
    count = batches(every)
    if count is not None:
        due: NDArray[np.bool_] = steps % count == 0
        return due
    mask = np.zeros(len(steps), bool)
    mask[-1:] = epoch_end
    return mask
