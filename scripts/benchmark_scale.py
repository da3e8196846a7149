"""What large runs cost to export, open and render; synthetic runs, medians where there are several.

    python scripts/benchmark_scale.py [epochs layers vgg] [--frames 12]

`epochs` is a run of 5,000 epochs of 3 kernels, `layers` one of 500 kernels, `vgg` one of a 3 x 3 x 512 x 512
kernel. For each: seconds of the export, its files and peak memory; seconds from the command to the first
picture; seconds per further frame, by one process and by two.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter

RUNS = {
    "epochs": (5000, 3, (3, 3, 1, 16)),
    "layers": (10, 500, (3, 3, 4, 8)),
    "vgg": (14, 1, (3, 3, 512, 512)),
}
VIEWS = ("dashboard", "kernel_propagation", "network")


def write(folder: Path, epochs: int, layers: int, shape: tuple[int, ...]) -> None:
    """A run of kernels that drift."""
    writer = RunWriter(folder)
    rng = np.random.default_rng(0)
    names = [f"block{i // 10}/conv{i}" for i in range(layers)]
    described = [
        {"path": name, "class": "Conv2D", "trainable": True, "variables": {"kernel": list(shape)}}
        for name in names
    ]
    writer.describe(model="big", backend="none", steps_per_epoch=1, planned_epochs=epochs, layers=described)
    kernel = (rng.normal(size=shape) * 0.1).astype(np.float32)
    at_once = max(1, min(500, (32 << 20) // (kernel.nbytes * layers)))
    for first in range(0, epochs, at_once):
        steps = np.arange(first + 1, min(first + at_once, epochs) + 1)
        drift = (steps / epochs * 0.1).astype(np.float32).reshape(-1, *[1] * len(shape))
        table = np.column_stack([steps, steps, np.ones(len(steps)), steps])
        scalars = np.column_stack([steps, 1 / steps, 1 - 1 / steps, 1.1 / steps])
        norms = np.exp(rng.normal(size=(len(steps), layers))).astype(np.float32)
        about = {"dims": ["snapshot", "row", "column", "channel", "filter"], "filter_axis": 4}
        block = {
            "steps": Rows(steps, table, {"columns": ["step", "epoch", "batch", "wall_time"]}),
            "scalars/epoch": Rows(steps, scalars, {"columns": ["epoch", "loss", "accuracy", "val_loss"]}),
            "gradient_norms": Rows(steps, norms, {"columns": [f"{name}/kernel" for name in names]}),
            **{f"layers/{name}/kernel": Rows(steps, kernel + drift, about) for name in names},
        }
        writer.write(block, epoch_end=True)
        writer.flush(60)
    writer.finish("finished")


def command(*arguments: str) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a command of ours and its children."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tensorview_insitu", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return time.perf_counter() - start, peak


def frames(run: str, state: Path, times: list[float], jobs: int) -> float:
    """Seconds per frame of some frames of a view, the start of the processes left out."""
    from tensorview_insitu.cli.paraview_process import display, find

    program = Path(__file__).parent / "render_frames.py"
    with display() as environment, tempfile.TemporaryDirectory() as scratch:

        def timed(count: int) -> float:
            import json

            started = time.perf_counter()
            processes = []
            for job in range(jobs):
                mine = times[:count][job::jobs]
                about = {
                    "state": str(state),
                    "size": [1280, 720],
                    "frames": [{"time": t, "file": f"{scratch}/{job}_{i}.png"} for i, t in enumerate(mine)],
                }
                file = Path(scratch) / f"job{job}.json"
                file.write_text(json.dumps(about))
                processes.append(
                    subprocess.Popen(
                        [find("pvpython"), str(program), str(file)],
                        env=environment,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                )
            assert all(process.wait() == 0 for process in processes)
            return time.perf_counter() - started

        few = jobs
        return (timed(len(times)) - timed(few)) / (len(times) - few)


def main() -> None:
    """Measure, and print."""
    from tensorview_insitu.index import read_index

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", default=list(RUNS), metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--frames", type=int, default=12)
    options = parser.parse_args()
    for name in options.runs:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            write(folder, *RUNS[name])
            seconds, peak = command("export", str(folder))
            export = folder / "paraview"
            count = sum(len(files) for _, _, files in os.walk(export))
            print(f"{name}: export {seconds:.1f} s, {count} files, peak {peak:.0f} MB", flush=True)
            held = read_index(export)["layers"][0]["grids"]
            assert held is not None
            known = held["times"]["epochs"]
            times = [known[i % len(known)] for i in range(options.frames)]
            for view in VIEWS:
                first, peak = command("render", str(folder), "--view", view)
                one = frames(str(folder), export / "states" / f"{view}.pvsm", times, 1)
                two = frames(str(folder), export / "states" / f"{view}.pvsm", times, 2)
                print(
                    f"  {view:20} first picture {first:4.1f} s; {one:.2f} s a frame, {two:.2f} s by two; "
                    f"peak {peak:.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
