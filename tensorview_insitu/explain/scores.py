"""Deletion and insertion curves (Petsiuk et al., arXiv:1806.07421): is a map right about what matters?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.network import (
    ExplainError,
    Floats,
    Network,
    checked_images,
    chosen_classes,
)
from tensorview_insitu.explain.separable import blur


@dataclass(frozen=True)
class Curve:
    """The probability of a class while pixels go or come.

    Args:
        shares: `(points,)`, of the pixels that are changed.
        probabilities: `(batch, points)`; the scores where the network ends in neither softmax nor sigmoid.
        areas: `(batch,)`, under each curve: of deletion, the lower the better; of insertion, the higher.
    """

    shares: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    areas: NDArray[np.float64]


def deletion_curve(
    network: Network, images: Any, maps: Any, target: Any = None, *, points: int = 33, fill: float = 0.0
) -> Curve:
    """The probability while the most important pixels are filled first.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        maps: `(batch, *spatial)`, from any method.
        target: the class, for all images or for each; by default the one that scores highest.
        points: on the curve, both ends included.
        fill: what takes the pixels' place.

    Raises:
        ExplainError: no such class; maps of another size; fewer than two points.
    """
    images = checked_images(network, images)
    return _curve(network, images, np.full_like(images, fill), maps, target, points)


def insertion_curve(
    network: Network, images: Any, maps: Any, target: Any = None, *, points: int = 33, sigma: float = 10.0
) -> Curve:
    """The probability while a blurred image gets its most important pixels first.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        maps: `(batch, *spatial)`, from any method.
        target: the class, for all images or for each; by default the one that scores highest.
        points: on the curve, both ends included.
        sigma: of the blur, in pixels.

    Raises:
        ExplainError: no such class; maps of another size; fewer than two points.
    """
    images = checked_images(network, images)
    classes = chosen_classes(network, images, target)
    return _curve(network, blur(images, sigma), images, maps, classes, points)


def _curve(network: Network, start: Floats, end: Floats, maps: Any, target: Any, points: int) -> Curve:
    ranked = np.asarray(maps, np.float32)
    if ranked.shape != start.shape[:-1]:
        raise ExplainError(f"Expected maps of shape {start.shape[:-1]}. Received: {ranked.shape}.")
    if points < 2:
        raise ExplainError(f"Expected points to be at least 2. Received: {points}.")
    classes = chosen_classes(network, start, target)
    size = int(np.prod(ranked.shape[1:]))
    counts = np.round(np.linspace(0, size, points)).astype(int)
    probabilities = np.empty((len(start), points))
    for number, one in enumerate(ranked):
        order = np.argsort(-one.ravel(), kind="stable")
        rank = np.empty(size, int)
        rank[order] = np.arange(size)
        changed = rank.reshape(one.shape)[None] < counts.reshape(-1, *[1] * one.ndim)
        stages = np.where(changed[..., None], end[number], start[number])
        probabilities[number] = network.predict(stages).probabilities[:, classes[number]]
    shares = counts / size
    heights = (probabilities[:, 1:] + probabilities[:, :-1]) / 2
    return Curve(shares, probabilities, (heights * np.diff(shares)).sum(axis=1))
