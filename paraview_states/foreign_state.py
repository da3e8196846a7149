"""The one way by which a state reaches ParaView: only what is known in it, and only files of its own export.

ParaView runs what a state holds when it loads it, with all the rights of the user. So nothing in it is
trusted for lack of a bad name: every element, every proxy and every file is one that we know, or the state
is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from tensorview_insitu.index import NoExportError
from tensorview_insitu.loading.plain_file import ForeignFileError, inside, read_bytes, said, within
from tensorview_insitu.loading.xml_tree import parse_xml, read_xml
from tensorview_insitu.text.xml import fragment

from .allowed import ALLOWED, READERS, SETTINGS

# ParaView's own of our largest view has 1.2 MB; an edited one with all the filters and views has four.
_MOST_BYTES = 64 << 20
_MOST_TOLD = 5

_ROOTS = ("ParaView", "GenericParaViewApplication")
_LINKS = ("PropertyLink", "ProxyLink", "SelectionLink", "CameraLink", "ViewLink")

# What may stand in an element, and its attributes: all that ParaView 5.11 writes, and nothing that it can
# read besides. A CustomProxyDefinitions that is not empty defines proxies, under names of its own choosing.
_PROPERTY = {"name", "id", "number_of_elements"}
_GRAMMAR: dict[str, dict[str, set[str]]] = {
    "": {"ServerManagerState": {"version"}, "InteractiveViewLinks": set()},
    "ServerManagerState": {
        "Proxy": {"group", "type", "id", "servers"},
        "ProxyCollection": {"name"},
        "CustomProxyDefinitions": set(),
        "Links": set(),
        "Settings": set(),
    },
    "ServerManagerState/Proxy": {
        "Property": _PROPERTY,
        "Layout": {"number_of_elements"},
        "Annotation": {"key", "value"},
    },
    "ServerManagerState/Proxy/Property": {
        "Element": {"index", "value"},
        "Proxy": {"value", "output_port"},
        "Domain": {"name", "id"},
    },
    "ServerManagerState/Proxy/Property/Domain": {
        "Entry": {"text", "value"},
        "String": {"text"},
        "Proxy": {"value"},
        "Min": {"index", "value"},
        "Max": {"index", "value"},
        "Resolution": {"index", "value"},
    },
    "ServerManagerState/Proxy/Layout": {"Item": {"direction", "fraction", "view"}},
    "ServerManagerState/ProxyCollection": {"Item": {"id", "name", "logname"}},
    "ServerManagerState/Links": {link: {"name"} for link in _LINKS},
    **{
        f"ServerManagerState/Links/{link}": {
            "Proxy": {"direction", "id"},
            "Property": {"direction", "id", "property"},
        }
        for link in _LINKS
    },
    "ServerManagerState/Settings": {"SettingsProxy": {"group", "type"}},
    "ServerManagerState/Settings/SettingsProxy": {"Links": set()},
    "ServerManagerState/Settings/SettingsProxy/Links": {
        "Property": {"source_property", "target_id", "target_property", "unlink_if_modified"}
    },
}

_FILES = ("FileName", "FileNames", "FileNameInfo")
# Of the proxies that are allowed these are empty unless somebody filled them: fonts and shaders from
# elsewhere.
_LEFT_EMPTY = re.compile(
    r"File|Director|Url|Uri|Host|Command|Script|Program|Plugin|Librar|^ShaderReplacements$"
)
# Most formats go to printf, where %n writes and %s reads anywhere; that of a time has fields in braces.
_NUMBER_FORMAT = re.compile(r"%%|%[-+ #0]*\d{0,3}(\.\d{0,3})?[eEfFgGdi]")
_TIME_FORMAT = re.compile(r"\{\{|\}\}|\{\w{0,40}(:[^{}]?[<>^=+\-# 0]*\d{0,3}(\.\d{0,3})?[eEfFgG]?)?\}")
# ParaView's calculator has loops, and variables to write to.
_STATEMENT = re.compile(r"[;{}\[\]]|:=|\b(while|for|repeat|until|switch|var|return|break|continue|call)\b")
# What ParaView puts into every representation as an example, used or not.
_EXAMPLE_SHADER = "Please take a look into vtkSMPointGaussianRepresentation.cxx"
_SHADER_CODE = re.compile(r"^\s*(//.*)?$")
_EXAMPLE_LINES = (
    "float dist2 = dot(offsetVCVSOutput.xy,offsetVCVSOutput.xy);",
    "float gaussian = exp(-0.5*dist2);",
    "opacity = opacity*gaussian;",
)


class ForeignStateError(ForeignFileError):
    """Raised when a state holds more than a state of ours does, or names files that are not of its export."""


@dataclass(frozen=True)
class CheckedState:
    """A state that ParaView may load.

    Args:
        text: what was checked, with its files where they are now; nothing else may be loaded in its place.
        moved: whether that differs from the file.
    """

    text: str
    moved: bool


def checked_state(state: Path, folder: Path, *, allow_code: bool = False) -> CheckedState:
    """Read a state once, refuse what is foreign in it, and find its files in `folder`.

    A file is found by the end of its path, as ParaView's "Search files under specified directory" does: the
    folder may
    have moved.

    Args:
        state: a .pvsm file in `folder`.
        folder: the folder of index.json.
        allow_code: take any proxy, and any file that is not found in `folder` where the state says it is.

    Raises:
        ForeignStateError: it holds what is not allowed; its text names it.
        ForeignFileError: it is no plain XML file of a bounded size, or a link leads out of the folder.
        NoExportError: a file of the export that it draws is gone, or empty.
        NotXmlError: the path of the folder cannot stand in a state.
        OSError: it cannot be read.
    """
    folder = folder.resolve()
    root = parse_xml(read_bytes(within(folder, state), _MOST_BYTES), state)
    if not allow_code:
        _refuse(state, list(dict.fromkeys(_foreign(root))))
    moved, missing = _relocate(root, folder)
    _refuse_lacking(folder, [Path(name) for name in missing if Path(name).is_relative_to(folder)])
    if not allow_code:
        _refuse(state, [f"the file {said(name)!r}, which is not in {folder}" for name in missing])
        for collection in _files(root):
            if collection.suffix == ".pvd":
                _check_collection(collection, folder)
    _refuse_lacking(folder, _lacking(root, folder))
    return CheckedState(fragment(root, indent=None), moved)


def _refuse(state: Path, found: list[str]) -> None:
    if not found:
        return
    told = ", ".join(found[:_MOST_TOLD])
    told += f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    raise ForeignStateError(
        f"{state} holds what could run code or read other files: {told}. Expected a state of ours, or one "
        "edited with ParaView's usual filters and views. If you trust who made it, pass --allow-code."
    )


# ---- what is in it


def _foreign(root: Element) -> Iterator[str]:
    if root.tag not in _ROOTS:
        yield f"<{said(root.tag)}> for a state"
        return
    yield from _foreign_children(root, "")


def _foreign_children(element: Element, path: str) -> Iterator[str]:
    known = _GRAMMAR.get(path, {})
    for child in element:
        if child.tag not in known:
            yield f"<{said(child.tag)}> in <{said(element.tag)}>"
            continue
        unknown = set(child.attrib) - known[child.tag]
        if unknown:
            yield f"{', '.join(map(said, sorted(unknown)))} of <{child.tag}>"
        here = f"{path}/{child.tag}" if path else child.tag
        if here == "ServerManagerState/Proxy":
            yield from _foreign_proxy(child)
        if child.tag == "SettingsProxy" and child.get("type") not in SETTINGS:
            yield f"the settings {said(child.get('type'))}"
        yield from _foreign_children(child, here)


def _foreign_proxy(proxy: Element) -> Iterator[str]:
    group, kind = proxy.get("group", ""), proxy.get("type", "")
    if (group, kind) not in ALLOWED:
        yield said(kind) if group in ("sources", "filters", "views") else f"{said(group)}/{said(kind)}"
        return
    for found in proxy.iterfind("Property"):
        name = found.get("name", "")
        values = [element.get("value", "") for element in found.iterfind("Element")]
        if name in _FILES and kind in READERS:
            bad = [value for value in values if not value.endswith(READERS[kind])]
            if bad:
                yield f"the file {said(bad[0])!r} for {kind}"
        elif not _harmless(name, values):
            yield f"{said(name)} of {kind}"


def _harmless(name: str, values: list[str]) -> bool:
    """Whether the values of a property that is no file of a reader are only data."""
    if _LEFT_EMPTY.search(name):
        return not any(values)
    if name == "CustomShader":
        return all(map(_is_example, values))
    if name == "Format":
        return not any(set("{}") & set(_TIME_FORMAT.sub("", value)) for value in values)
    if name.endswith("Format"):
        return not any("%" in _NUMBER_FORMAT.sub("", value) for value in values)
    if name == "Function":
        return not any(_STATEMENT.search(value) for value in values)
    return True


def _is_example(shader: str) -> bool:
    code = [line.strip() for line in shader.split("\n") if not _SHADER_CODE.match(line)]
    return not code or (_EXAMPLE_SHADER in shader and code == list(_EXAMPLE_LINES))


# ---- its files


def _relocate(root: Element, folder: Path) -> tuple[bool, list[str]]:
    """Say of every file where in `folder` it is; whether any was elsewhere, and those that are not there."""
    moved, missing = False, []
    for value in _file_values(root):
        name = value.get("value", "")
        here = _found(name, folder)
        if here is None:
            missing.append(name)
        elif str(here) != name:
            value.set("value", str(here))
            moved = True
    return moved, list(dict.fromkeys(missing))


def _file_values(root: Element) -> Iterator[Element]:
    for found in root.iter("Property"):
        if found.get("name") in _FILES:
            yield from found.iterfind("Element")


def _files(root: Element) -> list[Path]:
    return [Path(name) for name in dict.fromkeys(value.get("value", "") for value in _file_values(root))]


def _found(name: str, folder: Path) -> Path | None:
    parts = [part for part in re.split(r"[\\/]+", name) if part]
    if ".." in parts or "\0" in name:
        return None
    # What lies in the folder already is that very file, and not another one of the same name.
    candidates = [Path(name)] if Path(name).is_relative_to(folder) else []
    candidates += [folder.joinpath(*parts[start:]) for start in range(len(parts))]
    return next((within(folder, file) for file in candidates if file.is_file()), None)


def _lacking(root: Element, folder: Path) -> list[Path]:
    """The files of the export that are gone or empty: ParaView would draw nothing, and not say so."""
    lacking = []
    for file in [file for file in _files(root) if file.is_relative_to(folder) and file.is_file()]:
        if not file.stat().st_size:
            lacking.append(file)
        elif file.suffix == ".pvd":
            names = [entry.get("file", "") for entry in read_xml(file, _MOST_BYTES).iter("DataSet")]
            members = [inside(file.parent, name, file) for name in dict.fromkeys(names)]
            lacking += [one for one in members if not one.is_file() or not one.stat().st_size]
    return lacking


def _refuse_lacking(folder: Path, lacking: Sequence[Path]) -> None:
    if lacking:
        first = said(lacking[0].relative_to(folder).as_posix())
        more = f" and {len(lacking) - 1} more files" if len(lacking) > 1 else ""
        raise NoExportError(
            f"{folder} lacks {first}{more}, or holds it empty: nothing could be drawn of it. "
            "Export the run again."
        )


def _check_collection(collection: Path, folder: Path) -> None:
    """Raise unless all that a .pvd names lies in the folder, in files that name no others."""
    for entry in read_xml(collection, _MOST_BYTES).iter("DataSet"):
        name = entry.get("file", "")
        file = inside(collection.parent, name, collection)
        if not name.endswith((".vtp", ".vti")) or (file.exists() and not file.is_file()):
            raise ForeignFileError(
                f"{collection} names the file {said(name)!r}. Expected plain .vtp and .vti files."
            )
        within(folder, file)
