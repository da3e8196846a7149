"""Images from a folder with one sub-folder per class, prepared as in the paper: grey, /255, 200 x 200."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.demo.samples import Samples
from tensorview_insitu.eight_bits import eight_bits
from tensorview_insitu.loading.pictures import open_picture

SIZE = 200
_ENDINGS = (".png", ".jpg", ".jpeg")


def load_images(folder: Path) -> Samples:
    """Load all png and jpg files, whatever their size and mode.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has fewer than two classes with images, or a file is no image.
        ImportError: Pillow is not installed.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder of images at {folder}.")
    by_class = {
        sub.name: sorted(p for p in sub.rglob("*") if p.suffix.lower() in _ENDINGS)
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
    }
    by_class = {name: files for name, files in by_class.items() if files}
    if len(by_class) < 2:
        found = ", ".join(by_class) or "none"
        raise ValueError(
            f"Expected a folder with a sub-folder of png or jpg images for each of at least two classes. "
            f"Received: {folder} (classes with images: {found})."
        )
    images = [_grey(file) for files in by_class.values() for file in files]
    labels = [number for number, files in enumerate(by_class.values()) for _ in files]
    return Samples(np.stack(images)[..., None], np.asarray(labels, np.int32), list(by_class))


def _grey(file: Path) -> NDArray[np.float32]:
    picture = open_picture(file)
    from PIL.Image import Resampling

    small = eight_bits(picture).convert("L").resize((SIZE, SIZE), Resampling.BILINEAR)
    return np.asarray(small, np.float32) / 255.0
