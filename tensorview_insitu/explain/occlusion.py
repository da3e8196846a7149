"""Occlusion (Zeiler and Fergus, arXiv:1311.2901, section 4.2): what hides, and what the answer loses."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tensorview_insitu.explain.network import (
    ExplainError,
    Explanation,
    Floats,
    Network,
    Of,
    Target,
    answers_of,
    batches,
    checked_images,
    chosen_classes,
)
from tensorview_insitu.explain.separable import blur

_AT_ONCE = 128
Fill = float | Literal["mean", "blur"]


def occlusion(
    network: Network,
    images: Any,
    target: Target = None,
    *,
    patch: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    fill: Fill = "mean",
    of: Of = "probability",
) -> Explanation:
    """How much the answer drops when a patch is hidden; each place has the mean over the patches that hid it.

    Patches lie every `stride` pixels from the first corner on, the last ones flush with the far edges, so
    that every place is hidden at least once.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        patch: its size, in pixels; by default an eighth of the image's smaller side.
        stride: from patch to patch; by default half a patch.
        fill: what hides: a number, the image's mean colour, or the image itself, blurred (sigma: a
            quarter of a patch).
        of: the probability, or the score.

    Returns:
        Maps: positive where hiding hurts.

    Raises:
        ExplainError: no such class; a patch larger than the image; an unknown fill.
    """
    images = checked_images(network, images)
    size = images.shape[1:-1]
    patches = _sizes(patch if patch is not None else max(1, min(size) // 8), size, "patch")
    default = [max(1, n // 2) for n in patches]
    strides = _sizes(stride if stride is not None else default, size, "stride")
    classes = chosen_classes(network, images, target)
    fills = _fills(images, fill, patches)
    corners = list(itertools.product(*map(_starts, size, patches, strides)))
    base = answers_of(network, images, classes, of)
    total = np.zeros((len(images), *size), np.float32)
    count = np.zeros(size, np.float32)
    where = [tuple(slice(i, i + n) for i, n in zip(at, patches, strict=True)) for at in corners]
    for place in where:
        count[place] += 1
    for number, image in enumerate(images):
        for part in batches(len(where), _AT_ONCE):
            hidden = np.repeat(image[None], len(where[part]), axis=0)
            for one, place in zip(hidden, where[part], strict=True):
                one[place] = fills[number][place]
            chosen = np.full(len(hidden), classes[number])
            drops = base[number] - answers_of(network, hidden, chosen, of)
            for drop, place in zip(drops, where[part], strict=True):
                total[number][place] += drop
    about = {
        "patch": patches,
        "stride": strides,
        "fill": fill,
        "of": of,
        "score": network.score_is,
        "forward_passes": len(corners) * len(images),
    }
    return Explanation((total / count).astype(np.float32), classes, about)


def _sizes(given: int | Sequence[int], size: tuple[int, ...], what: str) -> tuple[int, ...]:
    sizes = (given,) * len(size) if isinstance(given, int) else tuple(given)
    if len(sizes) != len(size) or any(not 1 <= n <= m for n, m in zip(sizes, size, strict=True)):
        raise ExplainError(f"Expected {what} to be from 1 to the image's size {size}. Received: {given}.")
    return sizes


def _starts(size: int, patch: int, stride: int) -> list[int]:
    starts = list(range(0, size - patch + 1, stride))
    return starts if starts[-1] == size - patch else [*starts, size - patch]


def _fills(images: Floats, fill: Fill, patches: tuple[int, ...]) -> Floats:
    if fill == "mean":
        mean = images.mean(axis=tuple(range(1, images.ndim - 1)), keepdims=True)
        return np.broadcast_to(mean, images.shape)
    if fill == "blur":
        return blur(images, max(patches) / 4)
    if isinstance(fill, str):
        raise ExplainError(f'Expected fill to be a number, "mean" or "blur". Received: "{fill}".')
    return np.broadcast_to(np.float32(fill), images.shape)
