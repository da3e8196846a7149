"""Saliency (Simonyan et al., arXiv:1312.6034), SmoothGrad (arXiv:1706.03825), gradient times input."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorview_insitu.explain.network import (
    Explanation,
    Network,
    Target,
    batches,
    checked_images,
    chosen_classes,
)

_AT_ONCE = 64


def saliency(network: Network, images: Any, target: Target = None) -> Explanation:
    """How much a class's score changes with each pixel: the largest absolute gradient of its channels.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.

    Raises:
        ExplainError: no such class.
    """
    images = checked_images(network, images)
    classes = chosen_classes(network, images, target)
    _, gradients = network.gradients(images, classes)
    return Explanation(np.abs(gradients).max(axis=-1), classes, {"score": network.score_is})


def smooth_grad(
    network: Network,
    images: Any,
    target: Target = None,
    *,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
) -> Explanation:
    """Saliency of the mean gradient over noisy copies of each image.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        samples: copies of each image.
        noise: its standard deviation, as a share of the image's range.
        seed: of the noise.

    Raises:
        ExplainError: no such class.
    """
    images = checked_images(network, images)
    classes = chosen_classes(network, images, target)
    rng = np.random.default_rng(seed)
    space = tuple(range(1, images.ndim))
    spread = noise * (images.max(axis=space, keepdims=True) - images.min(axis=space, keepdims=True))
    total = np.zeros_like(images)
    copies = max(1, _AT_ONCE // len(images))
    for part in batches(samples, copies):
        count = part.stop - part.start
        noisy = images + spread * rng.standard_normal((count, *images.shape), np.float32)
        flat = noisy.reshape(-1, *images.shape[1:])
        _, gradients = network.gradients(flat, np.tile(classes, count))
        total += gradients.reshape(noisy.shape).sum(axis=0)
    about = {"score": network.score_is, "samples": samples, "noise": noise}
    return Explanation(np.abs(total / samples).max(axis=-1), classes, about)


def gradient_times_input(network: Network, images: Any, target: Target = None) -> Explanation:
    """The gradient of a class's score times the pixel, summed over its channels: signed.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.

    Raises:
        ExplainError: no such class.
    """
    images = checked_images(network, images)
    classes = chosen_classes(network, images, target)
    _, gradients = network.gradients(images, classes)
    return Explanation((gradients * images).sum(axis=-1), classes, {"score": network.score_is})
