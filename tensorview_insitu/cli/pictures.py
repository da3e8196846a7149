"""Pictures from files, as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.eight_bits import eight_bits
from tensorview_insitu.loading.arrays import read_array
from tensorview_insitu.loading.pictures import MOST_PIXELS, open_picture


def load_images(
    paths: Sequence[Path],
    shape: tuple[int | None, ...],
    size: tuple[int, int] | None,
    low: float,
    high: float,
) -> NDArray[np.float32]:
    """`(images, *spatial, channels)`.

    Args:
        paths: pictures, or .npy arrays `(*spatial, channels)` that are taken as they are.
        shape: what the model takes; None where anything will do.
        size: `(columns, rows)` where the model leaves them open; by default the first picture's own.
        low: what black becomes.
        high: what white becomes.

    Raises:
        ValueError: a file is none of these, or has another shape.
    """
    found: list[NDArray[np.float32]] = []
    for path in paths:
        fits = partial(_check_shape, path, found[0].shape if found else shape)
        if path.suffix.lower() == ".npy":
            one = read_array(path, fits)
        else:
            one = _picture(path, shape, size, low, high)
            fits(one.shape)
            size = size or (one.shape[1], one.shape[0])
        found.append(one)
    return np.stack(found)


def _check_shape(path: Path, wanted: tuple[int | None, ...], shape: tuple[int, ...]) -> None:
    fits = len(shape) == len(wanted) and all(n is None or n == m for n, m in zip(wanted, shape, strict=True))
    if not fits:
        said = tuple("any" if n is None else n for n in wanted)
        raise ValueError(f"Expected images of shape {said}. Received: {path} of shape {shape}.")


def _picture(
    path: Path, shape: tuple[int | None, ...], size: tuple[int, int] | None, low: float, high: float
) -> NDArray[np.float32]:
    if len(shape) != 3 or shape[-1] not in (1, 3, None):
        raise ValueError(
            f"This model takes arrays {shape}, no pictures. Expected .npy files. Received: {path}"
        )
    picture = eight_bits(open_picture(path)).convert("L" if shape[-1] == 1 else "RGB")
    rows = shape[0] or (size[1] if size else picture.height)
    columns = shape[1] or (size[0] if size else picture.width)
    if rows * columns > MOST_PIXELS:
        raise ValueError(
            f"This model takes pictures of {columns} x {rows} pixels. Expected at most {MOST_PIXELS:,}."
        )
    from PIL.Image import Resampling

    values = np.asarray(picture.resize((columns, rows), Resampling.BILINEAR), np.float32)
    values = values[..., None] if values.ndim == 2 else values
    return (low + (high - low) * values / 255).astype(np.float32)
