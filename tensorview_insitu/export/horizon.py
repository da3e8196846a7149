"""How far a training that still runs is planned to go: axes that reach there do not grow with every epoch."""

from __future__ import annotations

from dataclasses import dataclass

from tensorview_insitu.index import Range
from tensorview_insitu.run.identity import RUNNING
from tensorview_insitu.run.reader import Run


@dataclass(frozen=True)
class Horizon:
    """The planned end; zero where there is none, or it is past.

    Args:
        epochs: the last epoch.
        steps: the last step.
    """

    epochs: float = 0.0
    steps: int = 0

    def epoch_range(self, extent: Range) -> Range:
        """`extent`, up to the planned end."""
        return extent[0], max(extent[1], self.epochs)


def horizon_of(run: Run) -> Horizon:
    """The planned end of a run that is being written; none for others."""
    about = run.identity
    epochs, steps = about.get("planned_epochs"), about.get("steps_per_epoch")
    if run.status != RUNNING or not isinstance(epochs, int):
        return Horizon()
    return Horizon(float(epochs), epochs * steps if isinstance(steps, int) else 0)
