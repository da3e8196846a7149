"""Numbers of the user's own: a table for each quantity, and where training is in its chart."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import named_columns, write_table
from tensorview_insitu.export.time_series import write_time_series
from tensorview_insitu.index import QuantityIndex, Range
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run
from tensorview_insitu.text.file_names import safe_names

NOW = "curves/quantities_now.pvd"
# Tables that an export may hold besides: no quantity of the user's own is to be written over them.
_TABLES = (
    "epochs",
    "epochs_normalised",
    "batches",
    "update_norms",
    "weight_norms",
    "dead_filters",
    "evaluations",
    "gradient_norms",
    "gradient_norms_lines",
    "not_trusted",
)


def export_quantities(
    parts: Parts, run: Run, target: Target, others: Iterable[str] = ()
) -> list[QuantityIndex]:
    """Write tables/<name>.csv for each quantity of the user's own, and a line at each epoch's end.

    Args:
        parts: of the export: each quantity is one.
        run: the run.
        target: where to.
        others: the names of further tables of the export.
    """
    names = run.quantity_names()
    taken = {*_TABLES, *others}
    keys: dict[str, str] = {}
    for name in names:
        key = name
        while key in taken or (key != name and key in names):
            key = f"quantity {key}"
        keys[name] = key
    files = safe_names([*sorted(taken), *keys.values()])
    found: list[QuantityIndex] = []

    def export(name: str, file: str, array: str) -> QuantityIndex:
        table = run.quantity(name)
        doubts = run.untrusted(layout.quantity_dataset(name))
        written = write_table(target, file, table, doubts)
        values = finite_range(*(table[column] for column in named_columns(table)))
        return {"name": name, "table": written, "range": values, "now": NOW, "array": array}

    for number, name in enumerate(names):
        file = f"tables/{files[keys[name]]}.csv"
        work = partial(export, name, file, f"now_{number}")
        made = parts.make(f"quantities/{name}", work, None, files=[file])
        found += [made] if made is not None else []
    ranges = {one["array"]: one["range"] for one in found}
    now = parts.make(
        "quantities/now",
        lambda: _write_now(run, target, ranges) if ranges else None,
        None,
        files=["curves/quantities_now*"],
    )
    return found if now is not None else []


def _write_now(run: Run, target: Target, ranges: dict[str, Range]) -> str:
    epochs = run.scalars("epoch")
    ends = [(float(e), int(s)) for e, s in zip(epochs.get("epoch", []), epochs["step"], strict=True)]
    moments = []
    for i in spread(len(ends)):
        epoch, step = ends[i]
        name = f"quantities_now_{step:07d}.vtp"
        write_poly_data(
            target.path(f"curves/{name}"),
            np.array([[epoch, 0.0, 0.0], [epoch, 1.0, 0.0]]),
            lines=[np.array([0, 1])],
            point_data={
                "epoch": np.full(2, epoch),
                **{array: np.array(limits) for array, limits in ranges.items()},
            },
        )
        moments.append((epoch, float(step), name))
    return write_time_series(target, NOW, moments)
