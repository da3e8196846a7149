"""Find ParaView, give it a display, and run its programs: always beside this process, never in it.

TensorFlow and Mesa bring the same LLVM symbols: rendering in a process that imported TensorFlow crashes.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PLACES = (
    "/opt/ParaView*/bin",
    "/opt/paraview*/bin",
    "/usr/local/ParaView*/bin",
    "~/ParaView*/bin",
    "/Applications/ParaView*.app/Contents/bin",
    "/Applications/ParaView*.app/Contents/MacOS",
)
_DISPLAY_SECONDS = 20
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NoParaViewError(RuntimeError):
    """Raised when ParaView, or a display for it, is missing; its text says how to get it."""


def find(program: str) -> str:
    """The path of `pvpython`, `paraview`, `pvbatch` or `mpiexec`.

    The environment variable PVPYTHON, PARAVIEW, ... names it; else it is looked for in PATH and where
    ParaView is usually unpacked.

    Raises:
        NoParaViewError: it is nowhere.
    """
    named = os.environ.get(program.upper())
    if named and not shutil.which(named):
        raise NoParaViewError(f"{program.upper()}={named} is no program.")
    folders = [p for place in _PLACES for p in sorted(glob.glob(os.path.expanduser(place)), reverse=True)]
    path = shutil.which(named or program) or shutil.which(program, path=os.pathsep.join(folders))
    if path is None and program == "mpiexec":
        raise NoParaViewError("No mpiexec was found. Install MPI, or set MPIEXEC to its path.")
    if path is None:
        raise NoParaViewError(
            f"ParaView's {program} was not found. Install ParaView (Debian, Ubuntu: apt install "
            f"paraview python3-paraview; elsewhere: paraview.org), or set {program.upper()} to its path."
        )
    return path


def environment_of_paraview() -> dict[str, str]:
    """Ours, without what leads ParaView's own Python astray."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def has_screen() -> bool:
    """Whether there is something to open a window on."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def display() -> Iterator[dict[str, str]]:
    """The environment for a program that draws; starts a virtual display where there is none.

    Raises:
        NoParaViewError: there is none, and no Xvfb to make one.
    """
    environment = environment_of_paraview()
    if environment.get("DISPLAY") or sys.platform != "linux":
        yield environment
        return
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        raise NoParaViewError(
            "There is no display, and no Xvfb to make a virtual one (Debian, Ubuntu: apt install xvfb)."
        )
    # Xvfb picks a free number itself and tells it; xvfb-run guesses one, and fails now and then. Without
    # -noreset it starts anew when its last client leaves, and turns away the one that comes just then.
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [xvfb, "-displayfd", str(writing), "-screen", "0", "1920x1200x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with open(reading) as answer:
            number = answer.readline().strip()
        if not number:
            raise NoParaViewError("Xvfb could not start a virtual display.")
        environment["DISPLAY"] = f":{number}"
        yield environment
    finally:
        server.terminate()
        server.wait(timeout=_DISPLAY_SECONDS)


def run_all(
    commands: list[list[str]],
    environment: dict[str, str],
    heard: Callable[[str], None],
) -> None:
    """Run programs side by side; when one fails the others are stopped.

    Args:
        commands: one for each process.
        environment: of all.
        heard: called with every line that one of them prints.

    Raises:
        NoParaViewError: one crashed; with the end of what it said.
    """
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_Running(command, environment)) for command in commands]
        while any([process.alive(heard) for process in running]):
            time.sleep(0.05)


class _Running:
    """One process, whose output goes to a file that is read as it grows."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._out = tempfile.NamedTemporaryFile(mode="w+", suffix=".log")
        self._read = open(self._out.name)
        self._rest = ""
        self._said: list[str] = []
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._out
        )

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._read.close()
        self._out.close()

    def alive(self, heard: Callable[[str], None]) -> bool:
        code = self._process.poll()
        self._rest += self._read.read()
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            self._said.append(line)
            heard(line)
        if code:
            raise NoParaViewError(self._failure(code))
        return code is None

    def _failure(self, code: int) -> str:
        how = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        lines = [_ANSI.sub("", line).strip() for line in [*self._said, self._rest]]
        # A stack trace tells a user nothing.
        said = " | ".join([line for line in lines if line and "0x" not in line and "FATL" not in line][-3:])
        return f"{Path(str(self._process.args[0])).name} {how}: {said or 'it said nothing'}"  # type: ignore[index]
