"""Every file that is made of a run with hostile names is that of its harmless twin, but for the names."""

from __future__ import annotations

import functools
import itertools
import re
import shutil
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile import TEXTS, export_everything, record
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from skeleton import skeletons


def made(folder: Path, name) -> Path:
    """Everything that is made of two runs with such names."""
    run = record(folder / "runs" / "one", name)
    other = record(folder / "runs" / "other", name, scale=2.0)
    export_everything(run, other, folder / "out", name)
    return folder / "out"


@pytest.fixture(scope="module")
def harmless_folder(tmp_path_factory):
    return made(tmp_path_factory.mktemp("harmless"), lambda name: name)


@pytest.fixture(scope="module")
def harmless(harmless_folder):
    return skeletons(harmless_folder)


@pytest.fixture
def copy(harmless_folder, tmp_path):
    # With the runs, which files beside run.h5 read.
    return Path(shutil.copytree(harmless_folder.parent, tmp_path / "copy")) / harmless_folder.name


def chosen(texts):
    """Gives each name that is asked for the next text."""
    ring = itertools.cycle(texts)
    return functools.cache(lambda name: next(ring))


def told(difference) -> str:
    return "\n".join(f"{count} x {str(key)[:600]}" for key, count in difference.items())


@pytest.mark.parametrize("start", [*range(0, len(TEXTS), 6), TEXTS.index("epoch")])
def test_hostile_names_change_no_statement_no_element_and_no_number(start, harmless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sentinel = tmp_path / "sentinel"
    texts = [text.replace("{sentinel}", str(sentinel)) for text in TEXTS[start:] + TEXTS[:start]]
    found = skeletons(made(tmp_path / "made", chosen(texts)))
    assert not found - harmless, told(found - harmless)
    assert not harmless - found, told(harmless - found)
    assert not sentinel.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


def test_nor_do_any_other_names(harmless):
    # Each example is an export: no time to look for the smallest that fails.
    @settings(max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate])
    @given(texts=st.lists(st.text(min_size=1, max_size=40), min_size=30, max_size=30, unique=True))
    def same(texts):
        scratch = Path(tempfile.mkdtemp())
        try:
            texts = [f"{text.replace('/', '')}{number}" for number, text in enumerate(texts)]
            found = skeletons(made(scratch, chosen(texts)))
            assert found == harmless, told((found - harmless) + (harmless - found))
        finally:
            shutil.rmtree(scratch)

    same()


def unchanged(names, *_):
    return {name: name for name in names}


# Each takes one of the ways away, and gives the texts that then show it.
BROKEN_WAYS = {
    "tables": ({"tensorview_insitu.export.table.as_column": str}, ["a\nb"]),
    "cells": ({"tensorview_insitu.export.table.as_cell": str}, ["=1+1", "-2+3"]),
    "scripts": (
        {
            "tensorview_insitu.paraview_states.views.shown": lambda *both: both,
            "tensorview_insitu.paraview_states.scene.checked": str,
            "tensorview_insitu.paraview_states.written.checked": str,
            "tensorview_insitu.text.python.printable": str,
            "tensorview_insitu.text.xml._IMPOSSIBLE": re.compile("(?!)"),
        },
        ["a\nimport os"],
    ),
    "states": (
        {
            "tensorview_insitu.text.xml._IMPOSSIBLE": re.compile("(?!)"),
            "tensorview_insitu.paraview_states.views.shown": lambda *both: both,
            "tensorview_insitu.paraview_states.scene.checked": str,
            "tensorview_insitu.paraview_states.written.checked": str,
        },
        ["a\x1bb"],
    ),
    "files": ({"tensorview_insitu.export.explanations.safe_names": unchanged}, [".."]),
    "arrays": ({"tensorview_insitu.export.curves.array_name": lambda name, taken: name}, ['a"b']),
    "layers": ({"tensorview_insitu.export.layer.safe_names": unchanged}, ["../x"]),
}


@pytest.mark.parametrize("way", BROKEN_WAYS)
def test_the_comparison_sees_when_a_way_is_broken(way, harmless, tmp_path, monkeypatch):
    broken, texts = BROKEN_WAYS[way]
    for target, replacement in broken.items():
        monkeypatch.setattr(target, replacement)
    names = chosen([f"{text}{number or ''}" for number in range(30) for text in texts])
    assert differs(lambda: made(tmp_path, names), harmless)


def differs(make, harmless) -> bool:
    """Whether a folder differs from the harmless one, or holds a file that is none."""
    try:
        return skeletons(make()) != harmless
    except (ValueError, SyntaxError, ElementTree.ParseError, OSError):
        return True


def test_the_same_files_are_the_same(copy, harmless):
    assert not differs(lambda: copy, harmless)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("page.html", "<p>"),
        ("export/states/more.py", "import os\n"),
        ("export/states/.hidden.svg", "<svg/>"),
        ("export/tables/more.csv", "a\n=1\n"),
        ("export/more.json", '"\u202e"'),
    ],
)
def test_a_file_too_many_is_seen_and_so_is_one_of_an_unknown_kind(file, text, copy, harmless):
    (copy / file).write_text(text, encoding="utf-8")
    assert differs(lambda: copy, harmless)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("export/states/dashboard.py", "animation = ", "import os\nanimation = "),
        ("export/states/dashboard.py", "# ---- time", "# more\n# ---- time"),
        ("export/states/dashboard.py", "SetActiveView(None)", "SetActiveView(open)"),
        ("export/states/dashboard.pvsm", "<Proxy group", '<Proxy type="x"/><Proxy group'),
        ("export/states/dashboard.pvsm", ' name="Text"', ' name="Text" more=""'),
        ("export/curves/now.pvd", 'part="0"', 'part="0" group=""'),
        ("export/tables/epochs.csv", "loss,", "loss,more,"),
        ("export/index.json", '"every": 1', '"every": 2'),
        ("export/curves/training.vtp", 'Name="epoch"', 'Name="epoch" Other=""'),
    ],
)
def test_one_statement_or_element_more_is_seen(file, old, new, copy, harmless):
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert differs(lambda: copy, harmless)
