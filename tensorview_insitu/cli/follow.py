"""Follow a run that another process writes: export what is new, and have pictures made of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

from tensorview_insitu.loading.plain_file import read_bytes
from tensorview_insitu.run.errors import NotARunError, NotInRunError
from tensorview_insitu.run.identity import FINISHED, RUNNING
from tensorview_insitu.run.reader import Run

_LOOK_SECONDS = 0.25
_FRAME_SECONDS = 300.0
# A child that is further behind leaves pictures out.
_MOST_WAITING = 3
_FIRST_MOVIE, _MOVIE_GROWTH = 2, 1.25


@dataclass(frozen=True)
class Following:
    """What is followed, and how.

    Args:
        path: the run's folder; it need not be there yet.
        views: which views are rendered.
        settings: of them, as `paraview_states.settings.Settings`.
        every: the seconds between two looks.
        epochs: a picture for every so many-th epoch; 0 makes one whenever something is new.
        images: where to; by default RUN/paraview/live.
        size: of the pictures.
        wait: how long to wait for a run that is not there, or that has stopped and may go on.
        allow_code: render also states that hold more than ours do.
    """

    path: Path
    views: Sequence[str]
    settings: Any
    every: float = 5.0
    epochs: int = 0
    images: Path | None = None
    size: tuple[int, int] = (1280, 720)
    wait: float = 3600.0
    allow_code: bool = False


@contextlib.contextmanager
def leaving_the_processors() -> Iterator[None]:
    """Leave the processors to the training, in this process and in the children that it starts meanwhile.

    Where the system lets a process come back from that, it does in the end: it may be a notebook's.
    """
    os.environ["LP_NUM_THREADS"] = "1"  # Mesa's threads
    come_back: Callable[[], object] | None = None
    if hasattr(os, "sched_setscheduler") and hasattr(os, "SCHED_IDLE"):
        # Only what nobody else wants; being merely nice still cost a training on all cores some percent.
        come_back = partial(os.sched_setscheduler, 0, os.sched_getscheduler(0), os.sched_getparam(0))
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif hasattr(os, "setpriority"):
        come_back = partial(os.setpriority, os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PROCESS, 0, 19)
    try:
        yield
    finally:
        if come_back is not None:
            with contextlib.suppress(PermissionError):
                come_back()


def follow(following: Following, say: Callable[[str], None]) -> bool:
    """Follow a run until it is finished, or nothing has come for `wait` seconds.

    Returns:
        Whether every view could be drawn: false where the run finished without the data that one shows.

    Raises:
        NoParaViewError: it, or a display for it, is missing.
        ValueError: there is no such view.
        ForeignFileError: the folder, or a state in it, is not to be trusted, and there is no picture yet.
    """
    from tensorview_insitu.cli.paraview_process import display, find
    from tensorview_insitu.export.run import EXPORT_FOLDER
    from tensorview_insitu.loading.plain_file import check_folder, within

    run = wait_for_run(following, say)
    folder = within(run.folder, run.folder / EXPORT_FOLDER)
    check_folder(folder)
    images = following.images or folder / "live"
    images.mkdir(parents=True, exist_ok=True)
    made = 0
    with (
        tempfile.TemporaryDirectory() as scratch,
        display() as environment,
        _Painter(find("pvpython"), environment) as painter,
    ):
        seen: tuple[Any, ...] | None = None  # of what there are pictures
        last: tuple[Any, ...] | None = None
        last_epoch, told = 0, ""
        lacks: dict[str, str] = {}  # by view, why there is no picture of it yet
        warned: set[str] = set()
        stopped = time.monotonic()
        while True:
            now = _state(run)
            if now is not None and now != last:
                last, stopped = now, time.monotonic()
            if now is not None and now != seen:
                times, left_out = _times(run, following, last_epoch)
                if left_out:
                    say(f"no pictures of epochs {', '.join(map(str, left_out))}: the training is faster")
                try:
                    jobs = _export(run, folder, following, images, times, Path(scratch), lacks, warned, say)
                    for job in jobs:
                        view, state, moment, file = job
                        problem = painter.paint(state, following.size, moment, file.resolve())
                        if problem:
                            say(f"no picture {file}: {problem}")
                            continue
                        made += 1
                        say(str(file))
                        shutil.copyfile(file, images / f".{view}.tmp")
                        os.replace(images / f".{view}.tmp", images / f"{view}.png")
                        grow_movie(images, view)
                    seen = now
                    last_epoch = max([last_epoch, *(epoch for epoch, _ in times)])
                except (OSError, ValueError) as error:
                    if not made and not isinstance(error, OSError | NotARunError):
                        raise
                    # A full disk, a run that is just being replaced, a state that somebody is editing: the
                    # next look may find it better.
                    if str(error) != told:
                        say(f"{type(error).__name__}: {error}")
                        told = str(error)
            status = now[0] if now is not None else ""
            if status == FINISHED and now == seen == _state(run):
                for view in following.views:
                    grow_movie(images, view, last=True)
                say(f"{run.folder} is finished: {made} pictures in {images}")
                for view, why in lacks.items():
                    say(f"no picture of {view}: {why}")
                return not lacks
            if status == RUNNING:  # an epoch may take hours
                stopped = time.monotonic()
            if time.monotonic() - stopped > following.wait:
                say(f"nothing came from {run.folder} ({status or 'gone'}) for {following.wait:g} s")
                return True
            time.sleep(following.every if status == RUNNING else min(following.every, 1.0))


def wait_for_run(following: Following, say: Callable[[str], None]) -> Run:
    """The run, as soon as it is there and holds something.

    Raises:
        FileNotFoundError: it did not come in time.
    """
    end = time.monotonic() + following.wait
    told = False
    while True:
        try:
            run = Run.open(following.path)
            if run.datasets():
                return run
        except (FileNotFoundError, NotARunError):
            pass
        if not told:
            say(f"waiting for {following.path}")
            told = True
        if time.monotonic() > end:
            raise FileNotFoundError(f"No run came to {following.path} within {following.wait:g} s.")
        time.sleep(_LOOK_SECONDS)


def _state(run: Run) -> tuple[Any, ...] | None:
    """What changes when the run does; None where it cannot be read at this moment."""
    try:
        epochs, steps = run.scalars("epoch"), run.steps()
        return run.status, run.identity["run_id"], len(epochs), len(steps)
    except (OSError, NotARunError):
        return None


def _times(
    run: Run, following: Following, last_epoch: int
) -> tuple[list[tuple[int, float | None]], list[int]]:
    """`(epoch, time)` of the pictures to make, None being the newest; and the epochs that are left out."""
    ended = [int(epoch) for epoch in run.scalars("epoch").get("epoch", [])]
    if not following.epochs:
        return [(ended[-1] if ended else 0, None)], []
    due = [epoch for epoch in ended if epoch % following.epochs == 0 and epoch > last_epoch]
    return [(epoch, float(epoch)) for epoch in due[-_MOST_WAITING:]], due[:-_MOST_WAITING]


def _export(
    run: Run,
    folder: Path,
    following: Following,
    images: Path,
    times: list[tuple[int, float | None]],
    scratch: Path,
    lacks: dict[str, str],
    warned: set[str],
    say: Callable[[str], None],
) -> list[tuple[str, Path, float, Path]]:
    """Export what is new; `(view, state, time, file)` of the pictures to make.

    `lacks` is told why there is no picture of a view; of `warned` is what has been said of the views already.
    """
    from tensorview_insitu.cli.exported import ready_state
    from tensorview_insitu.export.run import export_run
    from tensorview_insitu.index import read_index
    from tensorview_insitu.paraview_states.impossible import ImpossibleViewError
    from tensorview_insitu.paraview_states.settings import Settings
    from tensorview_insitu.paraview_states.states import write_states
    from tensorview_insitu.paraview_states.views import VIEWS

    if not times:
        return []
    try:
        export_run(run, folder)
    except NotInRunError:  # nothing yet
        return []
    index = read_index(folder)
    jobs = []
    for view in following.views:
        try:
            scene = VIEWS[view](index, following.settings or Settings())
        except ImpossibleViewError as error:  # perhaps its first epoch has not ended yet
            lacks[view] = str(error)
            continue
        lacks.pop(view, None)
        for line in write_states(folder, [view], following.settings).warnings():
            if line not in warned:
                say(line)
                warned.add(line)
        state = ready_state(
            folder, view, scratch, settings=following.settings, allow_code=following.allow_code
        )
        for epoch, moment in times:
            name = f"epoch_{epoch:05d}.png" if moment is not None else f"step_{index['run']['steps']:07d}.png"
            (images / view).mkdir(exist_ok=True)
            jobs.append((view, state, scene.times[-1] if moment is None else moment, images / view / name))
    return jobs


class _Painter(AbstractContextManager["_Painter"]):
    """A pvpython process that makes one picture after the other; started again when it dies."""

    def __init__(self, pvpython: str, environment: dict[str, str]) -> None:
        self._command, self._environment = pvpython, environment
        self._process: subprocess.Popen[str] | None = None
        self._answers: Queue[str] = Queue()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def paint(self, state: Path, size: tuple[int, int], moment: float, file: Path) -> str:
        """Make a picture; why it could not be made, or nothing."""
        job = json.dumps({"state": str(state), "size": list(size), "time": moment, "file": str(file)})
        for _ in range(2):  # a child that was killed is worth one more
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write(job + "\n")
                process.stdin.flush()
            except OSError:
                self._stop()
                continue
            answer = self._answer(process)
            if answer:
                return "" if answer.startswith("frame ") else str(json.loads(answer.removeprefix("failed ")))
            self._stop()
        return "pvpython died twice over it"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            program = resources.files("tensorview_insitu.scripts") / "live_frames.py"
            self._answers = Queue()
            self._process = subprocess.Popen(
                [self._command, str(program)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            threading.Thread(target=self._listen, args=(self._process, self._answers), daemon=True).start()
        return self._process

    @staticmethod
    def _listen(process: subprocess.Popen[str], answers: Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(("frame ", "failed ")):
                answers.put(line)
        answers.put("")

    def _answer(self, process: subprocess.Popen[str]) -> str:
        try:
            return self._answers.get(timeout=_FRAME_SECONDS)
        except Empty:
            return ""

    def _stop(self) -> None:
        if self._process is None:
            return
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                pass
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def grow_movie(images: Path, view: str, *, last: bool = False) -> None:
    """Write the movie of all pictures so far, whenever they are a quarter more than in the last one."""
    frames = sorted(file for file in (images / view).glob("*.png") if file.is_file())
    movie = images / f"{view}.ogv"
    count = images / view / ".movie"
    try:
        before = int(read_bytes(count, 20))
    except (OSError, ValueError):
        before = 0
    enough = len(frames) >= max(_FIRST_MOVIE, before * _MOVIE_GROWTH) or (last and len(frames) > 1)
    if len(frames) == before or not enough:
        return
    # Another process: this one is to live for days, and VTK's readers and encoders are not small.
    program = resources.files("tensorview_insitu.cli") / "encode_movie.py"
    done = subprocess.run([sys.executable, str(program), str(movie), *map(str, frames)], check=False)
    if done.returncode == 0:
        count.write_text(str(len(frames)))


def keep_exporting(following: Following, folder: Path, goes_on: Callable[[], bool]) -> None:
    """Export what is new every so many seconds, while `goes_on`; for a window that shows it."""
    from tensorview_insitu.export.run import export_run
    from tensorview_insitu.paraview_states.states import write_states

    run = Run.open(following.path)
    seen: tuple[Any, ...] | None = None
    while goes_on():
        now = _state(run)
        if now is not None and now != seen:
            # A full disk, or a run that is just being replaced: the next look may find it better.
            with contextlib.suppress(OSError, NotARunError, NotInRunError):
                export_run(run, folder)
                write_states(folder, list(following.views), following.settings)
                seen = now
        for _ in range(max(1, round(following.every / _LOOK_SECONDS))):
            if goes_on():
                time.sleep(_LOOK_SECONDS)
