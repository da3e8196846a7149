"""The views, one a file: what each shows, from which files, how it looks."""

from __future__ import annotations

from collections.abc import Callable

from tensorview_insitu.index import Index

from ..scene import Scene
from .gradient_norms import gradient_norms
from .impossible import ImpossibleViewError as ImpossibleViewError
from .kernel_propagation import kernel_propagation
from .training_curve_3d import training_curve_3d
from .training_curves import training_curves

VIEWS: dict[str, Callable[[Index], Scene]] = {
    "training_curve_3d": training_curve_3d,
    "training_curves": training_curves,
    "kernel_propagation": kernel_propagation,
    "gradient_norms": gradient_norms,
}


def check_view(name: str) -> str:
    """Return `name` when there is such a view.

    Raises:
        ValueError: with the views that there are.
    """
    if name not in VIEWS:
        raise ValueError(f'No view "{name}". There are: {", ".join(VIEWS)}.')
    return name
