"""White or dark: what is drawn on, and what text and grids are drawn in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours, red, green and blue in 0..1.

    Args:
        paper: the background.
        ink: text and thin lines.
        grid: the lines of an axes grid.
    """

    paper: tuple[float, float, float]
    ink: tuple[float, float, float]
    grid: tuple[float, float, float]


WHITE = Theme(paper=(1.0, 1.0, 1.0), ink=(0.1, 0.1, 0.1), grid=(0.75, 0.75, 0.75))
DARK = Theme(paper=(0.1, 0.11, 0.13), ink=(0.92, 0.92, 0.92), grid=(0.35, 0.36, 0.38))
THEMES = {"white": WHITE, "dark": DARK}
