"""Meaningful perturbation (Fong and Vedaldi, arXiv:1704.03296): the smallest mask that changes the answer."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.network import (
    ExplainError,
    Explanation,
    Floats,
    Network,
    Target,
    answers_of,
    checked_images,
    chosen_classes,
)
from tensorview_insitu.explain.separable import Matrix, apply, blur, resizing

_DISCS = 12


def meaningful_perturbation(
    network: Network,
    images: Any,
    target: Target = None,
    *,
    form: Literal["deletion", "preservation"] = "deletion",
    cells: int = 28,
    iterations: int = 300,
    rate: float = 0.1,
    area: float = 0.01,
    smoothness: float = 1e-4,
    power: float = 3.0,
    reference: Literal["blur"] | float = "blur",
    sigma: float = 10.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Explanation:
    """Learn which part of an image must be blurred for a class to vanish, or kept for it to stay.

    A mask m of few cells, enlarged to the image, mixes image and reference: m x + (1 - m) r. Deletion
    minimizes `area` times the sum of 1 - m, plus `smoothness` times the sum of (dx^2 + dy^2)^(power / 2),
    plus the probability; preservation `area` times the sum of m, plus the same, less the probability. By
    Adam, the mask clipped to 0..1 after each step, from the smallest centred disc that does 99 % of what
    the whole reference does. Settings as in the authors' code.

    Args:
        network: the network.
        images: `(batch, *spatial, channels)`.
        target: the class, for all images or for each; by default the one that scores highest.
        form: `"deletion"` or `"preservation"`.
        cells: of the mask, along each axis.
        iterations: steps of Adam.
        rate: its learning rate.
        area: the price of the part that is changed (deletion) or kept.
        smoothness: the price of edges in the mask.
        power: of the edges' height.
        reference: what takes the image's place: itself, blurred, or a number.
        sigma: of the blur, in pixels.
        noise: standard deviation of noise on the mask in each step, against artefacts.
        seed: of the noise.

    Returns:
        Maps from 0 to 1: what is deleted (1 - m), or what is kept (m). `about["probabilities"]`:
        `(batch, 2)`, of each image as it is and perturbed; `about["masks"]`: as learned.

    Raises:
        ExplainError: no such class; an unknown form; a number that makes no sense.
    """
    images = checked_images(network, images)
    if form not in ("deletion", "preservation"):
        raise ExplainError(f'Expected form to be "deletion" or "preservation". Received: {form!r}.')
    if iterations < 1 or cells < 2:
        raise ExplainError(f"Expected iterations >= 1 and cells >= 2. Received: {iterations} and {cells}.")
    classes = chosen_classes(network, images, target)
    mixed_in = blur(images, sigma) if reference == "blur" else np.full_like(images, float(reference))
    enlarging = [resizing(cells, n) for n in images.shape[1:-1]]
    sign = 1.0 if form == "deletion" else -1.0
    mask = _first_masks(network, images, mixed_in, classes, enlarging, form == "deletion")
    adam = _Adam(mask.shape, rate)
    rng = np.random.default_rng(seed)
    before = answers_of(network, images, classes)
    for _ in range(iterations):
        shaken = mask + noise * rng.standard_normal(mask.shape, np.float32) if noise else mask
        mixed = mix(images, mixed_in, apply(enlarging, shaken))
        _, by_image = network.gradients(mixed, classes, of="probability")
        by_mask = apply([m.T for m in enlarging], ((images - mixed_in) * by_image).sum(axis=-1))
        slope = np.float32(sign) * (by_mask - area) + smoothness * edges(mask, power)[1]
        mask = np.clip(mask - adam.step(slope), 0, 1)
    large = apply(enlarging, mask)
    after = answers_of(network, mix(images, mixed_in, large), classes)
    about = {
        "masks": mask,
        "probabilities": np.column_stack([before, after]),
        "form": form,
        "forward_passes": iterations * len(images),
    }
    return Explanation(1 - large if form == "deletion" else large, classes, about)


def _first_masks(
    network: Network,
    images: Floats,
    reference: Floats,
    classes: NDArray[np.int64],
    enlarging: list[Matrix],
    deletes: bool,
) -> Floats:
    """For each image the smallest centred disc, deleted or kept, that does 99 % of what all of it would do.

    From where nothing is changed yet, a saturated probability has no slope to follow.
    """
    cells = [matrix.shape[1] for matrix in enlarging]
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in cells], indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes) / len(axes))
    radii = np.linspace(0, 1, _DISCS)
    discs = (distance[None] <= radii.reshape(-1, *[1] * len(cells))).astype(np.float32)
    if deletes:
        discs = 1 - discs
    shown = apply(enlarging, discs)
    chosen = np.empty((len(images), *cells), np.float32)
    for number, image in enumerate(images):
        repeated = np.full(_DISCS, classes[number])
        values = answers_of(network, mix(image[None], reference[number][None], shown), repeated)
        done = (values - values[0]) / (values[-1] - values[0]) if values[-1] != values[0] else np.ones(_DISCS)
        # Of a network that minds the edge more than the middle none may do: then half of the way.
        enough = np.flatnonzero(done >= 0.99)
        chosen[number] = discs[enough[0] if len(enough) and enough[0] else _DISCS // 2]
    return chosen


def mix(images: Floats, reference: Floats, mask: Floats) -> Floats:
    """The images where the mask is 1, the reference where it is 0."""
    mixed: Floats = reference + mask[..., None] * (images - reference)
    return mixed


def edges(mask: Floats, power: float) -> tuple[NDArray[np.float64], Floats]:
    """`(batch,)` the sum of (dx^2 + dy^2 + ...)^(power / 2), of forward differences; its gradient."""
    axes = range(1, mask.ndim)
    steps = [np.diff(mask, axis=axis, append=np.take(mask, [-1], axis=axis)) for axis in axes]
    squares = sum(step.astype(np.float64) ** 2 for step in steps)
    total = np.sum(squares ** (power / 2), axis=tuple(axes))
    with np.errstate(divide="ignore", invalid="ignore"):
        outer = power * np.where(squares > 0, squares ** (power / 2 - 1), 0)
    gradient = np.zeros(mask.shape)
    for axis, step in zip(axes, steps, strict=True):
        pull = outer * step  # step = next - this: it pulls the one up, the other down
        gradient -= pull
        gradient += np.roll(pull, 1, axis=axis) * _not_first(mask.shape, axis)
    return total, gradient.astype(np.float32)


def _not_first(shape: tuple[int, ...], axis: int) -> NDArray[np.bool_]:
    flags = np.arange(shape[axis]) > 0
    return flags.reshape([-1 if i == axis else 1 for i in range(len(shape))])


class _Adam:
    """Adam (arXiv:1412.6980) on an array."""

    def __init__(self, shape: tuple[int, ...], rate: float) -> None:
        self._rate, self._count = rate, 0
        self._first, self._second = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def step(self, gradient: Any) -> Floats:
        """What to subtract."""
        self._count += 1
        self._first = 0.9 * self._first + 0.1 * gradient
        self._second = 0.999 * self._second + 0.001 * gradient**2
        first = self._first / (1 - 0.9**self._count)
        second = self._second / (1 - 0.999**self._count)
        moved: Floats = self._rate * first / (np.sqrt(second) + 1e-8)
        return moved
