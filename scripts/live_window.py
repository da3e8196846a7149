"""Follow a run in the ParaView window: paraview --script=live_window.py.

The environment names the state (TENSORVIEW_INSITU_STATE), which whoever names it has checked, the index of
its export (TENSORVIEW_INSITU_INDEX), and the seconds between two looks (TENSORVIEW_INSITU_EVERY). Whenever
the
export has grown, its files are read again and time goes to the newest; whoever looks at an earlier time is
left there. `tensorview-insitu live RUN --gui` does all of it.
"""

import os

import paraview.simple
from paraview.simple import *

STATE = os.environ["TENSORVIEW_INSITU_STATE"]
INDEX = os.environ["TENSORVIEW_INSITU_INDEX"]
EVERY = float(os.environ.get("TENSORVIEW_INSITU_EVERY", "5"))


class Follower:
    """Reads everything again when the export has grown."""

    def __init__(self):
        self.seen = self.changed()
        self.shown = GetAnimationScene().AnimationTime
        self.view = GetRenderViews()[0]
        if self.view.GetInteractor() is None:  # pvpython has no window until one is asked for
            self.view.MakeRenderWindowInteractor(True)
        interactor = self.view.GetInteractor()
        interactor.AddObserver("TimerEvent", self.look)
        interactor.CreateRepeatingTimer(int(EVERY * 1000))

    def changed(self):
        """When index.json, which is written last, was written."""
        return os.stat(INDEX).st_mtime_ns

    def look(self, *_):
        """Once every so many seconds."""
        try:
            now = self.changed()
        except OSError:  # it is being replaced
            return
        if now == self.seen:
            return
        self.seen = now
        animation = GetAnimationScene()
        goes_along = self.shown == animation.AnimationTime
        for source in GetSources().values():
            if source.GetProperty("FileName") is not None:
                ReloadFiles(source)
                source.UpdatePipelineInformation()
        animation.UpdateAnimationUsingDataTimeSteps()
        if goes_along:
            self.shown = animation.AnimationTime = animation.EndTime
        RenderAllViews()


paraview.simple._DisableFirstRenderCameraReset()
LoadState(STATE)
follower = Follower()
