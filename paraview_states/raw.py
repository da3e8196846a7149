"""One variable as it lies in run.h5: a block of x = filter, y = column, z = row, and nothing else."""

from __future__ import annotations

from tensorview_insitu.index import ZeroCopyIndex

from . import colour_maps, look
from .scene import Scene
from .settings import Settings
from .shown import shown_part

_LONG = 2.6


def raw_variable(about: ZeroCopyIndex, settings: Settings) -> Scene:
    """A scene that reads run.h5 itself, through a file beside it."""
    about = shown_part(about)
    doubt = look.NOT_TRUSTED * about["untrusted"]
    title = f"{about['layer']}/{about['variable']}{doubt} of {about['run']}"
    scene = Scene(title, list(about["times"]["epochs"]), settings.theme, run=about["run"])
    source = scene.read(about["file"])
    limits = about["range"]
    colours = scene.colour_map(
        about["array"], **colour_maps.chosen(settings.colours, *limits, is_signed=limits[0] < 0)
    )
    size = [float(max(1, n - 1)) for n in about["size"]]
    # Each value a cube would make a stick of a kernel with many filters: the block is drawn compact.
    lengths = [_LONG if n > 1 else 0.2 for n in about["size"][:1]] + [
        1.3 if n > 1 else 0.2 for n in about["size"][1:]
    ]
    scale = [length / n for length, n in zip(lengths, size, strict=True)]
    middle = [length / 2 for length in lengths]
    names = _axes(about["dims"])
    view = look.render_view(
        scene,
        title,
        position=[middle[0] - 2.4, middle[1] - 4.0, middle[2] + 2.6],
        focus=[middle[0] + 0.1, middle[1], middle[2]],
        up=[0.0, 0.0, 1.0],
        parallel_scale=1.55,
        large=True,
        axes={
            **{f"{axis}Title": name for axis, name in zip("XYZ", names, strict=True)},
            "DataScale": scale,
            **look.ticks("X", (0.0, size[0])),
            **look.ticks("Y", (0.0, size[1]), 4),
            **look.ticks("Z", (0.0, size[2]), 4, inside=True),
        },
    )
    drawn = scene.transform("scaled", source, Scale=scale)
    view.show(
        drawn,
        "StructuredGridRepresentation",
        Representation="Surface",
        **look.by_array(about["array"], colours, flat=True),
    )
    look.colour_bar(view, colours, about["array"], large=True)
    look.caption(scene, view, "caption", f"{title}, read from run.h5", large=True)
    look.epoch_caption(scene, view, "epoch", source, large=True)
    scene.layout = view
    return scene


def _axes(dims: list[str]) -> list[str]:
    shown = dims if len(dims) <= 3 else [dims[0], dims[1], dims[-1]]
    return [*reversed(shown), *[""] * (3 - len(shown))]
