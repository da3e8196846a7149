"""What a file holds apart from its texts: statements of a script, elements of XML, the shape of a table."""

from __future__ import annotations

import ast
import csv
import io
import json
import tokenize
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
from PIL import Image


class OddFileError(ValueError):
    """Raised when a file is of no known kind, or holds what no file of ours may."""


# Texts as geometry: as many points as their letters have.
_LETTERS = "names.vtp"


def skeletons(folder: Path) -> Counter[tuple[Any, ...]]:
    """How often each skeleton is in a folder.

    Raises:
        OddFileError: there is a kind of file that nothing is known of here, or a text file that holds what
            cannot be printed.
    """
    found: Counter[tuple[Any, ...]] = Counter()
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        if not path.is_file() or path.is_symlink() or path.suffix not in KINDS:
            raise OddFileError(f"{path} is of no known kind: say in skeleton.py what it holds")
        parts = len(path.relative_to(folder).parts)
        found[path.suffix, parts, KINDS[path.suffix](path)] += 1
    return found


def text_of(path: Path) -> str:
    """The text of a file, in which nothing but line ends is not printable."""
    text = path.read_bytes().decode("utf-8")
    odd = {c for c in text if not c.isprintable() and c != "\n"}
    if odd:
        raise OddFileError(f"{path} holds {odd}")
    return text


def script(path: Path) -> str:
    """The tree without strings and numbers, names by the order in which they come, and comments counted."""
    source = text_of(path)
    tree = ast.parse(source)
    names: dict[str, str] = {}
    of_names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored = {node.id for node in of_names if isinstance(node.ctx, ast.Store)}

    class Bare(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.AST:  # noqa: N802
            return ast.Constant(type(node.value).__name__)

        def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:  # noqa: N802
            # The sign of a number is no statement.
            return self.visit(node.operand)

        def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
            bare = names.setdefault(node.id, f"v{len(names)}") if node.id in stored else node.id
            return ast.Name(bare, node.ctx)

    comments = [
        token.string[:6]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    return f"{len(comments)} comments\n{ast.dump(Bare().visit(tree))}"


def xml(path: Path) -> Any:
    """Elements and the names of their attributes; of data also the numbers."""
    text_of(path)
    root = ElementTree.parse(path).getroot()
    is_letters = path.name.endswith(_LETTERS)

    def bare(element: ElementTree.Element) -> Any:
        numbers = "" if is_letters or _is_name(element) else (element.text or "").strip()
        return (element.tag, *sorted(element.attrib), numbers, *map(bare, element))

    return bare(root)


def _is_name(element: ElementTree.Element) -> bool:
    return element.get("Format") == "HDF"  # of a file and a dataset in it


def table(path: Path) -> Any:
    """Rows and columns, and the numbers in them."""
    rows = list(csv.reader(io.StringIO(text_of(path)), strict=True))
    if len({len(row) for row in rows}) != 1:
        raise OddFileError(f"{path} has rows of different lengths")
    formulas = [cell for row in rows for cell in row if cell[:1] in tuple("=+@\t\r") or _is_formula(cell)]
    if formulas:
        raise OddFileError(f"{path} holds formulas: {formulas}")
    return len(rows), len(rows[0]), tuple(cell for row in rows[1:] for cell in row if _is_number(cell))


def _is_formula(cell: str) -> bool:
    return cell.startswith("-") and not _is_number(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def tree(path: Path) -> Any:
    """JSON: its keys, and what kind of thing each value is; numbers as they are, but how wide letters are."""

    def bare(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            # Tables and hashes go by name.
            by_name = (
                key in ("tables", "untrusted", "failed", "arrays", "files", "") and "format" not in value
            )
            known = () if by_name else (*value,)
            return ("dict", known, *(bare(one, k) for k, one in value.items()))
        if isinstance(value, list):
            return ("list", *(bare(one, key) for one in value))
        # How large a file is, and when it was made, is no number of the run.
        of_names = key in ("label_width", "bytes", "changed")
        return value if isinstance(value, int | float) and not of_names else type(value).__name__

    return bare(json.loads(text_of(path)))


def hdf5(path: Path) -> Any:
    """Groups and datasets, and what they hold: through virtual datasets the run's own numbers."""
    found: list[Any] = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, thing: found.append(
                (name.count("/"), thing[...].tobytes() if isinstance(thing, h5py.Dataset) else "group")
            )
        )
    return tuple(sorted(map(repr, found)))


def picture(path: Path) -> Any:
    """Its size."""
    with Image.open(path) as image:
        return image.size


KINDS: dict[str, Callable[[Path], Any]] = {
    ".py": script,
    ".pvsm": xml,
    ".vti": xml,
    ".vtp": xml,
    ".pvd": xml,
    ".xmf": xml,
    ".vtkhdf": hdf5,
    ".csv": table,
    ".json": tree,
    ".png": picture,
    ".npy": lambda path: np.load(path, allow_pickle=False).tobytes(),
}
