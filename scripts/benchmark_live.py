"""What following a run costs its training, and how soon a picture comes.

    python scripts/benchmark_live.py [--epochs 12] [--rounds 3]

Trains a small network in a process of its own, alternately alone and with `tensorview-insitu live` beside
it, in random order; prints the ratio of the median epoch times (and of two sets of lone trainings, which is
noise), and the median seconds from the end of an epoch to the picture that shows it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_TRAINING = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
from tensorview_insitu.callbacks import InSituRecorder
from tensorview_insitu.demo.digits import load_digits
ends = []
class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.time()
    def on_epoch_end(self, epoch, logs=None):
        ends.append([epoch + 1, time.time() - self.began, time.time()])
samples = load_digits()
images = samples.images.repeat(4, axis=1).repeat(4, axis=2)[:, ::2, ::2]
keras.utils.set_random_seed(0)
inputs = keras.Input(images.shape[1:])
x = keras.layers.Conv2D(64, 3, activation="relu", name="conv1")(inputs)
x = keras.layers.Conv2D(128, 3, activation="relu", name="conv2")(x)
x = keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(x))
model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="classes")(x))
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images, samples.labels, batch_size=16, epochs=int(sys.argv[2]), verbose=0,
          callbacks=[InSituRecorder(sys.argv[1]), Clock()])
print(json.dumps(ends))
"""


def train(folder: Path, epochs: int, *, live: bool) -> tuple[list[float], list[float]]:
    """Seconds of each epoch but the first, and from the ends of epochs to their pictures."""
    follower = None
    if live:
        follower = subprocess.Popen(
            [sys.executable, "-m", "tensorview_insitu", "live", str(folder), "--every", "1", "--wait", "120"],
            stdout=subprocess.DEVNULL,
        )
        time.sleep(2)
    done = subprocess.run(
        [sys.executable, "-c", _TRAINING, str(folder), str(epochs)],
        check=True,
        capture_output=True,
        text=True,
    )
    ends = json.loads(done.stdout.strip().splitlines()[-1])
    delays = []
    if follower is not None:
        follower.wait(timeout=120)
        steps = {epoch: end for epoch, _, end in ends}
        per_epoch = None
        for picture in sorted((folder / "paraview/live/dashboard").glob("step_*.png")):
            step = int(picture.stem.split("_")[1])
            per_epoch = per_epoch or _steps_per_epoch(folder)
            epoch = step // per_epoch
            if epoch in steps and epoch < len(ends):  # the last one is made again when the run is packed
                delays.append(picture.stat().st_mtime - steps[epoch])
    return [seconds for _, seconds, _ in ends[1:]], delays


def _steps_per_epoch(folder: Path) -> int:
    from tensorview_insitu.run.reader import Run

    return int(Run.open(folder).identity["steps_per_epoch"])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"alone": [], "alone'": [], "live": []}
    delays: list[float] = []
    for _ in range(options.rounds):
        for kind in rng.permutation(list(seconds)):
            with tempfile.TemporaryDirectory() as scratch:
                took, late = train(Path(scratch) / "run", options.epochs, live=kind == "live")
            seconds[str(kind)] += took
            delays += late
    alone = np.median(seconds["alone"])
    for kind, took in seconds.items():
        print(f"{kind:8} {np.median(took):7.2f} s an epoch  {np.median(took) / alone - 1:+.1%}")
    print(f"from an epoch's end to its picture: {np.median(delays):.1f} s (median of {len(delays)})")


if __name__ == "__main__":
    main()
