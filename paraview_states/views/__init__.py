"""The views, one a file: what each shows, from which files, how it looks."""

from __future__ import annotations

import functools
from collections.abc import Callable

from tensorview_insitu.index import Index

from ..drawn_from import failed_parts
from ..followed import Watched
from ..impossible import ImpossibleViewError as ImpossibleViewError
from ..impossible import SettingError as SettingError
from ..scene import Scene
from ..settings import Settings
from ..shown import shown
from .biases import biases
from .compare import compare
from .dashboard import dashboard
from .distributions import distributions
from .explanation import explanation
from .explanation_grid import explanation_grid
from .feature_maps import feature_maps
from .gradient_norms import gradient_norms
from .kernel_grids import kernel_grids
from .kernel_propagation import kernel_propagation
from .layer_health import layer_health
from .network import network
from .quantities import quantities
from .training_curve_3d import training_curve_3d
from .training_curves import training_curves
from .weight_trajectory import weight_trajectory

_View = Callable[[Index, Settings], Scene]


def _made(view: _View) -> _View:
    """The view of printable texts, which says what failed and which settings it follows."""

    @functools.wraps(view)
    def made(index: Index, settings: Settings) -> Scene:
        failed = failed_parts(view.__name__, index, settings)
        narrowed: Index = {**index, "failed": failed}
        printable_index, printable_settings = shown(narrowed, settings)
        watched = Watched.of(printable_settings)
        try:
            scene = view(printable_index, watched)
        except ImpossibleViewError as error:
            raise ImpossibleViewError("; ".join([*failed.values()] or [str(error)])) from None
        except SettingError as error:
            raise SettingError(error.setting, "; ".join([str(error), *failed.values()])) from None
        scene.followed, scene.lacks = watched.followed(scene), list(failed.values())
        return scene

    return made


_RECIPES: tuple[_View, ...] = (
    dashboard,
    training_curve_3d,
    training_curves,
    kernel_propagation,
    kernel_grids,
    biases,
    weight_trajectory,
    feature_maps,
    explanation,
    explanation_grid,
    network,
    gradient_norms,
    layer_health,
    distributions,
    quantities,
    compare,
)

VIEWS: dict[str, _View] = {view.__name__: _made(view) for view in _RECIPES}


def check_view(name: str) -> str:
    """Return `name` when there is such a view.

    Raises:
        ValueError: with the views that there are.
    """
    if name not in VIEWS:
        raise ValueError(f'No view "{name}". There are: {", ".join(VIEWS)}.')
    return name
