"""A real ParaView takes states and scripts of a run with hostile names, runs nothing, and draws it all."""

from __future__ import annotations

import functools
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tensorview_insitu.export.files import Target
from tensorview_insitu.export.table import write_table
from tensorview_insitu.export.xdmf import export_xdmf
from tensorview_insitu.run.layout import variable_dataset
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter

sys.path.insert(0, str(Path(__file__).parent.parent / "text"))
from hostile import TEXTS, export_everything, record  # noqa: E402

# What ParaView, its formats and its mathematics say when a text means something to them.
COMPLAINTS = ("Invalid format", "MathText", "not found", "Traceback", "SyntaxError", "Error opening", "ERR|")
# Signs of file series, formats and globs.
FOLDER = "run [a-z]*{time} %04d ${TIME} 0001'\"; $x$ | \u00e9\nopen('x','w')"
SHOWN = (
    "export/states/biases", "export/states/dashboard", "export/states/distributions",
    "export/states/feature_maps", "export/states/gradient_norms", "export/states/network",
    "export/states/training_curves", "export/states/weight_trajectory", "comparison/states/compare",
    "explained/states/explanation_grid",
)  # fmt: skip


def texts(start: int, sentinel: object) -> list[str]:
    return [text.replace("{sentinel}", str(sentinel)) for text in TEXTS[start:] + TEXTS[:start]]


@pytest.mark.parametrize(("start", "ending"), [(0, ".py"), (15, ".pvsm"), (40, ".py")])
def test_hostile_names_run_nothing_and_are_drawn(start, ending, pvpython, tmp_path, monkeypatch):
    sentinel = tmp_path / "sentinel"
    ring = itertools.cycle(texts(start, sentinel))
    name = functools.cache(lambda _: next(ring))
    folder = tmp_path / FOLDER
    runs = [record(folder / "runs" / one, name, scale=scale) for one, scale in (("a", 1.0), ("b", 2.0))]
    export_everything(*runs, folder / "out", name)
    programs = [folder / "out" / f"{one}{ending}" for one in SHOWN]
    programs += sorted((folder / "out/xdmf/states").glob(f"*kernel{ending}"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    said = pvpython("draw_all.py", pictures, *programs)
    assert [line for line in said.split("\n") if any(one in line for one in COMPLAINTS)] == []
    # Nothing but pictures and their list was made.
    assert {path.parent for path in set(tmp_path.rglob("*")) - before} == {pictures}
    for number, program in enumerate(programs):
        with Image.open(pictures / f"{number}.png") as image:
            picture = np.asarray(image.convert("RGB"), int)
        assert picture.shape == (720, 1280, 3)
        assert (picture < 250).any(axis=2).mean() > 0.02, f"almost nothing was drawn of {program}"


def test_a_column_is_called_the_same_in_paraview_and_in_the_index(pvpython, tmp_path):
    names = list(dict.fromkeys([*texts(0, "x"), "a\\b", 'x"\\', "\\,"]))
    table = pd.DataFrame(np.arange(2.0 * len(names)).reshape(2, -1), columns=names)
    index = write_table(Target(tmp_path), "table.csv", table)
    pvpython("read_table.py", tmp_path / "table.csv", tmp_path / "read.json")
    read = json.loads((tmp_path / "read.json").read_text())
    assert list(read) == index["columns"]
    assert list(read.values()) == table.to_numpy().T.tolist()


def test_xdmf_reads_the_layer_whatever_it_is_called(pvpython, tmp_path):
    steps = np.arange(3)
    names = list(dict.fromkeys(text.replace("/", "") for text in [*texts(0, "x"), "conv:0"]))
    columns = {"columns": ["step", "epoch", "batch", "wall_time"]}
    block = {"steps": Rows(steps, np.column_stack([steps] * 4).astype(float), columns)}
    about = {"dims": ["snapshot", "filter"], "filter_axis": 1}
    for number, name in enumerate(names):
        values = (100 * number + np.arange(12).reshape(3, 4)).astype(np.float32)
        block[variable_dataset(name, "bias")] = Rows(steps, values, about)
    writer = RunWriter(tmp_path / "a:b" / "run")
    writer.describe(layers=[{"path": n, "class": "Dense", "variables": {"bias": [4]}} for n in names])
    writer.write(block)
    writer.finish("finished")
    run = Run.open(writer.folder)
    files = export_xdmf(run, run.folder / "paraview" / "xdmf")
    (tmp_path / "files.json").write_text(
        json.dumps([str(run.folder / "paraview/xdmf" / one["file"]) for one in files.files])
    )
    pvpython("read_xdmf.py", tmp_path / "files.json", tmp_path / "read.npz")
    read = np.load(tmp_path / "read.npz")
    assert len(files.files) == len(names)
    for number, one in enumerate(files.files):
        expected = run.variable(one["layer"], "bias").values[-1]
        np.testing.assert_array_equal(read[str(number)].ravel(), expected, err_msg=repr(one["layer"]))


def test_xdmf_that_cannot_name_run_h5_is_refused(tmp_path):
    run = record(tmp_path / "a:b", str)
    with pytest.raises(ValueError, match="without colons"):
        export_xdmf(run, tmp_path / "elsewhere")
