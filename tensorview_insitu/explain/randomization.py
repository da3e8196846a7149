"""Sanity check (Adebayo et al., arXiv:1810.03292): does a map change when the weights are shuffled?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.focus import rank_correlation
from tensorview_insitu.explain.network import Explanation, Network, checked_images


@dataclass(frozen=True)
class Sanity:
    """How alike a map is to that of the shuffled network.

    Args:
        layers: shuffled one after the other, from the answer down to the image.
        similarity: `(layers, batch)`, the rank correlation of absolute values with the map before, after
            that layer and all above it were shuffled; a sane method's falls towards 0.
    """

    layers: list[str]
    similarity: NDArray[np.float64]


def randomization_check(
    method: Callable[..., Explanation], network: Network, images: Any, *, seed: int = 0, **settings: Any
) -> Sanity:
    """Does the map change when the weights are shuffled, layer by layer from the answer down?

    The class that is explained stays the one of the trained network.

    Args:
        method: such as `grad_cam`.
        network: the network; its weights are put back.
        images: `(batch, *spatial, channels)`.
        seed: of the shuffling.
        **settings: of the method.

    Raises:
        ExplainError: as the method does.
    """
    images = checked_images(network, images)
    before = method(network, images, **settings)
    if before.classes.size:
        settings = {**settings, "target": before.classes}
    layers = list(reversed(network.weights()))
    rows = []
    for count in range(1, len(layers) + 1):
        with network.shuffled(layers[:count], seed):
            after = method(network, images, **settings)
        pairs = zip(before.maps, after.maps, strict=True)
        rows.append([rank_correlation(np.abs(a), np.abs(b)) for a, b in pairs])
    return Sanity(layers, np.array(rows))
