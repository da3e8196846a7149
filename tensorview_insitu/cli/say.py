"""Tell a person something: the only way in which a command prints, so that no name moves their cursor."""

from __future__ import annotations

import sys
from typing import TextIO

from tensorview_insitu.text.printable import printable


def say(line: object = "", file: TextIO | None = None) -> None:
    """Print one line at once; what it holds that cannot be printed, a line end too, as an escape."""
    stream = file or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A terminal that knows no such letter must not end the command.
    print(printable(str(line)).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def say_lines(text: str) -> None:
    """Print a text of ours that has several lines."""
    for line in text.split("\n"):
        say(line)
