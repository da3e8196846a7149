"""Trainings in processes of their own, for faults that a test process would not survive."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.reader import Run

TESTS = Path(__file__).parent.parent

_BEGINNING = f"""
import os, signal, sys, time
sys.path.insert(0, {str(TESTS)!r})
import keras
import numpy as np
from fits import fit, network
from tensorview_insitu.callbacks import *
# A shell that starts programs in the background has them ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def start(program: str, **environment: str) -> subprocess.Popen[str]:
    """Start a program, after the imports that all of them need."""
    return subprocess.Popen(
        [sys.executable, "-c", _BEGINNING + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def wait_for_run(process: subprocess.Popen[str], folder: Path, enough: Callable[[Run], bool]) -> None:
    """Return when the run that a process writes has enough in it.

    Raises:
        AssertionError: the process ended before, or it took more than 90 seconds.
    """
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()[1][-3000:]
        try:
            if enough(Run.open(folder)):
                return
        except (FileNotFoundError, NotARunError):
            pass
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{folder} does not grow: {process.communicate()[1][-3000:]}")
