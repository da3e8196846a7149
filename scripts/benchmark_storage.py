"""How fast a run is written, opened and packed, each beside what the disk gives a plain file.

python scripts/benchmark_storage.py [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tensorview_insitu.run import examine
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Block, Rows
from tensorview_insitu.run.segment import content
from tensorview_insitu.run.writer import RunWriter

_TIMES = 5


def median_seconds(do: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """The median time of a few repetitions."""
    taken = []
    for _ in range(_TIMES):
        prepare()
        taken.append(seconds(do))
    return statistics.median(taken)


def seconds(do: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def write_plain(path: Path, data: bytes, *, durable: bool = False) -> None:
    """A plain file, as fast as it goes."""
    with open(path, "wb", buffering=0) as file:
        file.write(data)
        if durable:
            os.fsync(file.fileno())


def write_segment(path: Path, blocks: list[Block], *, durable: bool = False) -> None:
    """A segment, as the writer does."""
    publish(path, content(blocks, "run", 0, 0), durable=durable)


def steps_rows(first: int, count: int) -> Rows:
    """Rows of /steps."""
    steps = np.arange(first, first + count)
    table = np.column_stack([steps, steps // 1000 + 1, steps % 1000, steps * 0.01])
    return Rows(steps, table.astype(np.float64), {"columns": ["step", "epoch", "batch", "wall_time"]})


def kernels(first: int, count: int) -> Block:
    """Snapshots of a 3 x 3 x 64 x 64 kernel, 147 kB each."""
    values = np.random.default_rng(first).normal(size=(count, 3, 3, 64, 64)).astype(np.float32)
    about = {"dims": ["snapshot", "row", "column", "channel", "filter"], "filter_axis": 4}
    return {"layers/conv/kernel": Rows(np.arange(first, first + count), values, about)}


def array_writing(folder: Path) -> str:
    """Snapshots into a segment, against the same bytes into a plain file without checksums."""
    blocks = [kernels(i, 1) for i in range(200)]
    plain = b"".join(rows.values.tobytes() for block in blocks for rows in block.values())
    lines = []
    for where, durable in (("onto the disk (fsync)", True), ("as far as the page cache", False)):
        as_plain = partial(write_plain, folder / "plain", plain, durable=durable)
        as_segment = partial(write_segment, folder / "segment", blocks, durable=durable)
        pairs = []
        for _ in range(3 * _TIMES):  # in turn: a disk has moods
            for old in folder.iterdir():
                old.unlink()
            pairs.append((seconds(as_plain), seconds(as_segment)))
        theirs, ours = (len(plain) / statistics.median(taken) / 1e6 for taken in zip(*pairs, strict=True))
        ratio = statistics.median(plainly / segmented for plainly, segmented in pairs)
        lines.append(f"arrays {where}: {ours:.0f} MB/s, a plain file {theirs:.0f} MB/s: {ratio:.0%} of it")
    return "\n".join(lines)


def scalar_writing(folder: Path) -> str:
    """Rows of 12 scalars, handed over in blocks of 256 as the tap drains them."""
    rows = 256 * 400
    columns = [f"metric_{i}" for i in range(12)]
    values = np.random.default_rng(0).random((256, 12))
    blocks = [
        {
            "steps": steps_rows(first, 256),
            "scalars/batch": Rows(np.arange(first, first + 256), values, {"columns": columns}),
        }
        for first in range(1, rows, 256)
    ]
    start, cpu = time.perf_counter(), time.thread_time()
    writer = RunWriter(folder / "scalars")
    for block in blocks:
        writer.write(block)
    handed = time.thread_time() - cpu
    writer.flush(seconds=60)
    taken = time.perf_counter() - start
    return (
        f"scalars: {taken / rows * 1e6:.2f} us a row until it is on disk, "
        f"{handed / rows * 1e6:.2f} us of the training's thread"
    )


def opening(folder: Path) -> str:
    """A run of 100,000 steps and 500 layers."""
    writer = RunWriter(folder / "large")
    about = {"dims": ["snapshot", "filter"], "filter_axis": 1}
    for first in range(1, 100_001, 10_000):
        block: dict[str, Rows] = {"steps": steps_rows(first, 10_000)}
        steps = np.arange(first, first + 10_000)
        block["scalars/batch"] = Rows(steps, np.ones((10_000, 3)), {"columns": ["loss", "accuracy", "rate"]})
        for layer in range(500):
            block[f"layers/layer_{layer}/bias"] = Rows(np.array([first]), np.ones((1, 64), np.float32), about)
        writer.write(block)
        writer.flush(seconds=60)
    writer.finish("finished")
    opened = median_seconds(lambda: Run.open(folder / "large"))
    curve = median_seconds(lambda: Run.open(folder / "large").scalars("batch"))
    one = median_seconds(lambda: Run.open(folder / "large").variable("layer_250", "bias"))
    # As in a new process: a child process looks through the file for what no recorder writes.
    names = median_seconds(lambda: Run.open(folder / "large").datasets(), examine._verdicts.clear)
    return (
        f"opening 100,000 steps and 500 layers: {opened * 1e3:.1f} ms; its loss curve {curve * 1e3:.0f} ms; "
        f"one variable {one * 1e3:.0f} ms; all names and shapes, for the first time, {names * 1e3:.0f} ms"
    )


def packing(folder: Path) -> str:
    """Segments of 32 MB into run.h5, against a copy of the same files."""
    source = folder / "segments"
    writer = RunWriter(source)
    for first in range(1, 2001, 200):
        writer.write({"steps": steps_rows(first, 200), **kernels(first, 200)})
        writer.flush(seconds=60)
    files = sorted((source / "segments").glob("*.h5"))
    size = sum(file.stat().st_size for file in files)
    target, copy = folder / "packed", folder / "copy"

    def fresh() -> None:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)

    def copied() -> None:
        with open(copy, "wb") as file:
            for each in files:
                with open(each, "rb") as part:
                    shutil.copyfileobj(part, file, 1 << 20)

    ours = median_seconds(lambda: pack(target), fresh)
    plain = median_seconds(copied)
    return (
        f"packing {size / 1e6:.0f} MB: {size / ours / 1e6:.0f} MB/s, a copy {size / plain / 1e6:.0f} MB/s: "
        f"{plain / ours:.0%} of it"
    )


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="on which disk (default: the system's temporary folder)")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, median of {_TIMES}; of arrays, of {3 * _TIMES} pairs")
    for measure in (array_writing, scalar_writing, opening, packing):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(measure(Path(folder)), flush=True)


if __name__ == "__main__":
    main()
