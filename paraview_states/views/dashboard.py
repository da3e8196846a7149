"""Four views with one time: curves, kernels, gradients, and what the layers answer."""

from __future__ import annotations

from tensorview_insitu.index import Index, Times

from .. import look
from ..impossible import ImpossibleViewError
from ..scene import Scene, View
from ..settings import Settings
from .feature_maps import maps_view
from .gradient_norms import gradient_heat_map
from .kernel_grids import grids_view
from .kernel_propagation import kernel_surface
from .layer_health import grid
from .training_curves import curve_view

_PANE = (640, 360)


def dashboard(index: Index, settings: Settings) -> Scene:
    """What `open` shows: whatever of the four the run has."""
    scene = look.new_scene(index, settings, "Dashboard", _times(index))
    views: list[View] = []
    if index["metrics"] and index["metrics"][0]["training"] is not None:
        views.append(curve_view(scene, index, index["metrics"][0]))
    with_kernels = [layer for layer in index["layers"] if layer["sheets"] is not None]
    if with_kernels:
        views.append(kernel_surface(scene, index, settings))
    if index["gradient_norms"] is not None:
        views.append(gradient_heat_map(scene, index, settings, pane=_PANE))
    maps = [one for one in index["feature_maps"] if settings.layer in (None, one["layer"])]
    if maps:
        views.append(maps_view(scene, maps[0], settings, pane=_PANE))
    elif with_kernels and with_kernels[0]["grids"] is not None:
        # Without activations, the filters themselves.
        chosen = next((one for one in with_kernels if one["name"] == settings.layer), with_kernels[0])
        assert chosen["grids"] is not None
        views.append(grids_view(scene, index, chosen["name"], chosen["grids"], settings, pane=_PANE))
    if not views:
        raise ImpossibleViewError("the run has neither metrics, kernels, gradients nor activations")
    scene.layout = grid(views)
    return scene


def _times(index: Index) -> Times:
    kernels = [layer["sheets"]["times"] for layer in index["layers"] if layer["sheets"] is not None]
    held = [index["epochs"], *kernels]
    # The one with the most moments: the others stand still between theirs.
    longest = max(held, key=lambda times: len(times["epochs"]))
    if longest["epochs"]:
        return longest
    return {"epochs": [index["run"]["epochs"]], "steps": [float(index["run"]["steps"])]}
