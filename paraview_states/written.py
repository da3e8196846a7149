"""Text in a scene: printable always, and what is drawn as ParaView will draw it, sign by sign."""

from __future__ import annotations

import unicodedata

from tensorview_insitu.text.printable import shortened

_LONGEST = 140  # signs of a line: more do not fit the window
_LONGEST_IN_LEGEND = 60
_IN_LEGEND = ("SeriesLabel", "Annotations", "Title", "XTitle", "YTitle", "ZTitle")
_DRAWN = (*_IN_LEGEND, "Text", "Format", "ChartTitle", "LeftAxisTitle", "BottomAxisTitle")
# What VTK's own font has beyond Latin-1; of anything else it draws nothing.
_LETTERS = (
    "ĀāĂăĄąĆćČčĎďĐđĒēĖėĘęĚěĞğĢģĪīĮįİıĶķĹĺĻļĽľŁłŃńŅņŇňŌōŐőŒœŔŕŖŗŘřŚśŞşŠšŢţŤťŪūŮůŰűŲųŸŹźŻżŽžƒȘșȚțˆˇˉ˘˙˚˛˜˝"
    "Δμ–—‘’“•…€™−≠≤"
)
# ParaView puts values, also of the environment, in place of what stands in braces here.
_FORMATTED = ("ChartTitle",)


def as_drawn(name: str, text: str) -> str:
    """The value of property `name` that has ParaView draw `text` as it is.

    VTK takes `$...$` and what stands between bars for mathematics: a dollar is escaped, and of a bar, for
    which there is no escape, a broken one is drawn. A letter that VTK cannot draw is written as an escape.

    Raises:
        ValueError: there is something in it that cannot be printed, apart from line ends.
    """
    if name not in _DRAWN:
        return checked(text)
    lines = [_in_letters(checked(line)) for line in text.split("\n")]
    if name != "Format":  # its end tells the time
        most = _LONGEST_IN_LEGEND if name in _IN_LEGEND else _LONGEST
        lines = [shortened(line, most) for line in lines]
    drawn = "\n".join(lines).replace("$", "\\$").replace("|", "\u00a6")
    return in_braces(drawn) if name in _FORMATTED else drawn


def _in_letters(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    return "".join(c if c <= "\u00ff" or c in _LETTERS else ascii(c)[1:-1] for c in text)


def in_braces(text: str) -> str:
    """`text` as a part of one of ParaView's formats, in which braces are signs."""
    return text.replace("{", "{{").replace("}", "}}")


def checked(text: str) -> str:
    """`text`.

    Raises:
        ValueError: there is something in it that cannot be printed.
    """
    if not text.isprintable():
        raise ValueError(f"Expected printable text in a scene. Received: {text!r}.")
    return text
