"""A state whose paths are right for where its folder is now, though the folder was moved."""

from __future__ import annotations

from pathlib import Path, PurePath
from xml.etree import ElementTree

from tensorview_insitu.text.xml import fragment

_FILE_PROPERTIES = ("FileName", "FileNames")


def relocated(state: Path, folder: Path) -> str | None:
    """The text of `state` with every data file looked up in `folder`; None when it is right as it is.

    A file is found by the end of its path, as ParaView's "Search files under specified directory" does.

    Args:
        state: a .pvsm file.
        folder: the folder of index.json.
    """
    folder = folder.resolve()
    tree = ElementTree.parse(state)
    changed = False
    for element in tree.iterfind(".//Property"):
        if element.get("name") not in _FILE_PROPERTIES:
            continue
        for value in element.iterfind("Element"):
            path = PurePath(value.get("value", ""))
            here = _found(path, folder)
            if here is not None and str(here) != str(path):
                value.set("value", str(here))
                changed = True
    return fragment(tree.getroot(), indent=None) if changed else None


def _found(path: PurePath, folder: Path) -> Path | None:
    for start in range(len(path.parts)):
        candidate = folder.joinpath(*path.parts[start:])
        # Joining an absolute path gives that path itself: it counts when it lies in the folder.
        if candidate.is_relative_to(folder) and candidate.is_file():
            return candidate
    return None
