"""A run in which everything that has a name has one that somebody else chose, and all that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.states import write_raw_states, write_states

from tensorview_insitu.cli.explained import write_explained
from tensorview_insitu.explain.network import Explanation
from tensorview_insitu.export.comparison import export_comparison
from tensorview_insitu.export.run import export_run
from tensorview_insitu.export.vtkhdf import export_vtkhdf
from tensorview_insitu.export.xdmf import export_xdmf
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter

TEXTS = [
    "a\nimport os; os.system('touch {sentinel}')",
    "a\r\nopen('{sentinel}', 'w')",
    '"""\nopen("{sentinel}", "w")\n"""',
    "'''+open('{sentinel}','w')+'''",
    "\\",
    "a\\' + open('{sentinel}', 'w') #",
    "x\u2028open('{sentinel}', 'w')",
    "x\x85y\x0bz\x0cw\x1c",
    "\x1b]0;title\x07\x1b[31mred\x1b[0m",
    "nul\0byte",
    "\udc80lone\ud800",
    "\ufffe\uffff",
    "\u202eevil\u202c",
    "zero\u200bwidth\ufeff\u2060",
    '<&">\'</Proxy><Proxy type="ProgrammableFilter"/>',
    "]]><!--",
    "<!DOCTYPE x>&lt;&#10;",
    "$\\sqrt{2}$ and $x^2$",
    "one|two|three",
    "{ENV_username} {hostname} {time} ${TIME} {",
    "%s%d%n%b%%",
    "=HYPERLINK(\"http://x\")",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "a;=1+1",
    'a";=1',
    "a,b",
    "\uff1d1",
    " spaces ",
    "\u00a0",
    "NA",
    "nan",
    "True",
    "1e5",
    "007",
    "CON",
    "..",
    "../../../etc/x",
    "/etc/passwd",
    "C:\\x",
    "-rf",
    "*",
    "[a-z]?",
    "x0001.vti",
    "epoch",
    "step",
    "loss",
    "kernel",
    "lambda",
    "import",
    "data",
    "print",
    "e\u0301",
    "\u00e9",
    "\u4e2d\u6587",
    "\U0001f600",
    "n" * 300,
    "[red]x[/red]",
    "%41",
    "%",
    "a_steps",
    "grids",
    "kernel_by_step",
]  # fmt: skip

Names = Callable[[str], str]
_EPOCHS, _STEPS = 4, 2  # and steps of an epoch


def record(folder: Path, name: Names, *, scale: float = 1.0) -> Run:
    """A packed run with something of every kind.

    Args:
        folder: where to.
        name: takes what a thing would be called; gives what it is called.
        scale: of its numbers.
    """
    rng = np.random.default_rng(0)
    steps = np.arange(1, _EPOCHS * _STEPS + 1)
    epoch_of = (steps - 1) // _STEPS + 1
    ends = steps[_STEPS - 1 :: _STEPS]
    at = np.array([0, *ends])
    conv, dense = name("conv").replace("/", ""), name("classes").replace("/", "")
    own, metric = name("scale").replace("/", ""), name("accuracy")
    other = name("other")
    # Names that Keras gives itself, and what an epoch is told by.
    metric, other = (f"{m} metric" if m in ("loss", "epoch", "step") else m for m in (metric, other))
    own = "kernel of its own" if own == "kernel" else own

    def values(*shape: int) -> np.ndarray:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    def table(rows: np.ndarray, *columns: str) -> Rows:
        return Rows(rows, np.abs(values(len(rows), len(columns))).astype(np.float64), {"columns": [*columns]})

    def array(rows: np.ndarray, dims: list[str], *shape: int, **about: object) -> Rows:
        told = {"dims": ["snapshot", *dims], "filter_axis": len(dims), **about}
        return Rows(rows, values(len(rows), *shape), told)

    variables = [f"{conv}/kernel", f"{conv}/bias", f"{dense}/kernel", f"{dense}/{own}"]
    space = ["row", "column"]
    explained, why, of = name("explained"), name("why"), layout.explanation_dataset
    epochs = table(ends, "epoch", "loss", metric, "val_loss", f"val_{metric}", other)
    epochs.values[:, 0] = np.arange(1, _EPOCHS + 1)
    about = {"method": name("method"), "layer": [conv, why], "score": name("score")}
    block = {
        "steps": Rows(
            steps,
            np.column_stack([steps, epoch_of, (steps - 1) % _STEPS + 1, steps * 0.5]),
            {"columns": ["step", "epoch", "batch", "wall_time"]},
        ),
        "scalars/batch": table(
            steps, "loss", f"learning_rate/{name('optimizer')}", metric, f"running/{name('auc')}"
        ),
        "scalars/epoch": epochs,
        "scalars/evaluate": table(ends[-1:], "loss", metric),
        "gradient_norms": table(steps, *variables),
        "update_norms": table(steps, *variables),
        "weight_norms": table(steps, *variables),
        "dead_filters": table(ends, conv),
        layout.variable_dataset(conv, "kernel"): array(at, [*space, "channel", "filter"], 3, 3, 2, 4),
        layout.variable_dataset(conv, "bias"): array(at, ["filter"], 4),
        layout.variable_dataset(conv, "moving_mean"): array(at, ["filter"], 4),
        layout.variable_dataset(dense, "kernel"): array(at, ["channel", name("unit")], 5, 3),
        layout.variable_dataset(dense, own): array(at, ["filter"], 3),
        layout.activation_dataset(conv, "maps"): array(ends, ["sample", *space, "filter"], 2, 4, 4, 4),
        layout.activation_dataset(conv, "statistics"): array(
            ends, ["statistic", "filter"], 3, 4, statistics=["minimum", "maximum", name("statistic")]
        ),
        of(explained, "maps"): array(ends, ["sample", *space], 2, 5, 5, **about),
        of(explained, "images"): array(ends[:1], ["sample", *space, "channel"], 2, 5, 5, 1),
        of(explained, "focus"): table(ends, "class_0", "probability_0", "drift_0", name("inside")),
    }
    writer = RunWriter(folder)
    writer.describe(
        model=name("model"),
        backend=name("backend"),
        planned_epochs=_EPOCHS,
        steps_per_epoch=_STEPS,
        layers=[
            {"path": conv, "class": name("Conv2D"), "variables": {"kernel": [3, 3, 2, 4], "bias": [4]}},
            {"path": dense, "class": name("Dense"), "variables": {"kernel": [5, 3], own: [3]}},
        ],
        optimizer=name("adam"),
    )
    writer.note(name("missing"))
    writer.distrust("scalars/batch", metric, name("reason"))
    writer.write(block, epoch_end=True)
    writer.finish("finished")
    assert len(writer.problems) == 2, writer.problems  # those two, and nothing that could not be written
    return Run.open(folder)


def export_everything(run: Run, other: Run, folder: Path, name: Names) -> None:
    """Everything that can be made: exports with all states, a comparison, files beside run.h5, maps."""
    layers = list(dict.fromkeys(layer for layer, _ in run.variables()))
    export_run(run, folder / "export", layers=layers)
    write_states(folder / "export")
    write_states(folder / "export", ["kernel_grids"], Settings(layer=layers[0], between=(0.0, 1.0)))
    export_comparison([run, other], folder / "comparison")
    write_states(folder / "comparison", ["compare"])
    for kind, export in (("xdmf", export_xdmf), ("vtkhdf", export_vtkhdf)):
        files = export(run, folder / kind).files
        write_raw_states(folder / kind, files, Settings())
    images = np.random.default_rng(1).random((2, 6, 6, 1), np.float32)
    about = {"layer": name("conv"), "layer_why": name("why")}
    found = {"grad_cam": Explanation(images[..., 0], np.zeros(2, np.int64), about)}
    write_explained(
        folder / "explained",
        name("model"),
        [Path(name("lung").replace("/", "") or "x"), Path(name("other").replace("/", ""))],
        images,
        _Network(),
        np.zeros(2, np.int64),
        found,
    )


class _Network:
    """A network that says the same of everything."""

    image_shape = (6, 6, 1)
    gives_probabilities = True

    def predict(self, images: np.ndarray) -> object:
        from tensorview_insitu.explain.network import Prediction

        scores = np.full((len(images), 2), 0.5, np.float32)
        return Prediction(scores, scores)
