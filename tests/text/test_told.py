"""What commands print of a run with hostile names: as many lines as of its harmless twin, all printable."""

from __future__ import annotations

import io
import itertools

import pytest
from hostile import TEXTS, record

from tensorview_insitu.cli.main import main
from tensorview_insitu.cli.progress import progress_bar
from tensorview_insitu.cli.say import say

COMMANDS = (
    ["info", "{run}"],
    ["info", "{run}", "--json"],
    ["verify", "{run}"],
    ["pack", "{run}"],
    ["export", "{run}", "-o", "{out}/export"],
    ["export", "{run}", "-o", "{out}/xdmf", "--format", "xdmf"],
    ["export", "{run}", "-o", "{out}/other", "--layer", "no such layer"],
    ["compare", "{run}", "{other}", "-o", "{out}/comparison"],
    ["compare", "{run}", "{other}", "-o", "{out}/comparison", "--layer", "no such layer"],
    ["render", "{out}/export", "--view", "kernel_grids", "--layer", "no such layer"],
    ["info", "{run}/nowhere"],
)


def told(folder, name, capsys) -> list[str]:
    """Everything that the commands print, with its lines."""
    inner = name("folder").replace("/", "").replace("\0", "")[:60]
    folder = folder / inner.encode("utf-8", "replace").decode()
    runs = [record(folder / one, name, scale=scale).folder for one, scale in (("run", 1.0), ("other", 2.0))]
    places = {"run": runs[0], "other": runs[1], "out": folder / "out"}
    lines = []
    for command in COMMANDS:
        main([part.format(**places) for part in command])
        answer = capsys.readouterr()
        lines += [*answer.out.split("\n"), *answer.err.split("\n")]
    return lines


@pytest.mark.parametrize("start", range(0, len(TEXTS), 11))
def test_a_name_prints_no_line_and_moves_no_cursor(start, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PVPYTHON", "/nowhere/pvpython")
    ring = itertools.cycle(TEXTS[start:] + TEXTS[:start])
    given: dict[str, str] = {}
    hostile = told(tmp_path / "h", lambda n: given.setdefault(n, given.get(n) or next(ring)), capsys)
    harmless = told(tmp_path / "x", lambda name: name, capsys)
    assert [line for line in hostile if not line.isprintable()] == []
    states = [line for line in harmless if line.endswith(".pvsm")]
    if len(hostile) != len(harmless):  # no state can name this folder, which is said
        assert sum(line.startswith("no view ") and "XML cannot hold" in line for line in hostile)
    else:
        assert len([line for line in hostile if line.endswith(".pvsm")]) == len(states)


def test_a_terminal_that_knows_few_letters_ends_no_command():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("caf\u00e9 \x1b[31m \udc80 \u202e\nforged", stream)
    stream.seek(0)
    assert stream.read() == "caf\\xe9 \\x1b[31m \\udc80 \\u202e\\nforged\n"


def test_markup_in_a_name_colours_no_progress_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("[red]layer[/red] \x1b]0;x\x07 [/nothing]") as progress:
        progress(1, 2)
    assert "[red]layer[/red] \\x1b]0;x\\x07" in capsys.readouterr().err
