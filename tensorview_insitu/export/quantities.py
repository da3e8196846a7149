"""Numbers of the user's own: a table for each quantity, and where training is in its chart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.poly_data import write_poly_data
from tensorview_insitu.export.table import named_columns, write_table
from tensorview_insitu.export.time_series import write_time_series
from tensorview_insitu.index import QuantityIndex, Range
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
)


def export_quantities(run: Run, target: Target, others: Iterable[str] = ()) -> list[QuantityIndex]:
    """Write tables/<name>.csv for each quantity of the user's own, and a line at each epoch's end.

    Args:
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
    for number, name in enumerate(names):
        table = run.quantity(name)
        written = write_table(target.folder, f"tables/{files[keys[name]]}.csv", table)
        values = finite_range(*(table[column] for column in named_columns(table)))
        found.append({"name": name, "table": written, "range": values, "now": NOW, "array": f"now_{number}"})
    if found:
        _write_now(run, target, {one["array"]: one["range"] for one in found})
    return found


def _write_now(run: Run, target: Target, ranges: dict[str, Range]) -> None:
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
                "epoch": np.full(2, epoch, np.float32),
                **{array: np.array(limits, np.float32) for array, limits in ranges.items()},
            },
        )
        moments.append((epoch, float(step), name))
    write_time_series(target, NOW, moments)
