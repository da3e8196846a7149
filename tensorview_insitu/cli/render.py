"""`render RUN`: pictures and movies of a run, without a window."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorview_insitu.cli.command import add_allow_code, add_command
from tensorview_insitu.cli.progress import progress_bar
from tensorview_insitu.cli.say import say
from tensorview_insitu.cli.settings import add_settings, settings_of
from tensorview_insitu.text.one_line import told

if TYPE_CHECKING:
    from tensorview_insitu.paraview_states.settings import Settings

_FRAMES_WORTH_A_PROCESS = 8
_FRAMES_PER_SECOND = 5


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "render",
        run,
        "Render the views of a run into RUN/paraview/images with pvpython; exports it first when need be.",
        "tensorview-insitu render runs/cxr --view kernel_propagation --movie",
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run")
    parser.add_argument("--view", action="extend", nargs="+", metavar="V", help="only these views")
    parser.add_argument("--size", default="1280x720", metavar="WxH", help="in pixels (default: 1280x720)")
    parser.add_argument("--all", action="store_true", help="a picture for every time step, not only the last")
    parser.add_argument("--movie", action="store_true", help="a movie too: MP4 with ffmpeg, else OGV or AVI")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes side by side (default: by frames)")
    parser.add_argument(
        "--mpi", type=int, metavar="N", help="with pvbatch on N MPI processes, for data too large for one"
    )
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="on a pvserver that sees the same files under the same paths"
    )
    add_settings(parser)
    add_allow_code(parser)


def run(options: argparse.Namespace) -> int:
    """Render them."""
    failed: dict[str, str] = {}
    for path in render(
        options.path,
        options.view,
        failed=failed,
        size=size_of(options.size),
        every_time=options.all,
        movie=options.movie,
        jobs=_positive("--jobs", options.jobs),
        settings=settings_of(options),
        mpi=_positive("--mpi", options.mpi),
        server=_server(options.server),
        allow_code=options.allow_code,
    ):
        say(path)
    for name, why in failed.items():
        say(f"no picture of {name}: {why}", file=sys.stderr)
    return 1 if failed else 0


def render(
    path: str,
    views: list[str] | None = None,
    *,
    size: tuple[int, int] = (1280, 720),
    every_time: bool = False,
    movie: bool = False,
    jobs: int | None = None,
    settings: Settings | None = None,
    mpi: int | None = None,
    server: tuple[str, int] | None = None,
    allow_code: bool = False,
    failed: dict[str, str] | None = None,
) -> list[Path]:
    """Render views of a run; the pictures and movies made. A view that fails costs that view.

    Args:
        path: a run's folder, or that of an export.
        views: which; by default all that the export has data for.
        size: of the pictures, in pixels.
        every_time: a picture for every time step.
        movie: a movie too.
        jobs: how many processes; None chooses by the number of frames.
        settings: of the views.
        mpi: render with pvbatch on so many MPI processes, all for one picture.
        server: host and port of a pvserver that renders.
        failed: takes, by view, why there is no picture of it; without, the first failure is raised.
        allow_code: render also states that hold code, which ours never do.
    """
    from tensorview_insitu.cli.exported import export_folder
    from tensorview_insitu.cli.paraview_process import display, find
    from tensorview_insitu.paraview_states.states import write_states
    from tensorview_insitu.paraview_states.views import check_view

    for name in views or ():
        check_view(name)
    pvpython = [find("pvpython")]
    if mpi is not None:
        pvpython, jobs = [find("mpiexec"), "-n", str(mpi), find("pvbatch")], 1
    if server is not None:  # it takes one client
        jobs = 1
    folder = export_folder(path).resolve()
    report = write_states(folder, views, settings)
    for name in [] if views else report.lost:
        say(f"no view {name}: {report.impossible[name]}", file=sys.stderr)
    for line in report.warnings():
        say(line, file=sys.stderr)
    failures: dict[str, Exception] = {}
    told_of = {} if failed is None else failed
    if views:
        told_of |= {name: why for name, why in report.impossible.items() if name in views}
    names = sorted({p.stem for p in [*report.written, *report.kept] if p.suffix == ".pvsm"})
    names = [name for name in views or names if name not in report.impossible]
    made: list[Path] = []
    with display() as environment, tempfile.TemporaryDirectory() as scratch:
        for name in names:
            try:
                job = _Job(
                    folder, name, settings, size, Path(scratch), pvpython, environment, allow_code, server
                )
                made += job.last_picture(jobs) if not every_time and not movie else job.frames(jobs)
                made += job.movie() if movie else []
            except OSError:  # a full disk: it is so for the next view too
                raise
            except Exception as error:
                if len(names) == 1 or failed is None:
                    raise
                failures[name] = error
    if failures and len(failures) == len(names):
        raise next(iter(failures.values()))
    told_of |= {name: told(error) for name, error in failures.items()}
    return made


class _Job:
    """The rendering of one view."""

    def __init__(
        self,
        folder: Path,
        view: str,
        settings: Settings | None,
        size: tuple[int, int],
        scratch: Path,
        pvpython: list[str],
        environment: dict[str, str],
        allow_code: bool,
        server: tuple[str, int] | None,
    ) -> None:
        from tensorview_insitu.cli.exported import ready_state
        from tensorview_insitu.index import read_index
        from tensorview_insitu.paraview_states.settings import Settings
        from tensorview_insitu.paraview_states.views import VIEWS

        self._images = folder / "images"
        self._view, self._size = view, size
        self._scratch, self._pvpython, self._environment = scratch, pvpython, environment
        self._server = server
        self._times = VIEWS[view](read_index(folder), settings or Settings()).times
        self._state = ready_state(folder, view, scratch, settings=settings, allow_code=allow_code)

    def last_picture(self, jobs: int | None) -> list[Path]:
        file = self._images / f"{self._view}.png"
        self._render([(self._times[-1], file)], jobs)
        return [file]

    def frames(self, jobs: int | None) -> list[Path]:
        """A picture for every time, and the last one under the view's own name."""
        folder = self._images / self._view
        files = [folder / f"{i:04d}.png" for i in range(len(self._times))]
        self._render(list(zip(self._times, files, strict=True)), jobs)
        last = self._images / f"{self._view}.png"
        shutil.copyfile(files[-1], last)
        return [last, folder]

    def movie(self) -> list[Path]:
        """MP4 from the frames through ffmpeg; without it, what ParaView writes itself."""
        base = self._images / self._view
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg is not None:
            file = base.with_name(f"{base.name}.mp4")
            subprocess.run(
                [
                    ffmpeg, "-y", "-loglevel", "error", "-framerate", str(_FRAMES_PER_SECOND),
                    "-i", "%04d.png",  # from its folder: in whose path ffmpeg would look for numbers too
                    # yuv420p, which every player shows, takes even sizes only.
                    "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(file),
                ],
                cwd=base,
                check=True,
            )  # fmt: skip
            return [file]
        lines: list[str] = []
        self._pvpython_jobs([{"frames": [], "movie": str(base)}], lines.append)
        names = [json.loads(line.removeprefix("movie ")) for line in lines if line.startswith("movie ")]
        if not names or not names[0]:
            raise RuntimeError(
                "This ParaView writes no movies. Install ffmpeg: the frames are in " + str(base)
            )
        return [Path(names[0])]

    def _render(self, frames: list[tuple[float, Path]], jobs: int | None) -> None:
        for _, file in frames:
            file.parent.mkdir(parents=True, exist_ok=True)
        count = jobs or min(os.cpu_count() or 1, -(-len(frames) // _FRAMES_WORTH_A_PROCESS))
        shares = [frames[i::count] for i in range(min(count, len(frames)))]
        done = 0
        with progress_bar(f"rendering {self._view}") as progress:

            def heard(line: str) -> None:
                nonlocal done
                done += line.startswith("frame ")
                progress(done, len(frames))

            jobs_to_do = [
                {"frames": [{"time": time, "file": str(file)} for time, file in share]} for share in shares
            ]
            self._pvpython_jobs(jobs_to_do, heard)
        if done != len(frames):
            raise RuntimeError(f"pvpython made {done} of {len(frames)} pictures of {self._view}")

    def _pvpython_jobs(self, jobs: list[dict[str, Any]], heard: Any) -> None:
        from tensorview_insitu.cli.paraview_process import run_all

        commands = []
        program = resources.files("tensorview_insitu.scripts") / "render_frames.py"
        with resources.as_file(program) as script:
            for number, job in enumerate(jobs):
                file = self._scratch / f"{self._view}-{number}.json"
                about = {"state": str(self._state), "size": self._size, "server": self._server}
                file.write_text(json.dumps({**about, **job}))
                commands.append([*self._pvpython, str(script), str(file)])
            run_all(commands, self._environment, heard)


def size_of(text: str, smallest: int = 10) -> tuple[int, int]:
    """`"1920x1080"` as width and height.

    Raises:
        ValueError: it is no size, or one is below the smallest.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None or min(int(match[1]), int(match[2])) < smallest:
        raise ValueError(f"Expected --size as WIDTHxHEIGHT in pixels, as 1920x1080. Received: {text}")
    return int(match[1]), int(match[2])


def _positive(name: str, count: int | None) -> int | None:
    if count is not None and count < 1:
        raise ValueError(f"Expected {name} to be a positive number. Received: {count}")
    return count


def _server(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"Expected --server as HOST:PORT, as node17:11111. Received: {text}")
    return host, int(port)
