"""Every file that is made of a run with hostile names is that of its harmless twin, but for the names."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hostile import TEXTS, export_everything, record
from hypothesis import given, settings
from hypothesis import strategies as st
from skeleton import skeletons


def made(folder: Path, name) -> Path:
    """Everything that is made of two runs with such names."""
    run = record(folder / "runs" / "one", name)
    other = record(folder / "runs" / "other", name, scale=2.0)
    export_everything(run, other, folder / "out", name)
    return folder / "out"


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    return skeletons(made(tmp_path_factory.mktemp("harmless"), lambda name: name))


def chosen(texts):
    """Gives each name that is asked for the next text."""
    given_names: dict[str, str] = {}
    ring = itertools.cycle(texts)
    return lambda name: given_names.setdefault(name, next(ring)) if name not in given_names else given_names[name]


def told(difference) -> str:
    return "\n".join(f"{count} x {str(key)[:600]}" for key, count in difference.items())


@pytest.mark.parametrize("start", range(0, len(TEXTS), 4))
def test_hostile_names_change_no_statement_no_element_and_no_number(start, harmless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sentinel = tmp_path / "sentinel"
    texts = [text.replace("{sentinel}", str(sentinel)) for text in TEXTS[start:] + TEXTS[:start]]
    found = skeletons(made(tmp_path / "made", chosen(texts)))
    assert not found - harmless, told(found - harmless)
    assert not harmless - found, told(harmless - found)
    assert not sentinel.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


@settings(max_examples=6, deadline=None, derandomize=True)
@given(texts=st.lists(st.text(min_size=1, max_size=40), min_size=30, max_size=30, unique=True))
def test_nor_do_any_other_names(texts, harmless):
    scratch = Path(tempfile.mkdtemp())
    try:
        texts = [text.replace("/", "") or "x" for text in texts]
        texts = [f"{text}{number}" if texts.index(text) != number else text for number, text in enumerate(texts)]
        found = skeletons(made(scratch, chosen(texts)))
        assert found == harmless, told((found - harmless) + (harmless - found))
    finally:
        shutil.rmtree(scratch)
