"""How fast explanations are, each beside the fastest library that has it: same model, images and settings.

Both are asked in turn, several times, so that whatever else the machine does falls on both; the figure is the
median of the ratios. What both trace or build is done once before. `--memory` asks instead for the peak of a
whole process for each of our methods, on VGG16 at 224 x 224.

python scripts/benchmark_explain.py [--times 5] [--size 96] [--memory]
(libraries: pip install --no-deps -r tests/explain/oracles.txt)
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Ask = Callable[[], Any]


def make(size: int) -> tuple[Any, Any, str]:
    """A flat MobileNetV2 that answers logits, the same with a softmax, and its last layer with maps."""
    import keras

    keras.utils.set_random_seed(0)
    logits = keras.applications.MobileNetV2(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
    )
    return logits, keras.Model(logits.input, keras.layers.Softmax()(logits.output)), "out_relu"


def contests(size: int, count: int) -> dict[str, tuple[Ask, dict[str, Ask]]]:
    """By method: ours, and those of the libraries."""
    import tf_keras_vis.gradcam
    import tf_keras_vis.saliency
    import xplique.attributions as xplique
    from lime.lime_image import LimeImageExplainer
    from tf_keras_vis.utils.scores import CategoricalScore

    from tensorview_insitu import explain

    logits, softmax, layer = make(size)
    rng = np.random.default_rng(0)
    batch = rng.random((count, size, size, 3), np.float32)
    targets = [int(n) for n in rng.integers(0, 10, count)]
    wanted = np.eye(10, dtype=np.float32)[targets]
    ours, ours_softmax = explain.KerasNetwork(logits), explain.KerasNetwork(softmax)
    patch = size // 8
    segments = np.add.outer(np.arange(size) // (size // 8) * 8, np.arange(size) // (size // 8))
    cam = tf_keras_vis.gradcam.Gradcam(logits, clone=False)
    vis = tf_keras_vis.saliency.Saliency(logits, clone=False)
    score = CategoricalScore(targets)
    lime = LimeImageExplainer(random_state=0)
    one = {"batch_size": 32}

    def limes() -> None:
        for image, target in zip(batch, targets, strict=True):
            lime.explain_instance(
                image.astype(np.double),
                lambda x: softmax.predict_on_batch(x.astype(np.float32)),
                labels=(target,),
                top_labels=None,
                num_samples=300,
                batch_size=32,
                segmentation_fn=lambda _: segments,
            )

    smooth = xplique.SmoothGrad(logits, nb_samples=20, noise=0.15, **one)
    integrated = xplique.IntegratedGradients(logits, steps=50, **one)
    guided, deconv = xplique.GuidedBackprop(logits, **one), xplique.DeconvNet(logits, **one)
    hiding = xplique.Occlusion(logits, patch_size=patch, patch_stride=patch // 2, occlusion_value=0.0, **one)
    rises = xplique.Rise(softmax, nb_samples=300, grid_size=7, **one)
    return {
        "grad_cam": (
            lambda: explain.grad_cam(ours, batch, targets, layer=layer),
            {"tf-keras-vis": lambda: cam(score, batch, penultimate_layer=layer, normalize_cam=False)},
        ),
        "saliency": (
            lambda: explain.saliency(ours, batch, targets),
            {
                "tf-keras-vis": lambda: vis(score, batch, normalize_map=False),
                "xplique": lambda: xplique.Saliency(logits, **one)(batch, wanted),
            },
        ),
        "smooth_grad": (
            lambda: explain.smooth_grad(ours, batch, targets, samples=20),
            {
                "xplique": lambda: smooth(batch, wanted),
                "tf-keras-vis": lambda: vis(score, batch, smooth_samples=20, smooth_noise=0.15),
            },
        ),
        "integrated_gradients": (
            lambda: explain.integrated_gradients(ours, batch, targets, steps=50),
            {"xplique": lambda: integrated(batch, wanted)},
        ),
        "guided_backpropagation": (
            lambda: ours.gradients(batch, np.array(targets), rule="guided"),
            {"xplique": lambda: guided(batch, wanted)},
        ),
        "deconvolution": (
            lambda: ours.pull_back(batch, "predictions", wanted, "deconvolution"),
            {"xplique": lambda: deconv(batch, wanted)},
        ),
        "occlusion": (
            lambda: explain.occlusion(
                ours, batch, targets, patch=patch, stride=patch // 2, fill=0.0, of="score"
            ),
            {"xplique": lambda: hiding(batch, wanted)},
        ),
        "lime": (
            lambda: explain.lime(ours_softmax, batch, targets, samples=300, segments=segments),
            {"lime": limes},
        ),
        "rise": (
            lambda: explain.rise(ours_softmax, batch, targets, masks=300),
            {"xplique": lambda: rises(batch, wanted)},
        ),
    }


def seconds(ask: Ask) -> float:
    """How long an answer takes."""
    start = time.perf_counter()
    ask()
    return time.perf_counter() - start


def compare(size: int, count: int, times: int) -> None:
    """Print a line for each method."""
    print(f"MobileNetV2 at {size} x {size}, {count} images, {os.cpu_count()} cores, median of {times} pairs")
    for method, (ours, others) in contests(size, count).items():
        ours()
        for name, theirs in others.items():
            theirs()
            pairs = [(seconds(ours), seconds(theirs)) for _ in range(times)]
            ratio = statistics.median(b / a for a, b in pairs)
            mine = statistics.median(a for a, _ in pairs)
            print(f"{method:24}{mine * 1e3:9.0f} ms   {name:14}takes {ratio:5.2f} times as long", flush=True)


def peak(method: str) -> int:
    """The peak of this process in bytes, after one of our methods on VGG16."""
    import keras

    from tensorview_insitu import explain

    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None, classes=10)
    network = explain.KerasNetwork(model)
    batch = np.random.default_rng(0).random((2, 224, 224, 3), np.float32)
    settings: dict[str, Any] = {
        "smooth_grad": {"samples": 3},
        "integrated_gradients": {"steps": 20},
        "occlusion": {"stride": 28},
        "lime": {
            "samples": 150,
            "segments": np.add.outer(np.arange(224) // 28 * 8, np.arange(224) // 28),
        },
        "rise": {"masks": 100},
        "meaningful_perturbation": {"iterations": 5},
    }.get(method, {})
    if method == "activation_maximization":
        explain.maximize_class(network, [0, 1], iterations=5)
    elif method == "exciting_images":
        explain.exciting_images(network, batch, 3, top=2)
    elif method == "activation_maps":
        explain.dead_filters(network, batch, ["block1_conv2", "block5_conv3"])
    else:
        explain.METHODS[method](network, batch, **settings)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory() -> None:
    """Print the peak of each method, each in its own process."""
    from tensorview_insitu import explain

    print("VGG16 at 224 x 224, 2 images: peak of the whole process")
    for method in [*explain.METHODS, "activation_maximization", "exciting_images", "activation_maps"]:
        command = [sys.executable, __file__, "--child", method]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"{method:24}{int(done.stdout.split()[-1]) / 1e9:6.2f} GB", flush=True)


def main() -> None:
    """Compare, or measure memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.child:
        print(peak(options.child))
    elif options.memory:
        memory()
    else:
        compare(options.size, options.images, options.times)


if __name__ == "__main__":
    main()
