"""Python source made of syntax trees: whatever a text holds, it can only become a literal or a comment."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterable, Sequence

from tensorview_insitu.text.printable import printable, shortened

_WIDTH = 110
_LONGEST_NAME = 60

Literal = str | int | float | Sequence["Literal"]


def literal(value: Literal) -> ast.expr:
    """A text, a number, or a list of them."""
    if isinstance(value, str | int | float):
        return ast.Constant(value)
    return ast.List([literal(one) for one in value], ast.Load())


def name(identifier: str, *attributes: str) -> ast.expr:
    """`identifier.attribute.attribute`.

    Raises:
        ValueError: one of them is no identifier.
    """
    for one in (identifier, *attributes):
        if not one.isidentifier() or keyword.iskeyword(one):
            raise ValueError(f"Expected an identifier. Received: {one!r}.")
    found: ast.expr = ast.Name(identifier, ast.Load())
    for attribute in attributes:
        found = ast.Attribute(found, attribute, ast.Load())
    return found


def call(function: ast.expr, *arguments: ast.expr, **named: ast.expr) -> ast.expr:
    """`function(arguments)`."""
    return ast.Call(function, list(arguments), [ast.keyword(key, value) for key, value in named.items()])


class Source:
    """A program that grows statement by statement.

    Args:
        taken: names that no variable of it may have.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._lines: list[str] = []
        self._taken = {*taken, *dir(builtins), *keyword.kwlist, *keyword.softkwlist}

    def variable(self, text: str) -> str:
        """A new identifier that looks like `text`."""
        plain = re.sub(r"\W+", "_", text, flags=re.ASCII).lower()[:_LONGEST_NAME].strip("_") or "it"
        plain = plain if plain[0].isalpha() else f"_{plain}"
        found, number = plain, 2
        while found in self._taken:
            found, number = f"{plain}_{number}", number + 1
        self._taken.add(found)
        return found

    def comment(self, text: str) -> None:
        """A line that says something."""
        self._lines.append(f"# {shortened(printable(text), _WIDTH - 2)}")

    def section(self, text: str) -> None:
        """The head of a part."""
        if self._lines:
            self._lines.append("")
        self.comment(f"---- {text}")

    def do(self, expression: ast.expr) -> None:
        """Call something."""
        self._lines.append(ast.unparse(expression))

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        """`target = value`, in several lines where it is long."""
        line = f"{ast.unparse(target)} = {ast.unparse(value)}"
        if len(line) > _WIDTH:
            line = f"{ast.unparse(target)} = {_wrapped(value)}"
        self._lines.append(line)

    def text(self) -> str:
        """All of it."""
        return "\n".join(self._lines) + "\n"


def _wrapped(value: ast.expr) -> str:
    if isinstance(value, ast.List):
        # Colour maps are points of four numbers, texts and colours come in pairs and triples.
        count = len(value.elts)
        width = 4 if count % 4 == 0 else 3 if count % 3 == 0 else 2
        rows = [value.elts[i : i + width] for i in range(0, count, width)]
        return "[\n" + "".join(f"    {', '.join(map(ast.unparse, row))},\n" for row in rows) + "]"
    if isinstance(value, ast.Call):
        arguments = [*map(ast.unparse, value.args), *map(ast.unparse, value.keywords)]
        return f"{ast.unparse(value.func)}(\n" + "".join(f"    {one},\n" for one in arguments) + ")"
    return ast.unparse(value)
