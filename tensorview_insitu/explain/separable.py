"""Linear maps that act on each axis by itself: resizing and blurring, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def resizing(size: int, to: int) -> Matrix:
    """`(to, size)`: linear interpolation, pixels' centres at halves (as TensorFlow 2, OpenCV and PIL)."""
    places = np.clip((np.arange(to) + 0.5) * size / to - 0.5, 0, size - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((to, size))
    rows = np.arange(to)
    np.add.at(matrix, (rows, low), 1 - (places - low))
    np.add.at(matrix, (rows, high), places - low)
    return matrix.astype(np.float32)


def blurring(size: int, sigma: float) -> Matrix:
    """`(size, size)`: a Gaussian of 4 sigma to each side, the image mirrored at its edges."""
    if sigma <= 0:
        return np.eye(size, dtype=np.float32)
    reach = max(1, int(4 * sigma + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((size, size))
    for offset, weight in zip(range(-reach, reach + 1), kernel, strict=True):
        place = np.mod(np.arange(size) + offset, 2 * size)
        np.add.at(matrix, (np.arange(size), np.minimum(place, 2 * size - 1 - place)), weight)
    return matrix.astype(np.float32)


def apply(matrices: Sequence[Matrix], array: NDArray[np.float32], first: int = 1) -> NDArray[np.float32]:
    """Each matrix on its axis, the first of them on axis `first`."""
    for axis, matrix in enumerate(matrices, start=first):
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(array, np.float32)


def resize(maps: NDArray[np.float32], to: Sequence[int]) -> NDArray[np.float32]:
    """`(batch, *spatial)` at another size, by linear interpolation."""
    return apply([resizing(n, m) for n, m in zip(maps.shape[1:], to, strict=True)], maps)


def blur(images: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """`(batch, *spatial, channels)`, blurred along its spatial axes; sigma in pixels."""
    return apply([blurring(n, sigma) for n in images.shape[1:-1]], images)
