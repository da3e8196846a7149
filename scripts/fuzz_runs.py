"""Change runs as a stranger or a broken disk would, and see that every command and reader answers in a line.

    python scripts/fuzz_runs.py --seconds 3600
    python scripts/fuzz_runs.py --seed 7 --first 1234 --cases 1     # one case again

A case is a small run and one to three changes of it, all chosen by the seed and the case's number: values of
run.json by type, HDF5 attributes, datasets, types, shapes and links by way of h5py, raw bytes,
kinds of files.
Then `info`, `verify`, `export`, `compare` and `pack`, and all that `Run` reads, must end with an answer or
one of the documented exceptions of one line: no other exception, no signal, no more memory or time than a
limit. What is read without complaint after raw bytes have changed must be what was written. (Who writes
numbers into a file by HDF5 itself writes its checksums too: that they are others is no damage.)

Cases run in a child process, which a crash ends; the next child goes on with the next case.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tensorview_insitu.index import NoExportError
from tensorview_insitu.loading.plain_file import ForeignFileError
from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import NotARunError, NotInRunError
from tensorview_insitu.run.identity import read_identity, write_identity
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter

_SECONDS_A_CASE = 60.0  # others may compute beside this; what hangs, hangs longer
_MEMORY_BYTES = 4 << 30
_EXPORTS = 5  # every fifth case is exported too: that takes longer than all the rest

# ---- the runs that are changed


def write_run(folder: Path, *, packed: bool) -> None:
    """A run with one of everything: in one file, or as a crash leaves it (segments and a tail)."""
    writer = RunWriter(folder)
    layers = [
        {
            "path": "conv",
            "class": "Conv2D",
            "trainable": True,
            "variables": {"kernel": [2, 2, 1, 3], "bias": [3]},
        },
        {"path": "a/dense", "class": "Dense", "trainable": True, "variables": {"kernel": [4, 2]}},
    ]
    writer.describe(model="m", backend="none", steps_per_epoch=4, planned_epochs=3, layers=layers)
    chance = np.random.default_rng(0)
    for epoch in (1, 2, 3):
        writer.write(_epoch(epoch, chance), epoch_end=True)
        writer.flush(60)
    writer.finish("finished", packed=packed)
    if not packed:  # the last segment was a tail still, that nobody has counted
        os.replace(layout.segment_file(folder, 2, 2), folder / layout.SEGMENT_FOLDER / layout.TAIL_FILE)
        identity = read_identity(folder)
        with h5py.File(folder / layout.SEGMENT_FOLDER / layout.TAIL_FILE) as file:
            rows = {
                name: count - file[name].shape[0] if name in file else count
                for name, count in identity["rows"].items()
            }
        write_identity(folder, identity | {"segments": 2, "rows": rows})


def _epoch(epoch: int, chance: np.random.Generator) -> dict[str, Rows]:
    steps = np.arange(4 * epoch - 3, 4 * epoch + 1)
    end = steps[-1:]
    some = lambda *shape: chance.normal(size=shape).astype(np.float32)  # noqa: E731
    table = np.column_stack([steps, np.full(4, epoch), [1, 2, 3, 4], steps * 0.5])
    names = ["conv/kernel", "conv/bias", "a/dense/kernel"]
    statistics = {
        "dims": ["snapshot", "statistic", "filter"],
        "filter_axis": 2,
        "statistics": ["mean", "standard_deviation", "smallest", "largest", "l2_norm"],
    }
    block = {
        "steps": Rows(steps, table, {"columns": list(layout.STEPS_COLUMNS)}),
        "scalars/batch": Rows(
            steps, chance.random((4, 3)), {"columns": ["loss", "accuracy", "learning_rate"]}
        ),
        "scalars/epoch": Rows(
            end,
            np.array([[epoch, 1 / epoch, 0.5, 2 / epoch]]),
            {"columns": ["epoch", "loss", "accuracy", "val_loss"]},
        ),
        "gradient_norms": Rows(steps, chance.random((4, 3)).astype(np.float32), {"columns": names}),
        "update_norms": Rows(end, chance.random((1, 3)).astype(np.float32), {"columns": names}),
        "weight_norms": Rows(end, chance.random((1, 3)).astype(np.float32), {"columns": names}),
        "layers/conv/kernel": Rows(
            end,
            some(1, 2, 2, 1, 3),
            {"dims": ["snapshot", "row", "column", "channel", "filter"], "filter_axis": 4},
        ),
        "layers/conv/bias": Rows(end, some(1, 3), {"dims": ["snapshot", "filter"], "filter_axis": 1}),
        "layers/a/dense/kernel": Rows(
            end, some(1, 4, 2), {"dims": ["snapshot", "channel", "filter"], "filter_axis": 2}
        ),
        "statistics/conv/kernel": Rows(end, some(1, 5, 3), statistics),
        "histograms/conv/kernel/counts": Rows(
            end, some(1, 4), {"dims": ["snapshot", "bin"], "filter_axis": 1}
        ),
        "histograms/conv/kernel/range": Rows(
            end, np.array([[-1.0, 1.0]], np.float32), {"dims": ["snapshot", "edge"], "filter_axis": 1}
        ),
        "filter_gradient_norms/conv/kernel": Rows(
            end, chance.random((1, 3)).astype(np.float32), {"dims": ["step", "filter"], "filter_axis": 1}
        ),
        "activations/conv/maps": Rows(
            end,
            chance.random((1, 2, 3, 3, 3)).astype(np.float16),
            {"dims": ["snapshot", "sample", "row", "column", "filter"], "filter_axis": 4, "stride": 1},
        ),
        "activations/conv/statistics": Rows(end, some(1, 5, 3), statistics),
        "dead_filters": Rows(end, np.array([[1.0]]), {"columns": ["conv"]}),
        "explanations/grad_cam/maps": Rows(
            end,
            some(1, 2, 4, 4),
            {
                "dims": ["snapshot", "sample", "row", "column"],
                "method": "grad_cam",
                "stride": 1,
                "layer": ["conv", "the last"],
                "score": "of the class",
            },
        ),
        "explanations/grad_cam/focus": Rows(
            end,
            np.array([[0, 0.5, np.nan, 1, 0.25, np.nan]]),
            {"columns": ["class_0", "probability_0", "drift_0", "class_1", "probability_1", "drift_1"]},
        ),
    }
    if epoch == 1:
        block["explanations/grad_cam/images"] = Rows(
            end,
            some(1, 2, 4, 4, 1),
            {"dims": ["snapshot", "sample", "row", "column", "channel"], "stride": 1},
        )
    return block


# ---- what is read, and the commands

DOCUMENTED = (NotARunError, NotInRunError, ForeignFileError, NoExportError, OSError)


def everything(run: Run) -> dict[str, Any]:
    """All that can be asked of a run."""
    found: dict[str, Any] = {"identity": run.identity, "status": run.status, "datasets": run.datasets()}
    tables: dict[str, Callable[[], Any]] = {
        "steps": run.steps,
        "batch": lambda: run.scalars("batch"),
        "epoch": lambda: run.scalars("epoch"),
        "gradient norms": run.gradient_norms,
        "update norms": run.update_norms,
        "weight norms": run.weight_norms,
        "dead filters": run.dead_filters,
        "evaluations": run.evaluations,
    }
    for name, table in tables.items():
        read = table()
        found[name] = {column: read[column].to_numpy() for column in read}
    arrays: dict[str, Callable[[], Any]] = {
        "statistics": lambda: run.statistics("conv", "kernel"),
        "histogram": lambda: run.histogram("conv", "kernel")[0],
        "filter norms": lambda: run.filter_gradient_norms("conv"),
        "maps": lambda: run.activations("conv"),
        "map statistics": lambda: run.activations("conv", "statistics"),
    }
    for layer, variable in run.variables():
        arrays[f"{layer}/{variable}"] = lambda la=layer, va=variable: run.variable(la, va)
    for name in run.explanations():
        arrays[f"{name} maps"] = lambda n=name: run.explanation(n)
        arrays[f"{name} images"] = lambda n=name: run.explanation(n, "images")
        tables[f"{name} focus"] = lambda n=name: run.focus(n)
    for name, array in arrays.items():
        try:
            some = array()
        except NotInRunError:
            continue
        found[name] = (
            some.values,
            some.dims,
            some.filter_axis,
            some.steps,
            some.epochs,
            dict(some.attributes),
        )
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two such answers are equal, to the bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return bool(one == other)


# ---- changes


class Change:
    """The changes of one case: what they were, and whether values may be others without being damaged."""

    def __init__(self, chance: random.Random, folder: Path, elsewhere: Path) -> None:
        self.chance = chance
        self.folder = folder
        self.elsewhere = elsewhere
        self.told: list[str] = []
        self.forged = False

    def make(self) -> None:
        """One to three changes."""
        kinds = [self._hdf5, self._json, self._bytes, self._file]
        chosen = self.chance.choices(kinds, [6, 4, 4, 1], k=self.chance.choice([1, 1, 1, 2, 3]))
        # Bytes last: this process, too, would die of opening what they break.
        for kind in sorted(chosen, key=kinds.index):
            try:
                kind()
            except Exception as error:
                # What an earlier change has broken cannot be changed once more.
                self.told.append(f"(not possible: {type(error).__name__})")

    def _files(self) -> list[Path]:
        return sorted(p for p in self.folder.rglob("*.h5") if p.is_file() and not p.is_symlink())

    def _hdf5(self) -> None:
        path = self.chance.choice(self._files())
        self.forged = True
        with h5py.File(path, "a", libver=("v110", "v110")) as file:
            change = self.chance.choice(
                [self._attribute] * 4
                + [self._replace] * 4
                + [self._values] * 3
                + [self._labels, self._link, self._add]
            )
            self.told.append(f"{path.name}: {change(file)}")

    def _names(self, file: h5py.File) -> list[str]:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return names

    def _attribute(self, file: h5py.File) -> str:
        thing = self.chance.choice([file, *(file[name] for name in self._names(file))])
        known = [
            *thing.attrs,
            "columns",
            "dims",
            "filter_axis",
            "first",
            "last",
            "statistics",
            "layer",
            "untrusted",
        ]
        key = self.chance.choice(known)
        if key in thing.attrs and self.chance.random() < 0.2:
            del thing.attrs[key]
            return f"{thing.name}@{key} deleted"
        value = self.chance.choice([
            10**9, -1, 0, 2**63 - 1, -(2**63), float("nan"), float("inf"), 1e300, "", "text", "[" * 50_000,
            "[1, 2]",
            '["a"]', '["a", "a"]', "[NaN]", '"\\ud800"', "x" * 60_000, True, np.arange(4), np.zeros((2, 2)),
            h5py.Empty("f"), np.array(["a", "b"], dtype="S1"), b"\xff\xfe", file.ref, np.float16(1), 3j,
            np.zeros(2, "i4,f8"), json.dumps(["snapshot", "row", "column"]), json.dumps(list("abcdefgh")[:4]),
            json.dumps(["snapshot", "filter"]), json.dumps([{"a": 1}] * 3), json.dumps(["x\n\x1b[31m"] * 4),
        ])  # fmt: skip
        if isinstance(value, str) and self.chance.random() < 0.7:
            value = np.bytes_(value.encode() or b" ")
        thing.attrs[key] = value
        return f"{thing.name}@{key} = {str(value)[:40]!r}"

    def _replace(self, file: h5py.File) -> str:
        name = self.chance.choice(self._names(file))
        old = file[name]
        about, values = dict(old.attrs), old[()]
        del file[name]
        shape = values.shape
        n = self.chance.choice([0, 1, 2, 5, 100])
        kinds: dict[str, Callable[[], Any]] = {
            "nothing": lambda: None,
            "a group": lambda: file.create_group(name),
            "a scalar": lambda: file.create_dataset(name, data=1.0),
            "a null": lambda: file.create_dataset(name, data=h5py.Empty("f")),
            "words": lambda: file.create_dataset(name, data=["a"] * 4),
            "fixed words": lambda: file.create_dataset(name, data=np.full(shape, b"abc")),
            "bools": lambda: file.create_dataset(name, data=np.full(shape, True)),
            "complex": lambda: file.create_dataset(name, data=np.full(shape, 1j)),
            "a compound": lambda: file.create_dataset(name, data=np.zeros(shape, "i4,f8")),
            "references": lambda: file.create_dataset(name, shape, h5py.ref_dtype),
            "lists": lambda: file.create_dataset(name, shape, h5py.vlen_dtype(np.int32)),
            "an array type": lambda: file.create_dataset(name, (4,), np.dtype((np.float32, (3,)))),
            "a named type": lambda: file.__setitem__(name, np.dtype("f8")),
            "opaque": lambda: file.create_dataset(name, data=np.zeros(shape, "V5")),
            "other numbers": lambda: file.create_dataset(
                name, data=values.astype(self.chance.choice(["f2", "f4", "f8", ">f4", "i8", "u1", "i4", "g"]))
            ),
            "fewer or more rows": lambda: file.create_dataset(name, data=np.resize(values, (n, *shape[1:]))),
            "one axis more": lambda: file.create_dataset(name, data=values[..., None]),
            "one axis less": lambda: file.create_dataset(
                name, data=values.reshape(shape[0] if shape[0] else 1, -1)[:, 0]
            ),
            "turned": lambda: file.create_dataset(name, data=values.T),
            "another width": lambda: file.create_dataset(name, data=np.resize(values, (*shape[:-1], n))),
            "4 GB of nothing": lambda: file.create_dataset(
                name, (shape[0], 1 << 30), "f4", chunks=(1, 1 << 20)
            ),
            "4 GB, contiguous": lambda: file.create_dataset(name, (1 << 30,), "f4"),
            "half of the chunks": lambda: file.create_dataset(
                name, shape, "f4", chunks=(1, *shape[1:])
            ).__setitem__(0, values[0]),
            "a bomb": lambda: file.create_dataset(
                name, (1 << 24,), "f4", chunks=(1 << 22,), compression="gzip", fillvalue=0
            ).__setitem__(slice(None), 0),
            "lzf": lambda: file.create_dataset(name, data=values, chunks=shape, compression="lzf"),
            "gzip": lambda: file.create_dataset(
                name, data=values, chunks=shape, compression="gzip", fletcher32=True
            ),
            "scale-offset": lambda: file.create_dataset(name, data=values, chunks=shape, scaleoffset=2),
            "another file's": lambda: file.create_dataset(
                name, shape, "f4", external=[(str(self.elsewhere / "secret"), 0, 1 << 20)]
            ),
            "virtual": lambda: file.create_virtual_dataset(name, self._virtual(shape)),
        }
        kind = self.chance.choice(list(kinds))
        made = kinds[kind]()
        if isinstance(made, h5py.Dataset):
            made.attrs.update(about)
        return f"/{name} is {kind} ({n})"

    def _virtual(self, shape: tuple[int, ...]) -> h5py.VirtualLayout:
        made = h5py.VirtualLayout(shape, "f4")
        made[...] = h5py.VirtualSource(str(self.elsewhere / "secret.h5"), "x", shape)
        return made

    def _values(self, file: h5py.File) -> str:
        names = [n for n in self._names(file) if n.endswith("_steps") or "columns" in file[n].attrs]
        name = self.chance.choice(names)
        values = file[name][()].ravel()
        value = self.chance.choice(
            [-1, 0, 2**40, 2**62, -(2**63), float("nan"), float("inf"), 0.5, 1e308, -1e308, 1e9]
        )
        if values.dtype.kind == "i":
            value = int(value) if np.isfinite(value) and abs(value) < 2**63 else 7
        at = self.chance.choice([slice(None), self.chance.randrange(max(1, len(values)))])
        values[at] = value
        if self.chance.random() < 0.2:
            values = values[::-1]
        file[name][...] = values.reshape(file[name].shape)
        return f"/{name}[{at}] = {value}"

    def _labels(self, file: h5py.File) -> str:
        name = self.chance.choice(self._names(file))
        to = self.chance.choice([
            "layers/..", "layers/../../x/kernel", "layers/conv/kernel_steps_steps", f"{name}_steps",
            f"{name}/deeper", "x",
            "scalars/epoch", "steps", "layers/conv", "quantities/own", "explanations/focus",
            "layers/ /kernel",
        ])  # fmt: skip
        file.move(name, to)
        return f"/{name} moved to {to}"

    def _link(self, file: h5py.File) -> str:
        name = self.chance.choice(self._names(file))
        place = f"{self.chance.choice(list(file))}/linked"
        link: Any = self.chance.choice([
            h5py.SoftLink(f"/{name}"), h5py.SoftLink("/nowhere"), h5py.SoftLink(f"/{place}"),
            h5py.ExternalLink(str(self.elsewhere / "secret.h5"), "/x"), file[name], file["layers"], file,
        ])  # fmt: skip
        file[place] = link
        return f"/{place} is {link}"

    def _add(self, file: h5py.File) -> str:
        kind = self.chance.choice(
            ["numbers with steps", "numbers", "groups", "depth", "attributes", "chunks"]
        )
        if kind.startswith("numbers"):
            file["later/kind/of"] = np.zeros((3, 2), "f4")
            if "steps" in kind:
                file["later/kind/of_steps"] = np.arange(3)
        elif kind == "groups":
            for number in range(20_000 if self.chance.random() < 0.1 else 500):
                file.create_group(f"layers/g{number}")
        elif kind == "depth":
            file.create_group("layers" + "/x" * self.chance.choice([50, 2000]))
        elif kind == "attributes":
            for number in range(1000):
                file.attrs[f"a{number}"] = number
        else:
            file.create_dataset("layers/conv/many", (20_000, 1), "f4", chunks=(1, 1))
        return f"added {kind}"

    def _bytes(self) -> None:
        path = self.chance.choice([*self._files(), self.folder / layout.RUN_FILE])
        data = bytearray(path.read_bytes())
        told = change_bytes(self.chance, data)
        path.write_bytes(data)
        self.told.append(f"{path.name}: {told}")

    def _json(self) -> None:
        path = self.folder / layout.RUN_FILE
        self.forged = True
        if self.chance.random() < 0.15:
            text = self.chance.choice([
                "", "null", "[]", "1", "{}", "[" * 100_000, '{"a":' * 100_000, "[" * 50_000 + "]" * 50_000,
                '"x"', "{",
                '{"format": "tensorview-insitu run"}', "\ufeff{}", "NaN", "1" * 10_000, "\x00" * 100,
                '{"format": "tensorview-insitu run", "version": 1, "x": ' + "[" * 900 + "]" * 900 + "}",
                '{"format": "tensorview-insitu run", "version": 1, "x": ' + "[" * 20_000 + "]" * 20_000 + "}",
            ])  # fmt: skip
            path.write_text(text)
            self.told.append(f"run.json is {text[:40]!r}")
            return
        identity = json.loads(path.read_text())
        holder: Any = identity
        key: Any = self.chance.choice([
            *identity, "untrusted", "segments", "rows", "thinned", "resumed", "dropped_rows", "error",
            "ended",
        ])  # fmt: skip
        where = str(key)
        while key in holder if isinstance(holder, dict) else True:
            inner = holder[key]
            if not isinstance(inner, dict | list) or not inner or self.chance.random() < 0.3:
                break
            holder, key = (
                inner,
                self.chance.choice(list(inner) if isinstance(inner, dict) else range(len(inner))),
            )
            where += f".{key}"
        if key in holder if isinstance(holder, dict) else True:
            if self.chance.random() < 0.15:
                del holder[key]
                value: Any = "deleted"
            else:
                value = holder[key] = self._json_value()
        else:
            value = holder[key] = self._json_value()
        identity.pop("crc32", None)
        identity["crc32"] = zlib.crc32(json.dumps(identity, sort_keys=True).encode())
        path.write_text(json.dumps(identity))
        self.told.append(f"run.json: {where} = {str(value)[:40]!r}")

    def _json_value(self) -> Any:
        return self.chance.choice([
            None, True, False, 0, 1, -1, 10**9, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"),
            float("inf"), "",
            "x", "running", "\n\x1b[31m", "\ud800", "x" * 100_000, [], {}, [None], [1], ["x"], {"x": 1},
            {"x": None},
            {"": {}}, [[]], [{}], {"x": {"y": "z"}}, {"steps": {"loss": "why"}}, [{"path": "conv"}], [["x"]],
            {"x": ["y"]},
        ])  # fmt: skip

    def _file(self) -> None:
        path = self.chance.choice([
            *self._files(), self.folder / layout.RUN_FILE, self.folder / layout.SEGMENT_FOLDER,
            self.folder / "paraview",
            self.folder / layout.PACKED_FILE, self.folder / layout.SEGMENT_FOLDER / layout.TAIL_FILE,
            layout.segment_file(self.folder, 0, 0), layout.segment_file(self.folder, 7, 10**15),
        ])  # fmt: skip
        kind = self.chance.choice(
            ["FIFO", "folder", "link", "loop", "socket", "empty", "gone", "device", "moved"]
        )
        path.parent.mkdir(exist_ok=True)
        if kind == "moved" and path.exists():
            to = self.chance.choice(
                [self.folder / "run.h5", layout.segment_file(self.folder, 0, 2), path.with_name("x.h5")]
            )
            to.parent.mkdir(exist_ok=True)
            path.rename(to)
            self.told.append(f"{path.name} moved to {to.name}")
            self.forged = True  # which files there are is another matter than what is in them
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        self.forged = True
        self.told.append(f"{path.name} is {kind}")
        if kind == "FIFO":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(
                self.chance.choice([self.elsewhere, self.elsewhere / "secret.h5", self.elsewhere / "no"])
            )
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "device":
            path.symlink_to(self.chance.choice(["/dev/zero", "/dev/null", "/dev/tty"]))
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        elif kind == "empty":
            path.touch()


def change_bytes(chance: random.Random, data: bytearray) -> str:
    """Change raw bytes in place; what was done."""
    size = max(1, len(data))
    at, other = chance.randrange(size), chance.randrange(size)
    n = chance.choice([1, 2, 4, 8, 16, 64, 512, 4096])
    kind = chance.choice(
        ["flip", "insert", "delete", "truncate", "copy", "swap", "zero", "random", "append", "ones"]
    )
    if kind == "flip":
        for _ in range(chance.choice([1, 1, 2, 8])):
            data[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif kind == "insert":
        data[at:at] = chance.choice([bytes(n), chance.randbytes(n), data[other : other + n]])
    elif kind == "delete":
        del data[at : at + n]
    elif kind == "truncate":
        del data[at:]
    elif kind == "copy":
        if chance.random() < 0.5:  # as a disk does it
            n = chance.choice([512, 4096])
            at, other = at // n * n, other // n * n
        data[at : at + n] = data[other : other + n]
    elif kind == "swap":
        first, second = sorted((at // n * n, other // n * n))
        one, two = data[first : first + n], data[second : second + n]
        data[second : second + n], data[first : first + n] = one, two
    elif kind == "append":
        data += chance.randbytes(n)
    else:
        new = {"zero": bytes(n), "ones": b"\xff" * n}.get(kind) or chance.randbytes(n)
        data[at : at + n] = new[: len(data) - at]
    return f"{kind} {n} at {at} (of {other})"


# ---- one case


def run_case(
    seed: int, number: int, bases: list[Path], truths: list[Any], scratch: Path
) -> tuple[list[str], bool]:
    """Change a run and try everything on it; what went wrong, and whether it was refused by all."""
    chance = random.Random(f"{seed}/{number}")
    which = chance.randrange(len(bases))
    folder = scratch / "run"
    shutil.copytree(bases[which], folder)
    change = Change(chance, folder, bases[0].parent / "elsewhere")
    change.make()
    before = _listed(change.elsewhere)
    findings: list[str] = []
    refused = 0
    tries: dict[str, Callable[[], Any]] = {
        "info": lambda: _command("info", str(folder)),
        "info --json": lambda: _command("info", str(folder), "--json"),
        "read": lambda: _read(folder, None if change.forged else truths[which]),
        "verify": lambda: _command("verify", str(folder)),
        "export": lambda: _command("export", str(folder)),
        "export --skip-damaged": lambda: _command(
            "export", str(folder), "--skip-damaged", "-o", str(scratch / "e")
        ),
        "compare": lambda: _command("compare", str(bases[1 - which]), str(folder), "-o", str(scratch / "c")),
        "pack": lambda: _command("pack", str(folder)),
    }
    if number % _EXPORTS:
        tries = {
            name: attempt for name, attempt in tries.items() if name.split()[0] not in ("export", "compare")
        }
    for name, attempt in tries.items():
        start = time.monotonic()
        try:
            attempt()
        except DOCUMENTED as error:
            refused += 1
            if "\n" in str(error) or not str(error):
                findings.append(
                    f"{name}: {type(error).__name__} of several lines, or none: {str(error)[:200]!r}"
                )
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-3:]
            lines = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(where))
            findings.append(f"{name}: {type(error).__name__}: {str(error)[:200]} [{lines}]")
        seconds = time.monotonic() - start
        if seconds > _SECONDS_A_CASE / 3:
            findings.append(f"{name}: took {seconds:.0f} s")
    if _listed(change.elsewhere) != before:
        findings.append("something was written elsewhere")
    shutil.rmtree(scratch)
    scratch.mkdir()
    told = [f"case {number} ({'; '.join(change.told)}): {finding}" for finding in findings]
    return told, refused >= len(tries) - 1  # `verify` answers


def _listed(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.lstat().st_mtime_ns) for p in folder.rglob("*"))


def _read(folder: Path, truth: Any) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = everything(Run.open(folder))
    if truth is not None and not told and not same(found, truth):
        wrong = [key for key in truth if key not in found or not same(found[key], truth[key])]
        raise AssertionError(f"read otherwise than written, in silence: {wrong}")


def _command(*arguments: str) -> None:
    from tensorview_insitu.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main(arguments)
        except ValueError as error:
            if "A run is packed when its training ends" not in str(error):
                raise
            code = 0
    if code not in (0, 1):
        raise AssertionError(f"ended with {code}")


def serve(seed: int, first: int, folder: Path) -> None:
    """The child: case after case, each told when it begins and when it has ended."""
    os.environ["TENSORVIEW_INSITU_DEBUG"] = "1"  # commands raise what they would tell in a line
    warnings.simplefilter("ignore")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES,) * 2)
    bases = [folder / "packed", folder / "segments"]
    truths = [everything(Run.open(base)) for base in bases]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        number = first
        while True:
            print(json.dumps({"begins": number}), flush=True)
            findings, refused = run_case(seed, number, bases, truths, Path(scratch))
            print(json.dumps({"ended": number, "findings": findings, "refused": refused}), flush=True)
            number += 1


# ---- all cases


def fuzz(seed: int, first: int, cases: int | None, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Try cases until their number, or the time, is reached.

    Args:
        seed: of all.
        first: the number of the first.
        cases: how many; None: as many as there is time for.
        seconds: how long.
        say: called with each finding.

    Returns:
        The findings.
    """
    end = time.monotonic() + seconds
    findings: list[str] = []
    number, refused = first, 0

    def more() -> bool:
        return time.monotonic() < end and (cases is None or number < first + cases)

    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        write_run(folder / "packed", packed=True)
        write_run(folder / "segments", packed=False)
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "secret").write_bytes(bytes(1 << 20))
        with h5py.File(elsewhere / "secret.h5", "w") as file:
            file["x"] = np.arange(4.0)
        while more():
            for line in _child(seed, number, folder):
                if "end" in line:
                    findings.append(
                        f"case {number}: the process {line['end']} (--seed {seed} --first {number} --cases 1)"
                    )
                    say(findings[-1])
                for finding in line.get("findings", ()):
                    findings.append(f"{finding} (--seed {seed} --first {number} --cases 1)")
                    say(findings[-1])
                refused += line.get("refused", False)
                if "ended" in line or "end" in line:
                    number += 1
                if not more():
                    break
    say(f"{number - first} cases, {refused} refused at the door, {len(findings)} findings")
    return findings


def _child(seed: int, first: int, folder: Path) -> Iterator[dict[str, Any]]:
    """What a child tells, line by line, and at last how it ended, if not by us."""
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", str(folder), "--seed", str(seed)]
    process = subprocess.Popen(
        [*command, "--first", str(first)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                # A child tells a line at least at each case's beginning and end.
                if not selector.select(_SECONDS_A_CASE):
                    yield {"end": f"hung for {_SECONDS_A_CASE:.0f} s"}
                    return
                line = process.stdout.readline()
                if not line:
                    last = (process.stderr.read() or b"").decode(errors="replace").strip()[-300:]
                    yield {"end": f"ended with {process.wait()}: {last}"}
                    return
                yield json.loads(line)
    finally:
        process.kill()
        process.communicate()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default: an hour)")
    parser.add_argument("--seed", type=int, default=None, help="default: another each time")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--cases", type=int, default=None, help="how many cases (default: as time allows)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int(time.time())
    if options.serve is not None:
        serve(seed, options.first, options.serve)
    found = fuzz(seed, options.first, options.cases, options.seconds, lambda text: print(text, flush=True))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
