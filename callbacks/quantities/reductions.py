"""What is kept of a variable: all of it, statistics of every filter, or a histogram."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from keras import ops

from tensorview_insitu.run import layout

from ..layers import LayerVariable
from ..taps.tap import Piece


class Reduction(ABC):
    """A way to make a variable smaller. It runs inside the compiled step as well as outside."""

    @abstractmethod
    def pieces(self, v: LayerVariable) -> list[Piece]:
        """What to copy of `v`."""


@dataclass(frozen=True)
class Whole(Reduction):
    """Everything.

    Args:
        dtype: of the values on disk.
    """

    dtype: str = "float32"

    def pieces(self, v: LayerVariable) -> list[Piece]:
        """The variable itself."""
        about = {"dims": ["snapshot", *v.dims], "filter_axis": 1 + v.filter_axis}
        name = layout.variable_dataset(v.layer, v.name)
        return [Piece(name, tuple(v.variable.shape), lambda: v.variable.value, about, self.dtype)]


@dataclass(frozen=True)
class Statistics(Reduction):
    """Mean, standard deviation, L2 norm, minimum and maximum of every filter."""

    names: ClassVar[tuple[str, ...]] = ("mean", "standard_deviation", "l2_norm", "minimum", "maximum")
    about: ClassVar[dict[str, Any]] = {
        "dims": ["snapshot", "statistic", "filter"],
        "filter_axis": 2,
        "statistics": list(names),
    }

    def pieces(self, v: LayerVariable) -> list[Piece]:
        """`(statistic, filter)`."""
        others = tuple(axis for axis in range(len(v.variable.shape)) if axis != v.filter_axis)

        def value() -> Any:
            return statistics(ops.cast(v.variable.value, "float32"), others)

        shape = (len(self.names), int(v.variable.shape[v.filter_axis]))
        return [Piece(layout.statistics_dataset(v.layer, v.name), shape, value, self.about)]


@dataclass(frozen=True)
class Histogram(Reduction):
    """How many values lie in each of `bins` bins of equal width between the smallest and the largest.

    Args:
        bins: how many.

    Raises:
        ValueError: `bins` is no positive int.
    """

    bins: int = 64

    def __post_init__(self) -> None:
        if not isinstance(self.bins, int) or isinstance(self.bins, bool) or self.bins < 1:
            raise ValueError(f"Expected bins to be a positive int. Received: bins={self.bins!r}.")

    def pieces(self, v: LayerVariable) -> list[Piece]:
        """`(bin,)`, the counts, and `(2,)`, the outer edges."""

        def counts() -> Any:
            values = ops.reshape(ops.cast(v.variable.value, "float32"), (-1,))
            finite = ops.isfinite(values)
            low, high = _range(values, finite)
            width = ops.where(high > low, (high - low) / self.bins, 1.0)
            bins = ops.floor((ops.where(finite, values, low) - low) / width)
            # What is not finite goes into a bin more, that nobody keeps.
            at = ops.where(finite, ops.clip(bins, 0, self.bins - 1), self.bins)
            at = ops.cast(at, "int32")
            return ops.segment_sum(ops.ones_like(at), at, num_segments=self.bins + 1)[: self.bins]

        def edges() -> Any:
            values = ops.reshape(ops.cast(v.variable.value, "float32"), (-1,))
            return ops.stack(_range(values, ops.isfinite(values)))

        about = {"dims": ["snapshot", "bin"], "filter_axis": 1}
        limits = {"dims": ["snapshot", "edge"], "filter_axis": 1}
        name = layout.histogram_dataset(v.layer, v.name)
        return [
            Piece(f"{name}/counts", (self.bins,), counts, about),
            Piece(f"{name}/range", (2,), edges, limits),
        ]


def statistics(values: Any, axes: tuple[int, ...]) -> Any:
    """`(5, filters)`: the `Statistics` over `axes`."""
    mean = ops.mean(values, axes, keepdims=True)
    # Not from the mean of the squares: of a spread that is small against the mean nothing would be left.
    apart = values - mean
    rest = ops.mean(apart, axes)
    variance = ops.mean(ops.square(apart), axes) - ops.square(rest)
    return ops.stack(
        [
            ops.reshape(mean, ops.shape(rest)) + rest,
            ops.sqrt(ops.maximum(variance, 0.0)),
            ops.sqrt(ops.sum(ops.square(values), axes)),
            ops.min(values, axes) if axes else values,
            ops.max(values, axes) if axes else values,
        ]
    )


def _range(values: Any, finite: Any) -> tuple[Any, Any]:
    low = ops.min(ops.where(finite, values, float("inf")))
    high = ops.max(ops.where(finite, values, float("-inf")))
    return low, high
