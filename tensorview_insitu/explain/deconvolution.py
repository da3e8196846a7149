"""Deconvolution (Zeiler and Fergus, arXiv:1311.2901) and guided backpropagation (arXiv:1412.6806).

The way down: max pooling is undone with the switches of the way up, a ReLU lets what is positive
through (guided: also only where it was open on the way up), a convolution is undone with the same filters,
transposed, without biases. What the paper does not cover: average pooling spreads a signal evenly, batch
normalization counts as the affine map that it is in inference, strides and even kernels are those of the
transposed convolution. Networks with other activations than ReLU are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.network import (
    ExplainError,
    Explanation,
    Floats,
    Network,
    Rule,
    Target,
    check_filters,
    checked_images,
    chosen_classes,
    chosen_layer,
    spatial_layer,
)

Keep = Literal["strongest", "map"]


def deconvolution(
    network: Network,
    images: Any,
    layer: str | None = None,
    *,
    filters: int | None = None,
    place: Sequence[int] | None = None,
    keep: Keep = "strongest",
) -> Explanation:
    """What in the image an activation comes from.

    Args:
        network: of ReLUs.
        images: `(batch, *spatial, channels)`.
        layer: whose activation; by default the one that Grad-CAM would take.
        filters: the filter whose activation is kept; by default, for each image, that of the strongest one.
        place: `(*spatial of the layer)`, which of its activations; by default as `keep` says.
        keep: only the filter's strongest activation, as in the paper, or all of its map.

    Returns:
        Maps of the absolute reconstruction, its strongest channel at each place; `about` has the
        signed `reconstruction (batch, *spatial, channels)`, and which activations were kept.

    Raises:
        ExplainError: the network has other activations than ReLUs; no such layer, filter or place.
    """
    return _reconstruct(network, images, layer, filters, place, keep, "deconvolution")


def guided_backpropagation(network: Network, images: Any, target: Target = None) -> Explanation:
    """The guided gradient of a class's score.

    Args:
        network: of ReLUs.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.

    Returns:
        Maps of the largest absolute value over the channels; `about` has the signed
        `reconstruction (batch, *spatial, channels)`.

    Raises:
        ExplainError: the network has other activations than ReLUs.
    """
    images = checked_images(network, images)
    classes = chosen_classes(network, images, target)
    _, found = network.gradients(images, classes, rule="guided")
    about = {"reconstruction": found, "score": network.score_is}
    return Explanation(np.abs(found).max(axis=-1), classes, about)


def _reconstruct(
    network: Network,
    images: Any,
    layer: str | None,
    filters: int | None,
    place: Sequence[int] | None,
    keep: Keep,
    rule: Rule,
) -> Explanation:
    images = checked_images(network, images)
    layer, why = chosen_layer(network, layer)
    spatial_layer(network, layer)
    answers = network.activations(images, layer)
    chosen = _filters(answers, filters, layer)
    signal = np.zeros_like(answers)
    places = []
    for number, one in enumerate(chosen):
        of_filter = answers[number, ..., one]
        if place is None and keep == "map":
            signal[number, ..., one] = of_filter
            continue
        at = _place(of_filter, place, layer)
        signal[(number, *at, one)] = of_filter[at]
        places.append(at)
    found = network.pull_back(images, layer, signal, rule)
    about = {
        "reconstruction": found,
        "layer": layer,
        "layer_why": why,
        "filters": chosen.tolist(),
        "places": places,
    }
    return Explanation(np.abs(found).max(axis=-1), np.empty(0, np.int64), about)


def _filters(answers: Floats, filters: int | None, layer: str) -> NDArray[np.int64]:
    count = answers.shape[-1]
    if filters is None:
        strongest = answers.reshape(len(answers), -1, count).max(axis=1)
        best: NDArray[np.int64] = np.argmax(strongest, axis=1).astype(np.int64)
        return best
    check_filters(layer, count, filters)
    return np.full(len(answers), filters, np.int64)


def _place(of_filter: Floats, place: Sequence[int] | None, layer: str) -> tuple[int, ...]:
    if place is None:
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(of_filter)), of_filter.shape))
    at = tuple(int(i) for i in place)
    if len(at) != of_filter.ndim or any(not 0 <= i < n for i, n in zip(at, of_filter.shape, strict=True)):
        raise ExplainError(f'The maps of layer "{layer}" are {of_filter.shape}. Received: place={at}.')
    return at
