"""Filter visualization: the kernels themselves. Those of 3 x 3 show no shapes, those of 7 x 7 do."""

from __future__ import annotations

import numpy as np

from tensorview_insitu.explain.network import Floats, Network, chosen_layer


def filter_kernels(network: Network, layer: str) -> Floats:
    """Every filter of a convolution as its grid of weights.

    Args:
        network: the network.
        layer: its path.

    Returns:
        `(filters, *grid, channels)`.

    Raises:
        ExplainError: there is no such layer, or it is no convolution.
    """
    name, _ = chosen_layer(network, layer)
    return np.moveaxis(network.kernel(name), -1, 0)
