"""Grad-CAM (Selvaraju et al., arXiv:1610.02391) and its relatives.

Grad-CAM++ (arXiv:1710.11063), Guided Grad-CAM, and the variant of a much read tutorial.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.deconvolution import guided_backpropagation
from tensorview_insitu.explain.network import (
    Explanation,
    Floats,
    Network,
    Target,
    checked_images,
    chosen_classes,
    chosen_layer,
    spatial_layer,
)
from tensorview_insitu.explain.separable import resize as resized


def grad_cam(
    network: Network, images: Any, target: Target = None, *, layer: str | None = None, resize: bool = True
) -> Explanation:
    """Where a layer's maps speak for a class: ReLU of the maps, weighted with their mean gradients.

    The score is that before the softmax, as in the paper. Each image is explained by itself.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        layer: its path; by default the last one with maps.
        resize: to the size of the image, by linear interpolation; without, the layer's own size.

    Raises:
        ExplainError: no such layer or class; the layer answers no maps.
    """
    weighted, classes, about = _asked(network, images, target, layer)
    answers, gradients = weighted
    weights = gradients.mean(axis=_space(gradients), keepdims=True)
    maps = np.maximum((weights * answers).sum(axis=-1), 0)
    return _done(maps, classes, about, images, resize)


def grad_cam_plus_plus(
    network: Network,
    images: Any,
    target: Target = None,
    *,
    layer: str | None = None,
    resize: bool = True,
    normalized: bool = False,
) -> Explanation:
    """Grad-CAM that counts every place of a map by itself, for several objects of one class.

    With the exponential of the score, as in the paper, higher derivatives are powers of the first.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        layer: its path; by default the last one with maps.
        resize: to the size of the image; without, the layer's own size.
        normalized: divide the alphas of each filter by their sum where its gradient is positive, as the
            authors' code does and the paper does not say.

    Raises:
        ExplainError: no such layer or class; the layer answers no maps.
    """
    (answers, gradients), classes, about = _asked(network, images, target, layer)
    space = _space(answers)
    below = 2 * gradients**2 + answers.sum(axis=space, keepdims=True) * gradients**3
    alphas = np.divide(gradients**2, below, out=np.zeros_like(below), where=below != 0)
    # The factor exp(score) is left out: it scales a whole map, and overflows.
    if normalized:
        total = np.where(gradients > 0, alphas, 0).sum(axis=space, keepdims=True)
        alphas = np.divide(alphas, total, out=np.zeros_like(alphas), where=total != 0)
    weights = (alphas * np.maximum(gradients, 0)).sum(axis=space, keepdims=True)
    maps = np.maximum((weights * answers).sum(axis=-1), 0)
    return _done(maps, classes, about, images, resize)


def guided_grad_cam(
    network: Network, images: Any, target: Target = None, *, layer: str | None = None
) -> Explanation:
    """Guided backpropagation times Grad-CAM (section 3.2 of the paper): fine detail, and only of the class.

    Args:
        network: of ReLUs.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        layer: its path; by default the last one with maps.

    Raises:
        ExplainError: no such layer or class; the network has other activations than ReLUs.
    """
    coarse = grad_cam(network, images, target, layer=layer)
    fine = guided_backpropagation(network, images, coarse.classes)
    signed = fine.about["reconstruction"] * coarse.maps[..., None]
    return Explanation(fine.maps * coarse.maps, coarse.classes, {**coarse.about, "reconstruction": signed})


def tutorial_grad_cam(
    network: Network, images: Any, target: Target = None, *, layer: str | None = None
) -> Explanation:
    """The variant of the chest X-ray tutorials (and of tf-explain), to compare with their pictures.

    Only positive gradients where the map is positive; no ReLU on the sum; each image's map
    scaled to 0..255, whole numbers. A map without any signal is therefore noise in full colour: it is no
    Grad-CAM, and not the paper's Guided Grad-CAM either.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        layer: its path; by default the last one with maps.

    Raises:
        ExplainError: no such layer or class; the layer answers no maps.
    """
    (answers, gradients), classes, about = _asked(network, images, target, layer)
    gated = np.where((answers > 0) & (gradients > 0), gradients, 0)
    weights = gated.mean(axis=_space(gated), keepdims=True)
    summed = (weights * answers).sum(axis=-1)
    maps = resized(summed, np.shape(images)[1:-1])
    low = maps.min(axis=tuple(range(1, maps.ndim)), keepdims=True)
    high = maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    scaled = np.floor((maps - low) / (high - low + 1e-8) * 255).astype(np.float32)
    return Explanation(scaled, classes, {**about, "unscaled": summed})


def _asked(
    network: Network, images: Any, target: Target, layer: str | None
) -> tuple[tuple[Floats, Floats], NDArray[np.int64], dict[str, Any]]:
    images = checked_images(network, images)
    classes = chosen_classes(network, images, target)
    layer, why = chosen_layer(network, layer)
    spatial_layer(network, layer)
    _, answers, gradients = network.at_layer(images, layer, classes)
    about = {"layer": layer, "layer_why": why, "score": network.score_is}
    return (answers, gradients), classes, about


def _space(array: Floats) -> tuple[int, ...]:
    return tuple(range(1, array.ndim - 1))


def _done(
    maps: Floats, classes: NDArray[np.int64], about: dict[str, Any], images: Any, resize: bool
) -> Explanation:
    shown = resized(maps, np.shape(images)[1:-1]) if resize else maps
    return Explanation(shown.astype(np.float32), classes, about)
