"""The images of a set that excite a filter most, and the patch of each that it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.network import (
    Floats,
    Network,
    batches,
    check_filters,
    checked_images,
    chosen_layer,
    spatial_layer,
)

_AT_ONCE = 256
_PROBES = 8


@dataclass(frozen=True)
class Excitement:
    """Where a filter answered most.

    Args:
        layer: the layer.
        filter: the filter.
        images: `(top,)`, the numbers of the images, the most exciting one first.
        answers: `(top,)`, the filter's strongest answer to each.
        places: `(top, spatial axes)`, where in the layer's map that was.
        patches: for each, the first and last pixel (exclusive) along each axis of what the filter sees there.
    """

    layer: str
    filter: int
    images: NDArray[np.int64]
    answers: Floats
    places: NDArray[np.int64]
    patches: list[tuple[tuple[int, int], ...]]


def exciting_images(
    network: Network, images: Any, filter: int, layer: str | None = None, *, top: int = 9
) -> Excitement:
    """The images that excite a filter most.

    Args:
        network: of ReLUs, for the patches.
        images: `(batch, *spatial, channels)`; many.
        filter: the filter.
        layer: its layer's path; by default the last one with maps.
        top: how many images.

    Raises:
        ExplainError: no such layer or filter.
    """
    images = checked_images(network, images)
    layer, _ = chosen_layer(network, layer)
    count = spatial_layer(network, layer)[-1] or 0
    check_filters(layer, count, filter)
    strongest, where = [], []
    for part in batches(len(images), _AT_ONCE):
        answers = network.activations(images[part], layer)[..., filter]
        flat = answers.reshape(len(answers), -1)
        strongest.append(flat.max(axis=1))
        where.append(np.stack(np.unravel_index(flat.argmax(axis=1), answers.shape[1:]), axis=1))
    values, places = np.concatenate(strongest), np.concatenate(where)
    order = np.argsort(-values, kind="stable")[:top]
    patches = [seen_patch(network, layer, filter, places[i].tolist(), images.shape[1:]) for i in order]
    return Excitement(layer, filter, order, values[order], places[order], patches)


def seen_patch(
    network: Network, layer: str, filter: int, place: Sequence[int], shape: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """The pixels that one activation depends on, whatever the image: along each axis, first and last.

    Found by pulling a signal back as if there were no ReLUs, through the switches of several random
    images, for max pooling lets one pixel of each window through.

    Args:
        network: of ReLUs.
        layer: the layer.
        filter: the filter.
        place: of the activation, in the layer's map.
        shape: of the image, `(*spatial, channels)`.

    Raises:
        ExplainError: the network has other activations than ReLUs.
    """
    rng = np.random.default_rng(0)
    noise = rng.random((_PROBES, *shape), np.float32)
    signal = np.zeros_like(network.activations(noise, layer))
    at: tuple[Any, ...] = (slice(None), *place, filter)
    signal[at] = 1
    back = np.abs(network.pull_back(noise, layer, signal, "linear")).max(axis=(0, -1))
    if not back.any():
        return tuple((0, n) for n in shape[:-1])
    return tuple((int(i.min()), int(i.max()) + 1) for i in np.nonzero(back))
