"""XML as every reader takes it: the only way in which this package makes any.

https://www.w3.org/TR/xml/#charsets: some characters cannot stand in XML, not even escaped.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NotXmlError(ValueError):
    """Raised when a text cannot stand in XML, as the path of a folder whose name holds an escape."""


def document(root: Element, indent: str = "  ") -> bytes:
    """The document, in UTF-8, with its declaration.

    Raises:
        NotXmlError: a text of it cannot stand in XML.
    """
    return b"<?xml version='1.0' encoding='utf-8'?>\n" + fragment(root, indent).encode()


def fragment(root: Element, indent: str | None = "  ") -> str:
    """The document without a declaration, as ParaView writes its states; None leaves its lines as they are.

    Raises:
        NotXmlError: a text of it cannot stand in XML.
    """
    for element in root.iter():
        for text in (element.tag, element.text, element.tail, *element.attrib, *element.attrib.values()):
            if text and _IMPOSSIBLE.search(text):
                raise NotXmlError(f"XML cannot hold {text!r}. Expected it without control characters.")
    if indent is not None:
        ElementTree.indent(root, indent)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
