"""Find code in a state: ParaView runs it when it loads the state, with all the rights of the user."""

from __future__ import annotations

import re
from pathlib import Path
from xml.parsers import expat

# Programmable sources, filters and annotations; Python calculators, annotations, views and cues.
_CODE = re.compile(r"Programmable|Python|Script", re.IGNORECASE)


class ForeignCodeError(ValueError):
    """Raised when a state holds code, which no state of ours does."""


def refuse_code(state: Path) -> None:
    """Raise when a state would run code.

    Raises:
        ForeignCodeError: with the proxies that hold it; or the file is no plain XML.
    """
    found = code_in(state.read_bytes(), state)
    if found:
        raise ForeignCodeError(
            f"{state} runs code when it is opened ({', '.join(found)}). Expected a state of ours, which "
            "holds none, or of someone you trust: then pass --allow-code."
        )


def code_in(text: bytes, state: Path) -> list[str]:
    """The kinds of proxies in a state that hold code, and of properties that are a script.

    Args:
        text: the state.
        state: its file, for messages.

    Raises:
        ForeignCodeError: it is no XML, or declares entities.
    """
    found: dict[str, None] = {}
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "Proxy" and _CODE.search(attributes.get("type", "")):
            found[attributes["type"]] = None
        if name == "Property" and _CODE.search(attributes.get("name", "")):
            found[attributes["name"]] = None

    def refuse(*_: object) -> None:
        raise ForeignCodeError(f"{state} declares a document type. ParaView writes none.")

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ForeignCodeError(f"{state} is no ParaView state: {error}") from error
    return list(found)
