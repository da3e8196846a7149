"""What a person may set of a view before it is written: layer, cells, filters, time, colours, background."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .theme import THEMES, Theme

TIMES = ("epoch", "step")
RANGES = ("layer", "all")
COLOURS = ("default", "viridis", "cividis", "cool_to_warm", "purple_orange")


@dataclass(frozen=True)
class Settings:
    """Settings of a view; a view passes over those that say nothing to it.

    Args:
        layer: its layer; None takes the first that has what the view shows.
        cells: two cells of the kernel's grid, as `((0, 2), (1, 1))`; None takes the upper right and the
            centre.
        filters: the first and the last filter shown; None shows all.
        weights: three weights of the layer by their number in its kernel, flattened; None takes the three
            that move most.
        between: two epochs: kernels are shown as the later less the earlier.
        colour_by: the array that colours a path or the network; None takes the view's own.
        method: the explanation that is shown, by its name; None takes the first.
        sample: the number of the sample that is explained.
        time: `"epoch"` or `"step"`: what the animation's time counts.
        colours: the colour map: `"default"`, `"viridis"`, `"cividis"`, `"cool_to_warm"`, `"purple_orange"`.
        colour_range: `"layer"`, or `"all"` for one range for all layers.
        background: `"white"` or `"dark"`.

    Raises:
        ValueError: one of them is none of its values.
    """

    layer: str | None = None
    cells: tuple[tuple[int, ...], ...] | None = None
    filters: tuple[int, int] | None = None
    weights: tuple[int, ...] | None = None
    between: tuple[float, float] | None = None
    colour_by: str | None = None
    method: str | None = None
    sample: int = 0
    time: str = "epoch"
    colours: str = "default"
    colour_range: str = "layer"
    background: str = "white"

    def __post_init__(self) -> None:
        _one_of("time", self.time, TIMES)
        _one_of("colours", self.colours, COLOURS)
        _one_of("colour_range", self.colour_range, RANGES)
        _one_of("background", self.background, tuple(THEMES))
        if self.filters is not None and not 0 <= self.filters[0] <= self.filters[1]:
            raise ValueError(f"Expected filters as (first, last). Received: filters={self.filters}.")
        if self.cells is not None and len(self.cells) != 2:
            raise ValueError(f"Expected two cells. Received: cells={self.cells}.")
        if self.weights is not None and len(self.weights) != 3:
            raise ValueError(f"Expected three weights. Received: weights={self.weights}.")

    @property
    def theme(self) -> Theme:
        """The colours of the background and of what is written on it."""
        return THEMES[self.background]

    @property
    def by_step(self) -> bool:
        """Whether the animation's time counts steps."""
        return self.time == "step"

    def changed(self) -> dict[str, object]:
        """What differs from the default, by name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value != getattr(Settings, name)}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"Expected {name} to be one of {', '.join(known)}. Received: {name}={value!r}.")
