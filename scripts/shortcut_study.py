"""Does a classifier look at the lungs, or at borders and burnt-in text? Over the epochs, for several seeds.

Trains a small network on a folder of X-rays with one subfolder for each class (as ../shared/cxr), explains
fixed images at every epoch, and prints which share of each map lies on the border of the image and on
burnt-in letters and marks, beside the share of the area that these take: a map that knows nothing of them
has as much of itself there as they have of the image.

python scripts/shortcut_study.py IMAGES [--seeds 3] [--epochs 15] [--size 96]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from PIL import Image, ImageFilter
from tensorview_insitu.callbacks import Explanations, InSituRecorder, Metrics

from tensorview_insitu.explain import share_inside
from tensorview_insitu.run.reader import Run

_BORDER = 0.08  # of a side
_BRIGHT, _STEEP = 0.8, 0.3  # letters are nearly white and have sharp edges
METHODS = ("grad_cam", "saliency", "occlusion")
SETTINGS = {"occlusion": {"patch": 12, "stride": 12}}


def load(folder: Path, size: int) -> tuple[Any, Any, Any, list[str]]:
    """Images `(n, size, size, 1)` in 0..1, masks of their letters, their classes."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    images, masks, labels = [], [], []
    for number, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            with Image.open(path) as picture:
                grey = picture.convert("L")
            images.append(_small(grey, size))
            masks.append(_small(letters(np.asarray(grey, np.float32) / 255), size) > 0.1)
            labels.append(number)
    return np.stack(images)[..., None], np.stack(masks).astype(np.float32), np.array(labels), classes


def _small(picture: Image.Image, size: int) -> Any:
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX), np.float32) / 255


def borders(images: Any) -> Any:
    """`(n, row, column)`: 1 along the four sides."""
    size = images.shape[1]
    width = max(1, round(_BORDER * size))
    mask = np.ones(images.shape[:3], np.float32)
    mask[:, width:-width, width:-width] = 0
    return mask


def letters(grey: Any) -> Image.Image:
    """White where something nearly white has sharp edges on a dark ground, outside the image's middle.

    A rule of thumb, made by looking at what it marks: it finds the letters and arrows that are burnt in, and
    now and then a bone or a wire.
    """
    rows, columns = grey.shape
    sharp = np.zeros(grey.shape, bool)
    for axis in (0, 1):
        step = np.abs(np.diff(grey, axis=axis)) > _STEEP
        sharp |= np.pad(step, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
    found = sharp & (grey > _BRIGHT)
    found[rows // 5 : -rows // 5, columns // 5 : -columns // 5] = False
    whole = Image.fromarray((255 * found).astype(np.uint8))
    reach = 2 * max(1, round(0.004 * rows)) + 1  # a letter is more than its edge
    return whole.filter(ImageFilter.MaxFilter(reach))


def network(size: int, classes: int, seed: int) -> keras.Model:
    """Three convolutions, global average, softmax."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 1))
    x = image
    for filters in (16, 32, 32):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D()(x) if filters != 32 or x.shape[1] > 30 else x
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(classes, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def shares(maps: Any, mask: Any) -> Any:
    """`(moment,)`: the mean over the samples of the share of each map inside the mask."""
    rows = [share_inside(of_moment, mask) for of_moment in maps]
    return np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in rows])


def main() -> None:
    """Train, explain, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, metavar="IMAGES")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--explained", type=int, default=8, help="images of each class")
    options = parser.parse_args()
    x, written, y, classes = load(options.images, options.size)
    chosen = np.concatenate([np.flatnonzero(y == c)[: options.explained] for c in range(len(classes))])
    masks = {"border": borders(x)[chosen], "letters": written[chosen]}
    print(f"{len(x)} images of {', '.join(classes)}, {len(chosen)} explained; share of their area: ", end="")
    print(", ".join(f"{name} {mask.mean():.1%}" for name, mask in masks.items()))
    print(f"{'seed':>4} {'method':10} {'mask':8} {'epoch':>6} {'share':>7} {'accuracy':>9}")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            quantities = [Metrics()] + [
                Explanations(method, x[chosen], target=y[chosen], **SETTINGS.get(method, {}))
                for method in METHODS
            ]
            model = network(options.size, len(classes), seed)
            recorder = InSituRecorder(Path(folder) / "run", quantities)
            model.fit(x, y, epochs=options.epochs, batch_size=8, verbose=0, callbacks=[recorder])
            run = Run.open(Path(folder) / "run")
            accuracy = [float("nan"), *run.scalars("epoch")["accuracy"]]
            for method in METHODS:
                maps = run.explanation(method)
                for name, mask in masks.items():
                    found = shares(maps.values, mask)
                    for at in sorted({0, 1, len(found) // 2, len(found) - 1}):
                        print(
                            f"{seed:4} {method:10} {name:8} {maps.epochs[at]:6.0f} {found[at]:7.1%} "
                            f"{accuracy[at]:9.2f}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
