"""Render: pictures of the run while it trains, made by a process of their own."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tensorview_insitu.cli.paraview_process import NoParaViewError, find

_log = logging.getLogger("tensorview_insitu")
_LOG_FILE = "render.log"
# How long the child waits for a training that has stopped to go on.
_WAIT_SECONDS = 60


class Render:
    """Have pictures made of every n-th epoch, in ParaView, while the training runs.

    A child process at low priority reads the run as anybody could, so the training never waits for a
    picture; where the child falls behind, it leaves some out and says so in its log. It is never done in this
    process: ParaView and TensorFlow cannot draw and train in one. It ends with the run.

    Args:
        views: which, as `["dashboard", "kernel_propagation"]`.
        every: a picture of every so many-th epoch.
        images: the folder of the pictures; by default `paraview/live` in the run's. Each view has a folder
            there with `epoch_00005.png`, ..., and its newest picture and its movie beside it.
        options: more of what `tensorview-insitu live` takes, as `["--layer", "conv1"]`.

    Raises:
        ValueError: no view is given, or `every` is no positive int.
    """

    def __init__(
        self,
        views: Sequence[str] = ("dashboard",),
        every: int = 1,
        *,
        images: str | Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        from tensorview_insitu.paraview_states.views import check_view

        if isinstance(views, str) or not views:
            raise ValueError(f'Expected views to be a list such as ["dashboard"]. Received: {views!r}.')
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"Expected every to be a positive int. Received: every={every!r}.")
        self.views = [check_view(view) for view in views]
        self.every = every
        self.images = images
        self.options = list(options)
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, run: Path) -> str | None:
        """Start the child, unless it runs; why that cannot be, or None."""
        if self._child is not None and self._child.poll() is None:
            return None
        try:
            find("pvpython")
        except NoParaViewError as error:
            return f"no pictures are made: {error}"
        # The whole path: one that begins with a dash would be an option.
        command = [sys.executable, "-m", "tensorview_insitu", "live", str(run.absolute())]
        command += ["--view", *self.views]
        command += ["--epochs", str(self.every), "--every", "1", "--wait", str(_WAIT_SECONDS)]
        command += ["--images", str(self.images)] if self.images is not None else []
        try:
            with open(run / _LOG_FILE, "ab") as log:
                # A session of its own: Ctrl-C is for the training, and the last pictures come after its end.
                self._child = subprocess.Popen(
                    [*command, *self.options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            return f"no pictures are made: {error}"
        _log.info("pictures of %s are made by process %d", run, self._child.pid)
        return None

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the child has made its last picture; whether it has.

        Args:
            seconds: the longest; None waits as long as it takes.
        """
        if self._child is None:
            return True
        try:
            self._child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
