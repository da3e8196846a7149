"""An error in one line: what a run and a warning say of it."""

from __future__ import annotations

_LONGEST = 300


def brief(error: BaseException) -> str:
    """The kind of an error and the first line of what it says; TensorFlow's go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 3] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
