"""`live RUN`: follow a run while it trains."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from tensorview_insitu.cli.command import add_allow_code, add_command
from tensorview_insitu.cli.say import say
from tensorview_insitu.cli.settings import add_settings, settings_of


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "live",
        run,
        "Follow a run that another process trains: pictures and a growing movie, or with --gui the ParaView "
        "window. It may be started before the training, and goes on through crash and resume. It runs at low "
        "priority.",
        "tensorview-insitu live runs/cxr --view dashboard --every 10",
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run; it need not be there yet")
    parser.add_argument("--view", action="extend", nargs="+", metavar="V", help="default: dashboard")
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between two looks")
    parser.add_argument(
        "--epochs",
        type=int,
        default=0,
        metavar="N",
        help="a picture of every N-th epoch, by its number (default: 0, whenever something is new)",
    )
    parser.add_argument("--images", metavar="DIR", help="where to (default: RUN/paraview/live)")
    parser.add_argument("--size", default="1280x720", metavar="WxH", help="in pixels (default: 1280x720)")
    parser.add_argument(
        "--wait",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="for a run that is not there yet or has stopped (default: an hour)",
    )
    parser.add_argument(
        "--gui", action="store_true", help="open the ParaView window, which reloads by itself"
    )
    add_settings(parser)
    add_allow_code(parser)


def run(options: argparse.Namespace) -> int:
    """Follow it."""
    from tensorview_insitu.cli.follow import Following, follow, leaving_the_processors
    from tensorview_insitu.cli.render import size_of
    from tensorview_insitu.paraview_states.views import check_view

    if not options.every > 0:
        raise ValueError(f"Expected --every to be a positive number of seconds. Received: {options.every}")
    if options.epochs < 0:
        raise ValueError(f"Expected --epochs to be a positive number, or 0. Received: {options.epochs}")
    views = [check_view(view) for view in options.view or ["dashboard"]]
    following = Following(
        path=Path(options.path),
        views=views,
        settings=settings_of(options),
        every=options.every,
        epochs=options.epochs,
        images=Path(options.images) if options.images else None,
        size=size_of(options.size),
        wait=options.wait,
        allow_code=options.allow_code,
    )
    if options.gui:
        return _window(following)
    with leaving_the_processors():
        return 0 if follow(following, say) else 1


def _window(following: Any) -> int:
    """The ParaView window beside a loop that exports what is new."""
    from tensorview_insitu.cli.exported import export_folder, ready_state
    from tensorview_insitu.cli.follow import keep_exporting, leaving_the_processors, wait_for_run
    from tensorview_insitu.cli.paraview_process import (
        NoParaViewError,
        environment_of_paraview,
        find,
        has_screen,
    )
    from tensorview_insitu.index import INDEX_FILE

    paraview = find("paraview")
    if not has_screen():
        raise NoParaViewError("There is no display to open a window on. Without --gui, live makes pictures.")
    wait_for_run(following, say)
    folder = export_folder(str(following.path)).resolve()
    view = following.views[0]
    with tempfile.TemporaryDirectory() as scratch:
        state = ready_state(
            folder,
            view,
            Path(scratch),
            settings=following.settings,
            allow_code=following.allow_code,
            in_place=True,
        )
        environment = environment_of_paraview()
        environment["TENSORVIEW_INSITU_STATE"] = str(state)
        environment["TENSORVIEW_INSITU_INDEX"] = str(folder / INDEX_FILE)
        environment["TENSORVIEW_INSITU_EVERY"] = str(following.every)
        script = resources.files("tensorview_insitu.scripts") / "live_window.py"
        window = subprocess.Popen([paraview, f"--script={script}"], env=environment)
        try:
            with leaving_the_processors():  # the window itself is to answer at once
                keep_exporting(following, folder, lambda: window.poll() is None)
        finally:
            window.terminate()
        return window.wait() if window.returncode is None else max(0, window.returncode)
