"""An error, or any text, in one line: Keras and TensorFlow tell theirs in twenty."""

from __future__ import annotations

import re

_LONGEST = 300
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_BOLD = re.compile(r"\x1b\[1m(.*?)\x1b\[0m", re.DOTALL)
_WRAPPERS = ("Exception encountered when calling", "in user code:", "Graph execution error")


def one_line(text: str) -> str:
    """The text without line breaks, escapes and what goes beyond some 300 characters.

    Of what Keras and TensorFlow wrap around an error, only the error itself is left.
    """
    if any(wrapper in text for wrapper in _WRAPPERS):
        text = _unwrapped(text)
    text = " ".join("".join(c if c.isprintable() else " " for c in _ESCAPE.sub("", text)).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "\u2026"


def told(error: BaseException) -> str:
    """An error's kind and what it says."""
    kind = type(error).__name__
    said = one_line(str(error)).removeprefix(f"{kind}: ")
    return f"{kind}: {said}" if said else kind


def _unwrapped(text: str) -> str:
    before = text[: min(text.find(wrapper) for wrapper in _WRAPPERS if wrapper in text)]
    bold = _BOLD.findall(text)
    if bold:  # Keras prints the error itself in bold
        return before + str(bold[-1])
    text = text[len(before) :]
    if text.startswith("in user code:"):  # the calls, an empty line, and then the error
        return before + text[text.rfind('File "') :].partition("\n\n")[2]
    lines = [line for line in text.splitlines() if line.strip() and "[[{{node" not in line]
    return before + lines[-1]
