"""Colour maps: control points of the few that we use; all perceptual and colour-blind safe."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .scene import Value

# Viridis, by Smith and van der Walt (2015), https://bids.github.io/colormap/ (every 16th of its colours).
_VIRIDIS = (
    "440154", "481a6c", "472f7d", "414487", "39568c", "31688e", "2a788e", "23888e",
    "1f988b", "22a884", "35b779", "54c568", "7ad151", "a5db36", "d2e21b", "fde725",
)  # fmt: skip
# Cividis, by Nunez, Anderton and Renslow (2018), https://doi.org/10.1371/journal.pone.0199239
_CIVIDIS = (
    "00224e", "002e6c", "1e3a6f", "35456c", "47516c", "575d6d", "666970", "757575",
    "848279", "948e77", "a59c74", "b7a96e", "c8b866", "dbc75a", "eed649", "fee838",
)  # fmt: skip
# Purple and orange, by Brewer, https://colorbrewer2.org
_PURPLE_ORANGE = ("542788", "8073ac", "b2abd2", "d8daeb", "f7f7f7", "fee0b6", "fdb863", "e08214", "b35806")
# Cool to warm, by Moreland (2009), https://www.kennethmoreland.com/color-maps/
_COOL_TO_WARM = ("3b4cc0", "dddddd", "b40426")
# Muted, by Tol (2021), https://sronpersonalpages.nl/~pault/
_MUTED = (
    "332288", "88ccee", "44aa99", "117733", "999933", "ddcc77", "cc6677", "882255", "aa4499",
)  # fmt: skip
NAN_COLOUR = [0.6, 0.6, 0.6]

_RGB, _DIVERGING = 0, 3


def rgb(colour: str) -> list[float]:
    """`"ff8000"` as red, green and blue in 0..1."""
    return [round(int(colour[i : i + 2], 16) / 255, 4) for i in (0, 2, 4)]


def magnitude(low: float, high: float) -> dict[str, Value]:
    """Viridis from `low` to `high`."""
    low, high = _apart(low, high)
    return _continuous(low, high, _VIRIDIS, _RGB)


def at(name: str, shares: Sequence[float]) -> list[list[float]]:
    """The colours of `"viridis"` or `"cool_to_warm"` at shares of their length, 0 to 1."""
    points = [rgb(colour) for colour in (_VIRIDIS if name == "viridis" else _COOL_TO_WARM)]
    found = []
    for share in shares:
        place = min(max(share, 0.0), 1.0) * (len(points) - 1)
        low = min(int(place), len(points) - 2)
        pairs = zip(points[low], points[low + 1], strict=True)
        found.append([a + (b - a) * (place - low) for a, b in pairs])
    return found


def grey(low: float, high: float) -> dict[str, Value]:
    """Black at `low`, white at `high`: for images as they are."""
    low, high = _apart(low, high)
    return _continuous(low, high, ("000000", "ffffff"), _RGB)


def signed(low: float, high: float) -> dict[str, Value]:
    """Cool to warm, white at zero, wide enough for both `low` and `high`."""
    reach = max(abs(low), abs(high)) or 1.0
    return _continuous(-reach, reach, _COOL_TO_WARM, _DIVERGING)


def chosen(name: str, low: float, high: float, *, is_signed: bool) -> dict[str, Value]:
    """The map that a person chose; for `"default"` that of magnitudes, or of signed values.

    Args:
        name: as in `Settings.colours`.
        low: the least value.
        high: the largest.
        is_signed: whether zero is the middle of what is shown.
    """
    if name == "default":
        return signed(low, high) if is_signed else magnitude(low, high)
    reach = max(abs(low), abs(high)) or 1.0
    if name == "cool_to_warm":
        return _continuous(-reach, reach, _COOL_TO_WARM, _DIVERGING)
    if name == "purple_orange":
        return _continuous(-reach, reach, _PURPLE_ORANGE, _RGB)
    return _continuous(*_apart(low, high), _VIRIDIS if name == "viridis" else _CIVIDIS, _RGB)


def categories(names: list[str]) -> dict[str, Value]:
    """A colour for each of the values 0, 1, 2, ... with its name in the legend."""
    return {
        "IndexedLookup": 1,
        "Annotations": [text for i, name in enumerate(names) for text in (str(i), name)],
        "IndexedColors": [part for i in range(len(names)) for part in category(i)],
        "NanColor": NAN_COLOUR,
    }


def category(number: int) -> list[float]:
    """The colour of category `number`; after nine they come again."""
    return rgb(_MUTED[number % len(_MUTED)])


def along(share: float) -> list[float]:
    """The colour of Viridis at `share` of its length."""
    at = min(max(share, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    left = min(math.floor(at), len(_VIRIDIS) - 2)
    pair = zip(rgb(_VIRIDIS[left]), rgb(_VIRIDIS[left + 1]), strict=True)
    return [round(a + (b - a) * (at - left), 4) for a, b in pair]


def _continuous(low: float, high: float, colours: tuple[str, ...], space: int) -> dict[str, Value]:
    points: list[float] = []
    for i, colour in enumerate(colours):
        points += [low + (high - low) * i / (len(colours) - 1), *rgb(colour)]
    return {
        "RGBPoints": points,
        "ColorSpace": space,
        "NanColor": NAN_COLOUR,
        "ScalarRangeInitialized": 1,
        "AutomaticRescaleRangeMode": -1,  # never: the range is that of all times
    }


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, low + 0.5)
