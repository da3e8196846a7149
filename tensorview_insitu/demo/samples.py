"""Labelled images, and their split into training and validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TRAINING_SHARE = 0.67


@dataclass(frozen=True)
class Samples:
    """Labelled images.

    Args:
        images: `(images, height, width, channels)`, in 0..1.
        labels: `(images,)`, numbers of classes.
        classes: the classes' names.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int32]
    classes: list[str]

    def split(self, seed: int) -> tuple[Samples, Samples]:
        """67 % for training and 33 % for validation, drawn at random by `seed`."""
        order = np.random.default_rng(seed).permutation(len(self.images))
        cut = round(_TRAINING_SHARE * len(order))
        return self._only(order[:cut]), self._only(order[cut:])

    def _only(self, which: NDArray[np.int64]) -> Samples:
        return Samples(self.images[which], self.labels[which], self.classes)
