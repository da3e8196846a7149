"""A stranger's or a damaged file is first opened where a crash is an answer: in a child process.

HDF5 trusts what it reads: 16 bytes inserted into a file end the process that opens it, and no check inside
that process can come before. So each version of a file (device, inode, size, times) is looked through once
by a child process; what it finds wrong, or that it died of the file, is an error in one line here. Only then
the file is opened in this process.

The child is a plain Python with h5py. It starts with the first file that this process did not write itself,
takes 0.12 s to start and some milliseconds a file (0.13 s for 1,500 datasets), as looking through the file
takes in this process, and ends with this process. A recorder reads what it wrote itself, so that a training
starts none, unless it resumes an older run.

A checksum of the whole file was the other way. It takes 0.5 s and more per GB at each first opening, tells
nothing of a file whose author computed it too, and older runs have none; the child answers for all of them.
Rows and HDF5's own structures carry checksums already, so that damage is found where it is read.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import h5py

from tensorview_insitu.run import schema
from tensorview_insitu.run.errors import NotARunError

Version = tuple[int, ...]

_READY = b"ready\n"
_PYTHONS = ("python", "pypy")
_MOST_REMEMBERED = 4096
_TICK_SECONDS = 0.01  # of the file system's clock: what changes twice within one looks like one change

# What one file may cost the child. A recorder's file has an object in some hundred bytes, and a thousand
# objects take 0.04 s.
_SECONDS, _SECONDS_PER_BYTE = 1.0, 1e-6
_MEMORY_BYTES = 2 << 30

_KINDS = {
    stat.S_ISDIR: "a folder", stat.S_ISLNK: "a link", stat.S_ISFIFO: "a FIFO", stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device", stat.S_ISBLK: "a device",
}  # fmt: skip


def version_of(path: Path) -> Version:
    """What changes when a file does.

    Raises:
        NotARunError: it is no plain file.
        FileNotFoundError: it is gone.
    """
    status = os.lstat(path)
    for is_kind, kind in _KINDS.items():
        if is_kind(status.st_mode):
            raise NotARunError(f"{path} is {kind}. Expected a plain file, as a recorder writes it.")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def examine(path: Path) -> Version:
    """Raise unless a file is as a recorder writes it; it is safe to open then.

    Returns:
        The version of the file that was looked at.

    Raises:
        NotARunError: with what is wrong with it.
        FileNotFoundError: it is gone.
    """
    version = version_of(path)
    with _lock:
        known, problem = _verdicts.get(path, (None, None))
    if known != version:
        settled = abs(time.time() - version[-1] / 1e9) > _TICK_SECONDS
        problem = _child.ask(path)
        if version_of(path) != version:
            raise FileNotFoundError(errno.ENOENT, "replaced while it was looked at", str(path))
        if settled:
            _remember(path, version, problem)
    if problem is not None:
        raise NotARunError(problem)
    return version


def wrote(path: Path, written: os.stat_result) -> None:
    """Remember that this process has written a file itself; `written` is what it was before its renaming."""
    with contextlib.suppress(OSError, NotARunError):
        version = version_of(path)
        if version[:4] == (written.st_dev, written.st_ino, written.st_size, written.st_mtime_ns):
            _remember(path, version, None)


def _remember(path: Path, version: Version, problem: str | None) -> None:
    with _lock:
        _verdicts.pop(path, None)
        if len(_verdicts) >= _MOST_REMEMBERED:
            del _verdicts[next(iter(_verdicts))]
        _verdicts[path] = version, problem


def problem_with(path: Path, shown: Path) -> str | None:
    """What is wrong with a file, which is called `shown`; opens it in this process."""
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        return f"Expected an HDF5 file of a run. Received: {shown} ({error})"
    try:
        with file:
            schema.check(file, shown)
    except NotARunError as error:
        return str(error)
    return None


class _Child:
    """The process that opens files first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, path: Path) -> str | None:
        """What is wrong with a file."""
        with self._lock:
            try:
                return self._asked(path)
            except BaseException:  # Ctrl-C: the answer that is still to come is of this file, and of no other
                self.stop()
                raise

    def _asked(self, path: Path) -> str | None:
        end = ""
        for _ in range(2):  # someone else may have ended it
            process = self._started()
            if process is None:  # no room for one more, or no Python of its own (an embedded one)
                return problem_with(path, path)
            answer = self._answer(process, path)
            if answer.endswith(b"\n"):
                problem: str | None = json.loads(answer)
                return problem
            end = self._end()
        return f"{path} is damaged: HDF5 ended with {end} when it looked through it."

    def _started(self) -> subprocess.Popen[bytes] | None:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        if not Path(sys.executable or "").name.lower().startswith(_PYTHONS):
            return None  # an application with Python inside: it would start once more
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdout is not None
            if self._process.stdout.readline() == _READY:
                return self._process
        except OSError:
            pass
        self.stop()
        return None

    def _answer(self, process: subprocess.Popen[bytes], path: Path) -> bytes:
        assert process.stdin is not None and process.stdout is not None
        try:
            request = json.dumps([os.path.abspath(path), str(path)])
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
        except OSError:
            return b""
        return process.stdout.readline()

    def _end(self) -> str:
        process = self._process
        assert process is not None
        code = process.wait()
        self.stop()
        if hasattr(signal, "SIGPROF") and code == -signal.SIGPROF:
            return "no answer in reasonable time"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.communicate()


_verdicts: dict[Path, tuple[Version, str | None]] = {}
_lock = threading.Lock()
_child = _Child()
_of_others: list[_Child] = []


def _forked() -> None:
    # The pipes of the parent's child are the parent's.
    global _child, _lock
    _of_others.append(_child)
    _child, _lock = _Child(), threading.Lock()


def _at_exit() -> None:
    _child.stop()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def serve() -> None:
    """The child: in each line a path, and what to call it; for each what is wrong with it, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    _limit_memory()
    answers: Any = sys.stdout.buffer
    answers.write(_READY)
    answers.flush()
    for line in sys.stdin.buffer:
        path, shown = map(Path, json.loads(line))
        _limit_time(path)
        answers.write(json.dumps(problem_with(path, shown)).encode() + b"\n")
        answers.flush()


def _limit_memory() -> None:
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):  # a platform without: the limit of time is left
        pass


def _limit_time(path: Path) -> None:
    if hasattr(signal, "setitimer"):  # of computing: waiting for a disk does not count
        size = path.stat().st_size if path.exists() else 0
        signal.setitimer(signal.ITIMER_PROF, _SECONDS + _SECONDS_PER_BYTE * size)
