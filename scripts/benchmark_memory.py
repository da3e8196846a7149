"""How much memory recording takes: the peak of a whole training, with and without, each in its own process.

python scripts/benchmark_memory.py [resnet50 vgg16 ...] [--times 3]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

NETWORKS = {"vgg16": ("VGG16", 32), "resnet50": ("ResNet50", 64)}
_BATCH, _STEPS, _EPOCHS = 8, 20, 4


def train(network: str, recorded: bool) -> int:
    """Train in this process; its peak in bytes."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    name, size = NETWORKS[network]
    base = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg"
    )
    model = keras.Sequential([base, keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.random((_BATCH * _STEPS, size, size, 3), np.float32)
    y = rng.integers(0, 10, len(x))
    with tempfile.TemporaryDirectory() as folder:
        callbacks = []
        if recorded:
            from tensorview_insitu.callbacks import InSituRecorder

            callbacks.append(InSituRecorder(Path(folder) / "run"))
        model.fit(x, y, batch_size=_BATCH, epochs=_EPOCHS, verbose=0, callbacks=callbacks)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process(network: str, recorded: bool) -> int:
    """The same in a process of its own: a peak never falls again."""
    command = [sys.executable, __file__, network, "--child", "recorded" if recorded else "plain"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure, and print a line for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--child", choices=("plain", "recorded"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    networks = options.networks or list(NETWORKS)
    if unknown := [name for name in networks if name not in NETWORKS]:
        parser.error(f"no network {unknown[0]}; there are {', '.join(NETWORKS)}")
    if options.child:
        print(train(networks[0], options.child == "recorded"))
        return
    for network in networks:
        pairs = [(in_a_process(network, False), in_a_process(network, True)) for _ in range(options.times)]
        plain = statistics.median(plain for plain, _ in pairs)
        floor = max(plain for plain, _ in pairs) - min(plain for plain, _ in pairs)
        more = statistics.median(recorded for _, recorded in pairs) - plain
        print(
            f"{network}: plain {plain / 1e6:.0f} MB, recorded {more / 1e6:+.0f} MB "
            f"(plain trainings differ by {floor / 1e6:.0f} MB)",
            flush=True,
        )


if __name__ == "__main__":
    main()
