"""Write a ParaView collection (.pvd): files over time, with their real times.

Format: https://www.paraview.org/Wiki/ParaView/Data_formats#PVD_File_Format
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from tensorview_insitu.run.publish import publish
from tensorview_insitu.text.xml import document


def write_collection(path: Path, files: Iterable[tuple[float, str]]) -> None:
    """Write which file holds which time; after the files themselves.

    Args:
        path: the .pvd file.
        files: `(time, name)`, the name relative to the folder of `path`.
    """
    root = Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
    collection = SubElement(root, "Collection")
    for time, name in files:
        SubElement(collection, "DataSet", timestep=repr(float(time)), part="0", file=name)
    publish(path, document(root))
