"""Names as HDF5 paths and tables can hold them: what they cannot hold is written as in a URL."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

# A cell that begins like this is a formula to a spreadsheet (OWASP, CSV injection); full width too.
_FORMULA = "=+-@＝＋－＠"
# A quote or a semicolon ends the cell in some reader; ParaView's drops a backslash, and finds no such column.
_ENDS_A_CELL = '";\\'
_LOOKS_ESCAPED = re.compile("%(?=[0-9A-Fa-f]{2})")
# What pandas reads as something else than this text: a missing value, a truth, a number.
_MISSING = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
_TRUTHS = {"true", "false"}


def percent(text: str) -> str:
    """Every character as the bytes of its UTF-8: a line end as `%0A`."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def unpercent(text: str) -> str:
    """The text that was escaped."""
    data = unquote_to_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # not by us
        return data.decode("utf-8", "replace")


def escape_unprintable(text: str) -> str:
    """With what cannot be printed escaped, and spaces at either end, which some readers cut off."""
    return _escape_ends(_escape(text, lambda c: not c.isprintable()))


def as_column(name: str) -> str:
    """The header of a column: one line, no formula, no quotes; `unpercent` (and `unquote`) gives it back.

    A percent sign is escaped only where it stands before two hexadecimal digits; an empty name is `%`.
    """
    if name in ("", "%"):
        return "%" if not name else "%25"
    text = _escape_ends(
        _escape(_LOOKS_ESCAPED.sub("%25", name), lambda c: not c.isprintable() or c in _ENDS_A_CELL)
    )
    return percent(text[0]) + text[1:] if text[0] in _FORMULA else text


def from_column(column: str) -> str:
    """The name that `as_column` or `as_cell` was given."""
    return "" if column == "%" else unpercent(column)


def as_cell(text: str) -> str:
    """A text in a table: as a header, and never read as a number, a truth or a missing value."""
    cell = as_column(text)
    if cell in _MISSING or cell.lower() in _TRUTHS or _is_number(cell):
        cell = percent(cell[0]) + cell[1:]
    return cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _escape(text: str, is_escaped: Callable[[str], bool]) -> str:
    return "".join(percent(c) if is_escaped(c) else c for c in text)


def _escape_ends(text: str) -> str:
    if text[:1] == " ":
        text = percent(" ") + text[1:]
    return text[:-1] + percent(" ") if text[-1:] == " " else text
