"""LIME (Ribeiro et al., arXiv:1602.04938): a linear model of the answer, over superpixels shown or hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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

_AT_ONCE = 128


def lime(
    network: Network,
    images: Any,
    target: Target = None,
    *,
    samples: int = 1000,
    segments: NDArray[np.int64] | None = None,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    weighted: bool = True,
    seed: int = 0,
) -> Explanation:
    """How much each superpixel adds to the probability of a class.

    Each sample shows every superpixel with probability one half and fills the others with their mean
    colour; samples near the whole image (cosine distance) weigh more; a ridge regression of the
    probabilities gives each superpixel its weight. These are the settings of the authors' package.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`; one channel will do.
        target: the class, for all images or for each; by default the one that scores highest.
        samples: how many; the first is the whole image.
        segments: `(batch, *spatial)` or `(*spatial)`, the number of each place's superpixel; by default
            those of scikit-image: quickshift of pictures, SLIC of volumes.
        kernel_width: of the weights: the smaller, the more local.
        ridge: the penalty on the squared weights.
        weighted: False gives all samples the same weight.
        seed: of the samples.

    Returns:
        Maps of the superpixels' weights. `about["weights"]`: for each image, those of its superpixels;
        `about["fit"]`: the weighted R squared of each; `about["segments"]`.

    Raises:
        ExplainError: no such class; fewer than two samples; segments of another size; scikit-image is
            needed and missing.
    """
    images = checked_images(network, images)
    if samples < 2:
        raise ExplainError(f"Expected samples to be at least 2. Received: {samples}.")
    classes = chosen_classes(network, images, target)
    regions = _regions(images, segments)
    maps = np.empty(images.shape[:-1], np.float32)
    coefficients, fits = [], []
    for number, (image, region) in enumerate(zip(images, regions, strict=True)):
        rng = np.random.default_rng(seed)
        shown = rng.integers(0, 2, (samples, int(region.max()) + 1)).astype(bool)
        shown[0] = True
        answers = _answers(network, image, region, shown, int(classes[number]))
        weights = sample_weights(shown, kernel_width) if weighted else np.ones(samples)
        found, fit = ridge_regression(shown.astype(np.float64), answers, weights, ridge)
        maps[number] = found[region]
        coefficients.append(found)
        fits.append(fit)
    about = {
        "weights": coefficients,
        "fit": np.array(fits),
        "segments": regions,
        "samples": samples,
        "seed": seed,
        "forward_passes": samples * len(images),
    }
    return Explanation(maps, classes, about)


def sample_weights(shown: NDArray[np.bool_], kernel_width: float) -> NDArray[np.float64]:
    """`(samples,)`: the closer to all shown, by cosine distance, the more."""
    share = shown.mean(axis=1, dtype=np.float64)
    distance = 1 - np.sqrt(share)
    weights: NDArray[np.float64] = np.sqrt(np.exp(-(distance**2) / kernel_width**2))
    return weights


def ridge_regression(
    shown: NDArray[np.float64], answers: NDArray[np.float64], weights: NDArray[np.float64], ridge: float
) -> tuple[NDArray[np.float64], float]:
    """The coefficients of a weighted ridge regression with an unpenalized intercept; its R squared."""
    total = weights.sum()
    mean_shown, mean_answer = weights @ shown / total, weights @ answers / total
    centred, wanted = shown - mean_shown, answers - mean_answer
    gram = (centred * weights[:, None]).T @ centred + ridge * np.eye(shown.shape[1])
    found: NDArray[np.float64] = np.linalg.solve(gram, (centred * weights[:, None]).T @ wanted)
    missed = weights @ (wanted - centred @ found) ** 2
    spread = weights @ wanted**2
    return found, float(1 - missed / spread) if spread > 0 else 0.0


def _answers(
    network: Network, image: Floats, region: NDArray[np.int64], shown: NDArray[np.bool_], chosen: int
) -> NDArray[np.float64]:
    sizes = np.bincount(region.ravel())
    means = np.stack(
        [
            np.bincount(region.ravel(), weights=image[..., channel].ravel()) / np.maximum(sizes, 1)
            for channel in range(image.shape[-1])
        ],
        axis=-1,
    )
    hidden = means[region].astype(np.float32)
    answers = np.empty(len(shown))
    for part in batches(len(shown), _AT_ONCE):
        keeps = shown[part][:, region]
        perturbed = np.where(keeps[..., None], image, hidden)
        answers[part] = network.predict(perturbed).probabilities[:, chosen]
    return answers


def _regions(images: Floats, segments: NDArray[np.int64] | None) -> NDArray[np.int64]:
    if segments is not None:
        given = np.asarray(segments, np.int64)
        if given.shape not in (images.shape[:-1], images.shape[1:-1]):
            raise ExplainError(
                f"Expected segments of shape {images.shape[1:-1]} or {images.shape[:-1]}. "
                f"Received: {given.shape}."
            )
        return np.broadcast_to(given, images.shape[:-1])
    return np.stack([superpixels(image) for image in images])


def superpixels(image: Floats) -> NDArray[np.int64]:
    """`(*spatial)`: the number of each place's superpixel, from 0 on.

    Raises:
        ExplainError: scikit-image is missing.
    """
    try:
        from skimage.segmentation import quickshift, slic
    except ImportError:
        raise ExplainError(
            "Superpixels need scikit-image: pip install 'tensorview-insitu[explain]', or pass segments=."
        ) from None
    low, high = float(image.min()), float(image.max())
    # Quickshift measures colours against distances: it expects them from 0 to 1.
    scaled = (image - low) / (high - low) if high > low else np.zeros_like(image)
    if image.ndim == 3:
        colours = np.repeat(scaled[..., :1], 3, axis=-1) if image.shape[-1] != 3 else scaled
        found = quickshift(colours, kernel_size=4, max_dist=200, ratio=0.2)
    else:
        found = slic(scaled, n_segments=60, compactness=0.1, channel_axis=-1, start_label=0)
    _, numbers = np.unique(found, return_inverse=True)
    return numbers.reshape(found.shape).astype(np.int64)
