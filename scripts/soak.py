"""A long training with a recorder: memory, file descriptors and files while it goes on.

python scripts/soak.py [--steps 200000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from tensorview_insitu.callbacks import Biases, GradientNorms, InSituRecorder, Kernels, Metrics

from tensorview_insitu.run.reader import Run

_STEPS_PER_EPOCH = 1000


class Watch(keras.callbacks.Callback):
    """Notes memory, descriptors and files at the end of epochs."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__()
        self.folder, self.every = folder, every
        self.rows: list[tuple[int, float, int, int]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note them."""
        if (epoch + 1) % self.every:
            return
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory = pages * resource.getpagesize() / 1e6
        descriptors = len(os.listdir("/proc/self/fd"))
        files = sum(1 for _ in self.folder.rglob("*.h5"))
        self.rows.append(((epoch + 1) * _STEPS_PER_EPOCH, memory, descriptors, files))
        print(
            f"{self.rows[-1][0]:>9} steps {memory:8.1f} MB {descriptors:4} descriptors {files:4} files",
            flush=True,
        )


def soak(steps: int, folder: Path) -> Watch:
    """Train so many steps; what was seen."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=10)
    x = np.random.default_rng(0).random((_STEPS_PER_EPOCH, 4, 4, 1)).astype(np.float32)
    y = np.arange(_STEPS_PER_EPOCH) % 2
    watch = Watch(folder, max(1, steps // _STEPS_PER_EPOCH // 20))
    recorder = InSituRecorder(folder, [Metrics(), GradientNorms(), Kernels("batch"), Biases()])
    model.fit(x, y, batch_size=1, epochs=steps // _STEPS_PER_EPOCH, verbose=0, callbacks=[recorder, watch])
    return watch


def main() -> None:
    """Soak, and print what was seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="on which disk (default: the system's temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch) / "run"
        rows = soak(options.steps, folder).rows
        recorded = len(Run.open(folder).steps())
        size = sum(file.stat().st_size for file in folder.rglob("*.h5"))
    # The first quarter fills TensorFlow's and the writer's own stores.
    settled = rows[len(rows) // 4]
    print(
        f"{recorded} steps recorded, {size / 1e6:.0f} MB; after the first quarter memory grew by "
        f"{rows[-1][1] - settled[1]:.1f} MB, descriptors by {rows[-1][2] - settled[2]}; "
        f"never more than {max(row[3] for row in rows)} files"
    )


if __name__ == "__main__":
    main()
