"""Read XML of a bounded size and depth, and with nothing in it but elements and attributes."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tensorview_insitu.loading.plain_file import ForeignFileError, read_bytes

# ParaView's own states have six levels.
_DEEPEST = 32
_ENCODINGS = (None, "utf-8", "us-ascii", "ascii")


def read_xml(path: Path, most: int) -> Element:
    """The root of an XML file.

    Args:
        path: the file.
        most: the number of bytes that it may have.

    Raises:
        ForeignFileError: it is no XML, too large or too deep, or declares a document type or entities.
        OSError: it is missing or cannot be read.
    """
    return parse_xml(read_bytes(path, most), path)


def parse_xml(data: bytes, path: Path) -> Element:
    """The root of `data`; `path` is for the message.

    Raises:
        ForeignFileError: it is no XML, too deep, or declares a document type, entities or an encoding that
            another parser may read otherwise.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ForeignFileError(f"{path} is nested more than {_DEEPEST} levels deep.")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse_type(*_: object) -> None:
        raise ForeignFileError(f"{path} declares a document type. ParaView writes none.")

    def check_encoding(_: str, encoding: str | None, __: int) -> None:
        if (encoding and encoding.lower()) not in _ENCODINGS:
            raise ForeignFileError(f"{path} is encoded as {encoding}. Expected UTF-8.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse_type
    parser.EntityDeclHandler = refuse_type
    parser.XmlDeclHandler = check_encoding
    if data.startswith((b"\xfe\xff", b"\xff\xfe")):
        raise ForeignFileError(f"{path} is encoded as UTF-16. Expected UTF-8.")
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ForeignFileError(f"{path} is no XML: {error}.") from None
    root: Element = builder.close()
    return root
