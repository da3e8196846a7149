"""Text as it may be drawn and told: nothing in it moves a cursor, hides, or turns what follows around."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: str, *, ascii_only: bool = False) -> str:
    r"""`text` with what cannot be printed written as Python writes it: an escape as `\x1b`.

    That is every control and format character (line ends, bidi overrides, zero widths), lone surrogates, and
    every space but the plain one.

    Args:
        text: anything.
        ascii_only: also what is not ASCII, for letters that know no other.
    """
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(c if c.isprintable() and (c.isascii() or not ascii_only) else ascii(c)[1:-1] for c in text)


def distinct(texts: Iterable[str]) -> dict[str, str]:
    """The printable form of each text, by the text; two that differ stay different."""
    every = dict.fromkeys(texts)
    taken = {text for text in every if text.isprintable()}
    found = {text: text for text in taken}
    for text in every:
        if text not in found:
            form = printable(text)
            while form in taken:
                form += "~"
            taken.add(form)
            found[text] = form
    return found


def shortened(text: str, most: int) -> str:
    """`text` with its middle left out where it is longer than `most`: both ends tell names apart."""
    if len(text) <= most:
        return text
    end = (most - 3) // 2
    return f"{text[: most - 3 - end]}...{text[len(text) - end :]}"
