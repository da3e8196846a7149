"""Integrated gradients (Sundararajan et al., arXiv:1703.01365)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorview_insitu.explain.network import (
    ExplainError,
    Explanation,
    Network,
    Of,
    Target,
    batches,
    checked_images,
    chosen_classes,
)

_AT_ONCE = 64


def integrated_gradients(
    network: Network,
    images: Any,
    target: Target = None,
    *,
    baseline: Any = 0.0,
    steps: int = 50,
    of: Of = "score",
    multiply_by_inputs: bool = True,
) -> Explanation:
    """The gradient, integrated on the straight way from a baseline to the image (trapezoidal rule).

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        baseline: an image without information: a number, or anything that broadcasts to the images.
        steps: points on the way, both ends included.
        of: the score, or the probability.
        multiply_by_inputs: times what lies between image and baseline; without it, maps do not add up.

    Returns:
        Signed maps, summed over the channels. `about["completeness_error"]`, `(batch,)`: the sum of each
        map less the difference of the scores of image and baseline, which is 0 for infinitely many steps.

    Raises:
        ExplainError: no such class; fewer than two steps.
    """
    images = checked_images(network, images)
    if steps < 2:
        raise ExplainError(f"Expected steps to be at least 2. Received: {steps}.")
    classes = chosen_classes(network, images, target)
    start = np.broadcast_to(np.asarray(baseline, np.float32), images.shape)
    shares = np.linspace(0, 1, steps, dtype=np.float32)
    weights = np.full(steps, 1 / (steps - 1), np.float32)
    weights[[0, -1]] /= 2
    means = np.empty_like(images)
    ends = np.empty((len(images), 2), np.float32)
    for number, (image, first) in enumerate(zip(images, start, strict=True)):
        total = np.zeros(image.shape, np.float64)
        values = np.empty(steps, np.float32)
        for part in batches(steps, _AT_ONCE):
            along = shares[part].reshape(-1, *[1] * image.ndim)
            way = first + along * (image - first)
            chosen = np.full(len(way), classes[number])
            values[part], gradients = network.gradients(way, chosen, of=of)
            total += np.tensordot(weights[part], gradients, axes=1)
        means[number], ends[number] = total, values[[0, -1]]
    maps = ((images - start) * means).sum(axis=-1) if multiply_by_inputs else means.sum(axis=-1)
    about: dict[str, Any] = {"score": network.score_is if of == "score" else "probability", "steps": steps}
    if multiply_by_inputs:
        sums = maps.reshape(len(maps), -1).sum(axis=1, dtype=np.float64)
        about["completeness_error"] = sums - (ends[:, 1] - ends[:, 0])
    return Explanation(maps, classes, about)
