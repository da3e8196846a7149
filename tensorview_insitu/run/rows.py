"""Rows: consecutive values of one dataset, and the step that each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run.errors import NotARunError

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of one dataset.

    Args:
        steps: `(rows,)`, the step after which each row was taken; never falling.
        values: `(rows, ...)`.
        attributes: what the dataset says of itself: `columns`, `dims`, `filter_axis`, ...
    """

    steps: NDArray[np.int64]
    values: NDArray[Any]
    attributes: Attributes = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The memory that they take."""
        return int(self.values.nbytes + self.steps.nbytes)

    @property
    def is_table(self) -> bool:
        """Whether they are numbers in named columns, and no arrays."""
        return "columns" in self.attributes

    def mark(self) -> bytes:
        """A fingerprint of the values of the last row."""
        return blake2b(self.values[-1:].tobytes(), digest_size=16).digest()


@dataclass(frozen=True)
class Last:
    """What is remembered of the last row of a dataset.

    Args:
        step: after which it was taken.
        mark: the fingerprint of its values.
        dtype: of its values.
    """

    step: int
    mark: bytes
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, rows: Rows) -> Last:
        """That of `rows`, one or more."""
        return cls(int(rows.steps[-1]), rows.mark(), rows.values.dtype)

    def is_of(self, rows: Rows) -> bool | None:
        """Whether the last of `rows` holds the same values, as they are recorded here.

        None where those have fewer digits than were recorded here: it is not known.
        """
        if rows.values.dtype.itemsize < self.dtype.itemsize:
            return None
        with np.errstate(over="ignore"):  # in float16 what is too large is infinite
            last = rows.values[-1:].astype(self.dtype, copy=False)
        return Rows(rows.steps[-1:], last).mark() == self.mark


Block = Mapping[str, Rows]
"""Rows of several datasets that were taken together, by dataset name."""


def concatenate(parts: Sequence[Rows]) -> Rows:
    """One `Rows` out of consecutive ones.

    Tables (those with `columns`) are joined by column name: a column that a part lacks is NaN there.
    """
    if len(parts) == 1:
        return parts[0]
    attributes = together(parts)
    steps = np.concatenate([part.steps for part in parts])
    if "columns" not in attributes:
        check_shapes(part.values.shape for part in parts)
        return Rows(steps, np.concatenate([part.values for part in parts]), attributes)
    columns = list(dict.fromkeys(c for part in parts for c in part.attributes["columns"]))
    dtype = np.result_type(*{part.values.dtype for part in parts})
    values = np.full((len(steps), len(columns)), np.nan, dtype)
    start = 0
    for part in parts:
        at = [columns.index(c) for c in part.attributes["columns"]]
        values[start : start + len(part.steps), at] = part.values
        start += len(part.steps)
    return Rows(steps, values, {**attributes, "columns": columns})


def check_shapes(shapes: Iterable[tuple[int, ...]]) -> None:
    """Raise unless rows of these shapes fit below each other; axis 0 being the rows.

    Raises:
        NotARunError: they do not.
    """
    rows = list(dict.fromkeys(shape[1:] for shape in shapes))
    if len(rows) > 1:
        told = " and ".join(map(str, rows))
        raise NotARunError(f"Rows of one dataset are of different shapes: {told}. No recorder wrote them.")


def together(parts: Iterable[Rows]) -> dict[str, Any]:
    """All that consecutive rows of one dataset say of it; the last has the last word."""
    return {key: value for part in parts for key, value in part.attributes.items()}


def join(blocks: Sequence[Block]) -> dict[str, Rows]:
    """All rows of consecutive blocks, by dataset name."""
    names = dict.fromkeys(name for block in blocks for name in block)
    return {name: concatenate([b[name] for b in blocks if name in b]) for name in names}
