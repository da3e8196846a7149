"""Every filter of a layer as its small grid of weights; or how far it moved between two epochs."""

from __future__ import annotations

from tensorview_insitu.index import Index, TilesIndex, Times

from .. import colour_maps, look
from ..impossible import SettingError
from ..layers import kernel_doubt, layers_with
from ..scene import WINDOW, Node, Scene, View
from ..settings import Settings
from ..tiles import how_many, tiles_view
from .kernel_propagation import weight_range


def kernel_grids(index: Index, settings: Settings) -> Scene:
    """The paper's figure 5; with `between`, the difference of two epochs."""
    layer, tiles = layers_with(index, lambda one: one["grids"], "kernel", settings.layer)[0]
    times = tiles["times"]
    if settings.between is not None:
        at = _number(times, settings.between[1])
        times = {"epochs": [times["epochs"][at]], "steps": [times["steps"][at]]}
    scene = look.new_scene(index, settings, "Kernel grids", times)
    scene.layout = grids_view(scene, index, layer, tiles, settings, pane=WINDOW, large=True)
    return scene


def grids_view(
    scene: Scene,
    index: Index,
    layer: str,
    tiles: TilesIndex,
    settings: Settings,
    *,
    pane: tuple[int, int],
    large: bool = False,
) -> View:
    """The tiles of one layer, in a scene of their own or among others."""
    source, array, limits = scene.read(tiles["file"]), "weight", tiles["range"]
    title = f"{layer}: {tiles['about']}{how_many(tiles)}"
    if settings.between is not None:
        source, array, limits = _difference(scene, tiles, settings.between), "difference", _moved(tiles)
        title = f"{layer}: weight at epoch {settings.between[1]:g} less that at epoch {settings.between[0]:g}"
    elif settings.colour_range == "all":
        limits = weight_range(index, limits, settings)
    title += kernel_doubt(index, layer)
    colours = scene.colour_map(array, **colour_maps.chosen(settings.colours, *limits, is_signed=True))
    view = tiles_view(
        scene,
        f"grids of {layer}",
        tiles,
        source,
        array,
        colours,
        settings,
        bar=array,
        title=f"{look.run_name(index)}, {title}" if large else title,
        pane=pane,
        large=large,
    )
    if settings.between is None:
        look.epoch_caption(scene, view, "epoch of grids", source, large=large)
    return view


def _difference(scene: Scene, tiles: TilesIndex, between: tuple[float, float]) -> Node:
    """The later less the earlier; ParaView calls the second of two arrays of one name `weight_input_1`."""
    earlier, later = (_file(tiles, epoch) for epoch in between)
    both = scene.source("AppendAttributes", "both epochs", Input=[scene.read(later), scene.read(earlier)])
    return scene.source(
        "Calculator",
        "difference",
        Input=both,
        AttributeType=1,  # cells
        Function="weight - weight_input_1",
        ResultArrayName="difference",
    )


def _file(tiles: TilesIndex, epoch: float) -> str:
    step = tiles["times"]["steps"][_number(tiles["times"], epoch)]
    return tiles["pattern"].format(step=int(step))


def _number(times: Times, epoch: float) -> int:
    if epoch not in times["epochs"]:
        known = times["epochs"]
        raise SettingError(
            "between",
            f"No kernels of epoch {epoch:g} in this export. It holds {len(known)} moments, "
            f"from epoch {known[0]:g} to {known[-1]:g}.",
        )
    return times["epochs"].index(epoch)


def _moved(tiles: TilesIndex) -> tuple[float, float]:
    # No two moments can differ by more than both differ from the first.
    low, high = tiles["change_range"]
    return min(low, -high), max(high, -low)
