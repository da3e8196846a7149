"""Platforms that lack what POSIX has (Windows, some containers) record the same."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder

from tensorview_insitu.run import identity
from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.reader import Run

TESTS = Path(__file__).parent.parent

WITHOUT_POSIX = f"""
    import ctypes, os, pathlib, signal, sys, warnings
    sys.path.insert(0, {str(TESTS)!r})
    import keras, h5py
    for name in ("pwrite", "pwritev", "pread", "preadv", "posix_fallocate", "posix_fadvise", "fork", "kill",
                 "register_at_fork", "getppid", "geteuid", "uname", "sched_setscheduler", "mkfifo"):
        if hasattr(os, name):
            delattr(os, name)
    for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGCHLD", "SIGALRM", "pthread_sigmask", "setitimer"):
        if hasattr(signal, name):
            delattr(signal, name)
    for name in ("fcntl", "resource", "pwd", "grp"):
        sys.modules[name] = None
    library = ctypes.CDLL
    def of_windows(name, *args, **kwargs):
        if name is None:
            raise TypeError("argument of type 'NoneType' is not iterable")
        return library(name, *args, **kwargs)
    ctypes.CDLL = of_windows
    open_file = os.open
    def no_folders(path, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *args, **kwargs)
    os.open = no_folders
    warnings.simplefilter("error", RuntimeWarning)
    from fits import fit, network
    from tensorview_insitu.callbacks import *
    from tensorview_insitu.run import alone, identity
    assert alone.fcntl is None  # nothing here was imported before all that was taken away
    identity._NOBODY_TO_ASK = True
    quantities = [Metrics(), GradientNorms(), Kernels("batch"), Biases()]
    model, folder = network(), sys.argv[1]
    for options in ({{}}, {{"resume": True}}):
        recorder = InSituRecorder(folder, quantities, strict=True, **options)
        print(fit(model, [recorder], shuffle=False).history["loss"])
"""


def test_what_posix_alone_has_is_not_needed(tmp_path):
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_POSIX), folder],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    plain = network()
    losses = [fit(plain, [], shuffle=False).history["loss"] for _ in range(2)]
    assert done.stdout.strip() == "\n".join(map(str, losses))
    run = Run.open(folder)
    assert run.status == "finished" and not run.identity["missing"]
    assert list(run.scalars("batch")["step"]) == list(range(1, 53))
    assert list(run.variable("conv1", "kernel").steps) == list(range(53))


def test_where_no_process_can_be_asked_its_heart_tells_whether_it_lives(tmp_path, monkeypatch):
    fit(network(), [InSituRecorder(tmp_path / "run")], epochs=1)
    monkeypatch.setattr(identity, "_NOBODY_TO_ASK", True)
    monkeypatch.setattr(identity, "_process_start", lambda pid: pytest.fail("it was asked"))
    about = {**Run.open(tmp_path / "run").identity, "status": "running", "pid": os.getppid()}
    identity.write_identity(tmp_path / "run", about)
    with pytest.raises(RunExistsError, match="is being written by process"):
        InSituRecorder(tmp_path / "run", overwrite=True)
    hour_ago = (tmp_path / "run/run.json").stat().st_mtime - 3600
    os.utime(tmp_path / "run/run.json", (hour_ago, hour_ago))
    InSituRecorder(tmp_path / "run", overwrite=True)
