"""Activation maps: what every filter of a layer answers to an image; filters that never answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.network import (
    Floats,
    Network,
    batches,
    checked_images,
    chosen_layer,
    spatial_layer,
)

_AT_ONCE = 256


def activation_maps(network: Network, images: Any, layer: str | None = None) -> tuple[Floats, str]:
    """What every filter of a layer answers.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        layer: its path; by default the one that Grad-CAM would take.

    Returns:
        `(batch, *spatial of the layer, filters)`, and the layer's path.

    Raises:
        ExplainError: there is no such layer, or it answers no maps.
    """
    images = checked_images(network, images)
    layer, _ = chosen_layer(network, layer)
    spatial_layer(network, layer)
    return network.activations(images, layer), layer


def dead_filters(
    network: Network, images: Any, layers: Sequence[str] | None = None
) -> dict[str, NDArray[np.int64]]:
    """By layer, the filters that are zero everywhere, for every image: the more images, the surer.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`; many.
        layers: by default all.

    Raises:
        ExplainError: there is no such layer.
    """
    images = checked_images(network, images)
    found: dict[str, NDArray[np.int64]] = {}
    for name in layers if layers is not None else network.layers():
        layer, _ = chosen_layer(network, name)
        silent = None
        for part in batches(len(images), _AT_ONCE):
            answers = network.activations(images[part], layer)
            zero = np.all(answers == 0, axis=tuple(range(answers.ndim - 1)))
            silent = zero if silent is None else silent & zero
        assert silent is not None
        found[layer] = np.flatnonzero(silent)
    return found
