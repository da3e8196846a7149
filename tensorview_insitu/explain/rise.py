"""RISE (Petsiuk et al., arXiv:1806.07421): random masks, each weighted with the answer it allows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorview_insitu.explain.network import (
    ExplainError,
    Explanation,
    Floats,
    Network,
    Target,
    batches,
    checked_images,
    chosen_classes,
)
from tensorview_insitu.explain.separable import apply, resizing

_AT_ONCE = 128


def rise(
    network: Network,
    images: Any,
    target: Target = None,
    *,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    fill: float = 0.0,
    seed: int = 0,
) -> Explanation:
    """Which places are shown when the answer is strong.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        masks: how many; the same ones for all images.
        cells: of a mask along each axis, before it is enlarged smoothly.
        keep: the probability that a cell is shown.
        fill: what a hidden place is.
        seed: of the masks.

    Returns:
        Maps: the mean probability, given that a place is shown.

    Raises:
        ExplainError: no such class; no masks.
    """
    images = checked_images(network, images)
    if masks < 1 or cells < 1 or not 0 < keep <= 1:
        raise ExplainError(
            f"Expected masks >= 1, cells >= 1 and 0 < keep <= 1. Received: {masks}, {cells}, {keep}."
        )
    classes = chosen_classes(network, images, target)
    size = images.shape[1:-1]
    rng = np.random.default_rng(seed)
    total = np.zeros(images.shape[:-1], np.float64)
    for part in batches(masks, _AT_ONCE):
        shown = _masks(rng, part.stop - part.start, size, cells, keep)
        for number, image in enumerate(images):
            perturbed = fill + (image - fill) * shown[..., None]
            answers = network.predict(perturbed).probabilities[:, classes[number]]
            total[number] += np.tensordot(answers.astype(np.float64), shown, axes=1)
    about = {"masks": masks, "seed": seed, "forward_passes": masks * len(images)}
    return Explanation((total / (masks * keep)).astype(np.float32), classes, about)


def _masks(rng: np.random.Generator, count: int, size: tuple[int, ...], cells: int, keep: float) -> Floats:
    # One cell more than the image has room for: each mask is cut out of it at a random offset.
    larger = [(cells + 1) * -(-n // cells) for n in size]
    coarse = (rng.random((count, *[cells] * len(size))) < keep).astype(np.float32)
    smooth = apply([resizing(cells, n) for n in larger], coarse)
    cut = np.empty((count, *size), np.float32)
    for number, one in enumerate(smooth):
        offsets = [int(rng.integers(0, m - n + 1)) for n, m in zip(size, larger, strict=True)]
        cut[number] = one[tuple(slice(o, o + n) for o, n in zip(offsets, size, strict=True))]
    return cut
