"""A real ParaView for the tests of this folder; where there is none they skip, but in CI they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensorview_insitu.cli.paraview_process import NoParaViewError, display, find

HERE = Path(__file__).parent
SHIM = HERE.parent.parent / "scripts" / "shim"  # lets Debian's ParaView 5.11 load plugins


@pytest.fixture(scope="session")
def pvpython() -> Iterator[Callable[..., str]]:
    """Runs a program of this folder under pvpython: `pvpython("inspect_scene.py", argument, ...)`."""
    try:
        program = find("pvpython")
        with display() as environment:

            def run(script: str | Path, *arguments: object, shim: bool = False) -> str:
                command = [program, str(HERE / script), *map(str, arguments)]
                env = {**environment, "PYTHONPATH": str(SHIM)} if shim else environment
                done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stdout + done.stderr

            yield run
    except NoParaViewError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
