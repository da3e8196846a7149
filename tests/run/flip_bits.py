"""A program: flip single bits of a run, read all of it each time, and print what came of it as JSON."""

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.reader import Run


def everything(folder: Path) -> dict:
    """All that a user can ask of the run."""
    run = Run.open(folder)
    found = {"identity": run.identity, "status": run.status, "datasets": run.datasets()}
    for name, table in (
        ("steps", run.steps()),
        ("batch", run.scalars("batch")),
        ("epoch", run.scalars("epoch")),
    ):
        found[name] = {column: table[column].to_numpy() for column in table}
    for layer, variable in run.variables():
        some = run.variable(layer, variable)
        found[f"{layer}/{variable}"] = (some.values, some.dims, some.filter_axis, some.steps, some.epochs)
    return found


def same(one: object, other: object) -> bool:
    """Whether two such answers are equal, to the bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other


def main(source: Path, scratch: Path, flips: int, seed: int) -> None:
    """Flip that many bits, one at a time."""
    chance = random.Random(seed)
    truth = everything(source)
    files = [source / layout.PACKED_FILE, source / layout.RUN_FILE]
    contents = [file.read_bytes() for file in files]
    shutil.copytree(source, scratch)
    if not same(everything(scratch), truth):
        raise AssertionError("two readings of the same run differ")
    counts: dict[str, Any] = {"told": 0, "right": 0, "wrong": [], "other": []}
    for _ in range(flips):
        which = chance.choices([0, 1], [9, 1])[0]
        target, whole = scratch / files[which].name, contents[which]
        bit = chance.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        target.write_bytes(damaged)
        try:
            if same(everything(scratch), truth):
                counts["right"] += 1
            else:
                counts["wrong"].append(f"{target.name}: bit {bit}")
        except NotARunError:
            counts["told"] += 1
        except Exception as error:
            counts["other"].append(f"{target.name}: bit {bit}: {type(error).__name__}: {error}")
        target.write_bytes(whole)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
