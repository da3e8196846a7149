"""A file is looked through by a child process first: what ends that process is told here, in a line."""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import h5py
import pytest
from flip_bits import everything, same
from written import block

from tensorview_insitu.run import examine
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.writer import RunWriter


@pytest.fixture
def no_child(monkeypatch):
    """No child yet, and no file known."""
    monkeypatch.setattr(examine, "_child", examine._Child())
    monkeypatch.setattr(examine, "_verdicts", {})
    yield
    examine._child.stop()


@pytest.fixture
def files(tmp_path):
    """Some whole files, and some that are none."""
    whole, broken = [], []
    for number in range(4):
        writer = RunWriter(tmp_path / f"run{number}")
        writer.write(block(1, 5))
        writer.finish("finished")
        whole.append(tmp_path / f"whole{number}.h5")
        shutil.copy(tmp_path / f"run{number}/run.h5", whole[-1])
        broken.append(tmp_path / f"broken{number}.h5")
        broken[-1].write_bytes(whole[-1].read_bytes()[:1000])
    return whole, broken


def names_in(path):
    """Where the names of a large group lie in a file: in blocks that have no checksum."""
    data = path.read_bytes()
    at = data.index(b"FHDB")
    return range(at + 20, min(at + 400, len(data)))


def test_damage_to_a_group_ends_no_process_of_the_user(copied_run, capsys):
    # A flipped bit is enough: HDF5 1.14.6 frees what it never allocated when it gives up reading a group.
    # Whether it dies of that depends on what it did before.
    path, truth = copied_run.folder / "run.h5", everything(copied_run.folder)
    whole, places = path.read_bytes(), names_in(path)
    chance, signals = random.Random(1), []
    for at in chance.sample(places, 20):
        examine._child.stop()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        try:
            assert same(everything(copied_run.folder), truth)
        except NotARunError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            if "ended with signal" in str(error):
                signals.append(path.read_bytes())
    if not signals:
        pytest.skip("this HDF5 survives all of it")
    path.write_bytes(signals[0])
    program = (
        "import sys; from tensorview_insitu.run.examine import *; problem_with(*map(Path, sys.argv[1:]))"
    )
    alone = subprocess.run([sys.executable, "-c", program, path, path], stderr=subprocess.DEVNULL)
    assert alone.returncode < 0


def test_a_process_that_reads_what_it_wrote_starts_no_other(tmp_path):
    program = """
        import sys
        sys.path[:0] = sys.argv[2:]
        from written import block
        from pathlib import Path
        from tensorview_insitu import Run
        from tensorview_insitu.run import examine
        from tensorview_insitu.run.writer import RunWriter
        for recording in range(2):
            writer = writer if recording else RunWriter(Path(sys.argv[1]))
            for i in range(20):
                first = 100 * recording + 5 * i + 1
                writer.write(block(first, first + 4), epoch_end=True)
                writer.flush(60)
                assert Run.open(sys.argv[1]).steps()["step"].max() == first + 4
            writer.finish("finished")
            writer.resume()
        assert len(Run.open(sys.argv[1]).variable("conv", "kernel")) == 200
        print(examine._child._process)
    """
    here = os.path.dirname(os.path.dirname(__file__))
    command = [sys.executable, "-c", textwrap.dedent(program), tmp_path / "run", here]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "None\n"


def test_an_answer_does_not_depend_on_who_gives_it(no_child, files, monkeypatch, tmp_path):
    whole, broken = files

    def answers():
        examine._verdicts.clear()
        return [examine._child.ask(path) for path in (*whole, *broken)]

    by_child = answers()
    assert examine._child._process is not None
    examine._child._process.send_signal(signal.SIGKILL)  # the system ran out of memory
    assert answers() == by_child
    broken_python = tmp_path / "python"
    broken_python.write_text("#!/bin/sh\nexit 1\n")
    broken_python.chmod(0o700)
    application = tmp_path / "application"
    application.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    application.chmod(0o700)
    for executable in (broken_python, application, tmp_path / "python of nowhere", "", None):
        examine._child.stop()
        monkeypatch.setattr(sys, "executable", executable and str(executable))
        assert answers() == by_child
        assert examine._child._process is None
    assert not (tmp_path / "started").exists()
    assert by_child[:4] == [None] * 4 and all("Expected an HDF5 file of a run" in one for one in by_child[4:])


class Interrupted:
    """The answers of a child, for which nobody waits: Ctrl-C comes first."""

    def __init__(self, answers):
        self._answers = answers

    def readline(self):
        raise KeyboardInterrupt

    def __getattr__(self, name):
        return getattr(self._answers, name)


def test_an_interrupted_question_leaves_no_answer_for_the_next(no_child, files, monkeypatch):
    whole, broken = files
    assert examine._child.ask(whole[0]) is None
    for asked, next_one, expected in ((whole[0], broken[0], str), (broken[0], whole[0], type(None))):
        with monkeypatch.context() as patch:
            process = examine._child._process
            patch.setattr(process, "stdout", Interrupted(process.stdout))
            with pytest.raises(KeyboardInterrupt):
                examine._child.ask(asked)
        assert isinstance(examine._child.ask(next_one), expected)


def test_threads_and_forked_processes_get_their_own_answers(no_child, files):
    whole, broken = files
    expected = {path: examine._child.ask(path) for path in (*whole, *broken)}
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            assert dict(zip(expected, pool.map(examine._child.ask, expected), strict=True)) == expected
    forked = os.fork()
    if not forked:
        try:
            right = {path: examine._child.ask(path) for path in expected} == expected
            examine._child.stop()
        finally:
            os._exit(0 if right else 1)
    assert {path: examine._child.ask(path) for path in expected} == expected
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0


def test_a_file_is_looked_through_once_as_long_as_it_does_not_change(no_child, files, monkeypatch):
    path = files[0][0]
    os.utime(path)
    asked = []
    ask = examine._Child.ask
    monkeypatch.setattr(examine._Child, "ask", lambda child, path: asked.append(path) or ask(child, path))
    monkeypatch.setattr(examine, "_TICK_SECONDS", 0.0)
    for _ in range(3):
        examine.examine(path)
    assert asked == [path]
    with h5py.File(path, "a") as file:
        file.attrs["first"] = -1
    for _ in range(3):
        with pytest.raises(NotARunError, match="not say rightly"):
            examine.examine(path)
    assert asked == [path, path]


def test_what_computes_without_end_is_given_up(no_child, files, monkeypatch, tmp_path):
    # Ten million groups would be a healthy file of gigabytes; here the time that the child has is none.
    monkeypatch.setattr(examine, "__name__", "patient")
    (tmp_path / "patient.py").write_text(
        "from tensorview_insitu.run import examine\n"
        "def serve():\n"
        "    examine._SECONDS = examine._SECONDS_PER_BYTE = 1e-9\n"
        "    examine.problem_with = lambda *paths: [None for _ in iter(int, 1)]\n"
        "    examine.serve()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "no answer in reasonable time" in examine._child.ask(files[0][0])
