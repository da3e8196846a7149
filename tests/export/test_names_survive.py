"""Names of layers, whatever they are made of, come back from the run, and from files that VTK reads."""

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_collection, read_image
from written import block

from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import read_index
from tensorview_insitu.run.layout import escaped, unescaped, variable_dataset
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter

# Keras forbids "/" alone; surrogates are no text that a file could hold.
NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/", exclude_categories=("Cs",)), min_size=1, max_size=300),
    st.sampled_from(
        [
            ".",
            "..",
            "...",
            "CON",
            "nul.txt",
            "<&\">'",
            "=HYPERLINK()",
            "kernel_steps",
            "%2E",
            "a\0b",
            "x" * 300,
            " ",
        ]
    ),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(names=st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_any_name_of_a_layer_comes_back_from_every_file(names):
    names = [*names, names[0].swapcase()] if names[0].swapcase() not in names else names
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        writer = RunWriter(folder)
        rows = block(1, 2)
        kernel = rows.pop("layers/conv/kernel")
        for number, name in enumerate(names):
            values = np.full((2, 3, 2), number, np.float32)
            rows[variable_dataset(name, "kernel")] = Rows(kernel.steps, values, kernel.attributes)
        norms = np.ones((2, len(names)), np.float32)
        rows["gradient_norms"] = Rows(kernel.steps, norms, {"columns": [f"{name}/kernel" for name in names]})
        writer.describe(
            layers=[{"path": n, "class": "Conv1D", "variables": {"kernel": [3, 2]}} for n in names]
        )
        writer.write(rows)
        writer.finish("finished")

        run = Run.open(folder)
        assert [layer for layer, _ in run.variables()] == names
        out = Path(scratch) / "out"
        export_run(run, out, layers=names)
        index = read_index(out)
        assert [layer["name"] for layer in index["layers"]] == names
        assert len({layer["folder"].casefold() for layer in index["layers"]}) == len(names)
        for number, layer in enumerate(index["layers"]):
            (variable,) = layer["variables"]
            collection = out / variable["file"]
            assert collection.resolve().is_relative_to(out.resolve())
            files = read_collection(collection)
            assert len(files) == 2
            points, cells, _ = read_image(files[-1][1])
            assert all(np.all(array == number) for array in [*points.values(), *cells.values()])
            assert points or cells
        with (out / index["tables"]["gradient_norms"]["file"]).open(newline="", encoding="utf-8") as table:
            assert len(list(csv.reader(table))) > 2
        json.loads((out / "index.json").read_text(encoding="utf-8"))


@given(name=st.text(st.characters(exclude_categories=("Cs",)), max_size=50))
def test_an_escaped_name_is_given_back(name):
    assert unescaped(escaped(name)) == name
    parts = escaped(name).split("/")
    assert not {"", ".", ".."} & set(parts) and "\0" not in escaped(name)
    assert not any(part.endswith("_steps") for part in parts)
