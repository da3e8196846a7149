"""Activation maximization (Simonyan et al., arXiv:1312.6034): what a class or a filter answers most to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.network import (
    ExplainError,
    Explanation,
    Floats,
    Network,
    check_filters,
    chosen_layer,
    spatial_layer,
)
from tensorview_insitu.explain.separable import blur

Answer = Callable[[Floats], tuple[Floats, Floats]]


def maximize_class(network: Network, classes: int | Sequence[int], **settings: Any) -> Explanation:
    """Images that score as high as possible for classes.

    Args:
        network: the network.
        classes: one or several: an image for each.
        **settings: of `climb`.

    Returns:
        `maps`: the images, their mean over the channels; `about["images"]`: `(classes, *spatial, channels)`;
        `about["answers"]`, `(classes, 2)`: the score of the noise that it began with, and of the image;
        `about["silent"]`: those that never had a gradient to follow: dead, or no noise wakes them.

    Raises:
        ExplainError: no such class, or a setting that makes no sense.
    """
    wanted = np.atleast_1d(np.asarray(classes, np.int64))
    shape = _sized(network, settings.pop("size", None))
    count = network.predict(np.zeros((1, *shape), np.float32)).scores.shape[1]
    if wanted.min() < 0 or wanted.max() >= count:
        raise ExplainError(f"Expected classes from 0 to {count - 1}. Received: {wanted.tolist()}.")
    found, about = climb(lambda images: network.gradients(images, wanted), len(wanted), shape, **settings)
    return Explanation(found.mean(axis=-1), wanted, {**about, "images": found, "score": network.score_is})


def maximize_filter(
    network: Network, layer: str | None = None, filters: int | Sequence[int] = 0, **settings: Any
) -> Explanation:
    """Images that filters of a layer answer to as strongly as possible, on the mean over space.

    Args:
        network: the network.
        layer: its path; by default the last one with maps.
        filters: one or several: an image for each.
        **settings: of `climb`.

    Returns:
        As `maximize_class`; `about["filters"]`.

    Raises:
        ExplainError: no such layer or filter, or a setting that makes no sense.
    """
    layer, why = chosen_layer(network, layer)
    count = spatial_layer(network, layer)[-1] or 0
    wanted = np.atleast_1d(np.asarray(filters, np.int64))
    check_filters(layer, count, wanted.tolist())
    shape = _sized(network, settings.pop("size", None))
    found, about = climb(
        lambda images: network.filter_gradients(images, layer, wanted), len(wanted), shape, **settings
    )
    about = {**about, "images": found, "layer": layer, "layer_why": why, "filters": wanted.tolist()}
    return Explanation(found.mean(axis=-1), np.empty(0, np.int64), about)


def climb(
    answer: Answer,
    count: int,
    shape: tuple[int, ...],
    *,
    low: float = 0.0,
    high: float = 1.0,
    iterations: int = 200,
    rate: float = 0.02,
    jitter: float = 0.05,
    total_variation_weight: float = 10.0,
    norm_weight: float = 10.0,
    norm_power: float = 6.0,
    blur_sigma: float = 0.0,
    blur_every: int = 10,
    seed: int = 0,
) -> tuple[Floats, dict[str, Any]]:
    """Climb from noise to a stronger answer, by RMSProp with normalized gradients (as keras-vis did).

    What is minimized is the negative answer, plus `norm_weight` times the L-p norm and
    `total_variation_weight` times the sum of squared differences of neighbours, both over the image in units
    of its range and divided by the number of its values. The best image is kept.

    Args:
        answer: `images -> (answers, gradients)`.
        count: how many images.
        shape: of each.
        low: the lowest value of a pixel.
        high: the highest.
        iterations: steps.
        rate: of a step, as a share of the range.
        jitter: before each step the image is shifted around by up to so many pixels; below 1, so large a
            share of it.
        total_variation_weight: the price of edges.
        norm_weight: the price of extreme pixels.
        norm_power: p of the L-p norm.
        blur_sigma: of a blur after every few steps; 0 for none.
        blur_every: how many steps these are.
        seed: of noise and jitter.

    Raises:
        ExplainError: a setting makes no sense.
    """
    if iterations < 1 or high <= low or norm_power < 1:
        raise ExplainError(
            "Expected iterations >= 1, low < high and norm_power >= 1. "
            f"Received: iterations={iterations}, low={low}, high={high}, norm_power={norm_power}."
        )
    rng = np.random.default_rng(seed)
    scale = high - low
    # In units of the range, around its middle.
    images = 0.05 * rng.standard_normal((count, *shape)).astype(np.float32)
    reach = [int(jitter * n) if jitter < 1 else int(jitter) for n in shape[:-1]]
    square = np.zeros_like(images)
    best, lowest = images.copy(), np.full(count, np.inf)
    begin, last = answer(_pixels(images, low, high))[0], np.zeros(count)
    axes = tuple(range(1, len(shape)))
    silent = np.ones(count, bool)
    for step in range(iterations + 1):
        shift = [int(rng.integers(-n, n + 1)) for n in reach]
        shifted = np.roll(images, shift, axes)
        answers, gradients = answer(_pixels(shifted, low, high))
        silent &= ~np.any(gradients.reshape(count, -1), axis=1)
        norm, norm_slope = lp_norm(shifted, norm_power)
        variation, variation_slope = total_variation(shifted)
        loss = -answers + norm_weight * norm + total_variation_weight * variation
        better = loss < lowest
        best[better], lowest[better], last[better] = images[better], loss[better], answers[better]
        if step == iterations:
            break
        slope = -scale * gradients + norm_weight * norm_slope + total_variation_weight * variation_slope
        slope = np.roll(slope, [-n for n in shift], axes)
        length = np.sqrt((slope.reshape(count, -1) ** 2).sum(axis=1)).reshape(-1, *[1] * len(shape))
        slope = slope / np.maximum(length, 1e-20)
        square = 0.95 * square + 0.05 * slope**2
        images = np.clip(images - rate * slope / (np.sqrt(square) + 1e-8), -0.5, 0.5).astype(np.float32)
        if blur_sigma and (step + 1) % blur_every == 0:
            images = blur(images, blur_sigma)
    return _pixels(best, low, high), {
        "answers": np.column_stack([begin, last]),
        "loss": lowest,
        "silent": np.flatnonzero(silent).tolist(),
        "iterations": iterations,
    }


def _pixels(images: Floats, low: float, high: float) -> Floats:
    """Images in units of the range, around its middle, as the network takes them."""
    return (low + (high - low) * (images + 0.5)).astype(np.float32)


def total_variation(images: Floats) -> tuple[NDArray[np.float64], Floats]:
    """`(batch,)` the sum of squared differences of neighbours, by the number of values; its gradient."""
    values = float(np.prod(images.shape[1:]))
    total = np.zeros(len(images))
    gradient = np.zeros_like(images)
    for axis in range(1, images.ndim - 1):
        step = np.diff(images, axis=axis)
        total += (step.astype(np.float64) ** 2).reshape(len(images), -1).sum(axis=1)
        first = [slice(None)] * images.ndim
        second = [slice(None)] * images.ndim
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        gradient[tuple(first)] -= 2 * step
        gradient[tuple(second)] += 2 * step
    return total / values, (gradient / values).astype(np.float32)


def lp_norm(images: Floats, power: float) -> tuple[NDArray[np.float64], Floats]:
    """`(batch,)` the L-p norm, by the number of values; its gradient."""
    values = float(np.prod(images.shape[1:]))
    flat = np.abs(images.astype(np.float64)).reshape(len(images), -1)
    norm = (flat**power).sum(axis=1) ** (1 / power)
    safe = np.maximum(norm, 1e-30).reshape(-1, *[1] * (images.ndim - 1))
    gradient = np.sign(images) * (np.abs(images) / safe) ** (power - 1)
    return norm / values, (gradient / values).astype(np.float32)


def _sized(network: Network, size: Sequence[int] | None) -> tuple[int, ...]:
    shape = network.image_shape
    if size is not None:
        shape = (*size, shape[-1])
    if any(n is None for n in shape):
        raise ExplainError(f"This model takes images of any size, {shape}: pass size=(224, 224).")
    return tuple(int(n or 1) for n in shape)
