"""What the tests of hostile files share: a witness in place of ParaView, and a limit on memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = 1500 << 20


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there when a program that loads states, or Ghostscript, was started."""
    made = tmp_path / "witness"
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pvpython", "paraview", "gs"):
        (programs / name).write_text(f"#!/bin/sh\necho $0 $* > {made}\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("PVPYTHON", str(programs / "pvpython"))
    monkeypatch.setenv("PARAVIEW", str(programs / "paraview"))
    monkeypatch.setenv("DISPLAY", ":0")
    return made


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Some room above what this process has, and no more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
