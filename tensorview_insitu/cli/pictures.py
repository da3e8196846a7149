"""Pictures from files, as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.eight_bits import eight_bits


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
        if path.suffix.lower() == ".npy":
            one = _array(path)
        else:
            one = _picture(path, shape, size, low, high)
            size = size or (one.shape[1], one.shape[0])
        fits = one.ndim == len(shape) and all(
            n is None or n == m for n, m in zip(shape, one.shape, strict=True)
        )
        if not fits or (found and one.shape != found[0].shape):
            wanted = found[0].shape if found else tuple("any" if n is None else n for n in shape)
            raise ValueError(f"Expected images of shape {wanted}. Received: {path} of shape {one.shape}.")
        found.append(one)
    return np.stack(found)


def _array(path: Path) -> NDArray[np.float32]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no NumPy array: {error}") from None
    return np.asarray(loaded, np.float32)


def _picture(
    path: Path, shape: tuple[int | None, ...], size: tuple[int, int] | None, low: float, high: float
) -> NDArray[np.float32]:
    if len(shape) != 3 or shape[-1] not in (1, 3, None):
        raise ValueError(
            f"This model takes arrays {shape}, no pictures. Expected .npy files. Received: {path}"
        )
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError("Pictures need Pillow: pip install 'tensorview-insitu[explain]'") from None
    try:
        with Image.open(path) as opened:
            picture = eight_bits(opened).convert("L" if shape[-1] == 1 else "RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"Expected a picture. Received: {path} ({error})") from None
    rows = shape[0] or (size[1] if size else picture.height)
    columns = shape[1] or (size[0] if size else picture.width)
    values = np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR), np.float32)
    values = values[..., None] if values.ndim == 2 else values
    return (low + (high - low) * values / 255).astype(np.float32)
