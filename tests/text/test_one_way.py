"""There is one way for a text into a file of each kind; nothing else in the package makes such files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Who may call it, from the root of the project.
ONLY = {
    "tostring": "tensorview_insitu/text/xml.py",
    "unparse": "tensorview_insitu/text/python.py",
    "to_csv": "tensorview_insitu/export/table.py",
    "SetName": "tensorview_insitu/export/poly_data.py",
    "SetText": "tensorview_insitu/export/labels.py",
    "textlength": "tensorview_insitu/cli/explained.py",
    "print": "tensorview_insitu/cli/say.py",
}
WAYS_ROUND = ("to_html", "to_xml", "to_excel", "to_latex", "exec", "eval", "rich.print")


def calls(source: str) -> set[str]:
    """What is called, by the last part of its name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            function = node.func
            found.add(function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", ""))
    return found


def modules():
    for wing in ("tensorview_insitu", "callbacks", "paraview_states"):
        yield from sorted((ROOT / wing).rglob("*.py"))


@pytest.mark.parametrize("function", ONLY)
def test_only_one_module_calls(function):
    assert [str(p.relative_to(ROOT)) for p in modules() if function in calls(p.read_text())] == [
        ONLY[function]
    ]


def test_nobody_goes_round_it():
    assert [p for p in modules() if calls(p.read_text()) & set(WAYS_ROUND)] == []


def test_the_check_can_fail():
    assert calls("ElementTree.tostring(a); print(b)") == {"tostring", "print"}
