"""Gradient norms: a tidy table, a heat map of variable x step, and lines for a chart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkFiltersCore import vtkAppendPolyData
from vtkmodules.vtkRenderingFreeType import vtkVectorText

from tensorview_insitu.export.collection import write_collection
from tensorview_insitu.export.files import Target, finite_range, spread
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.poly_data import save, write_poly_data
from tensorview_insitu.export.table import write_table
from tensorview_insitu.index import GradientNormsIndex, TableIndex
from tensorview_insitu.run.reader import Run

_MOST_COLUMNS = 1000
_MOST_LABELS = 14
_LONGEST_LABEL = 30
_HEIGHT = 0.24  # of the heat map, in units of its width
_CLOCK = ("step", "epoch", "batch", "wall_time")


def export_gradient_norms(run: Run, target: Target) -> tuple[GradientNormsIndex, TableIndex] | None:
    """Write everything about gradient norms; None when the run has none."""
    table = run.gradient_norms()
    variables = [c for c in table.columns if c not in _CLOCK]
    if not len(table) or not variables:
        return None
    steps = table["step"].to_numpy(np.int64)
    norms = table[variables].to_numpy(np.float64)
    width = int(steps[-1])
    per_column = -(-width // _MOST_COLUMNS)
    column_steps, columns = _columns(steps, norms, per_column, -(-width // per_column))
    with np.errstate(divide="ignore"):
        heat = np.log10(columns).astype(np.float32)
    row_height = _HEIGHT * width / len(variables)
    write_image_data(
        target.path("gradient_norms/heat_map.vti"),
        cell_data={"log10_norm": heat[:, ::-1, None]},  # the first variable on top
        spacing=(float(per_column), row_height, 1.0),
    )
    label_width = _write_labels(target, variables, row_height)
    lines = pd.DataFrame(np.where(columns > 0, columns, np.nan), columns=pd.Index(variables))
    lines.insert(0, "step", column_steps)
    line_table = write_table(target.folder, "gradient_norms/lines.csv", lines)
    _write_now(run, target)
    index: GradientNormsIndex = {
        "variables": variables,
        "heat_map": "gradient_norms/heat_map.vti",
        "labels": "gradient_norms/labels.vtp",
        "lines": line_table["file"],
        "now": "gradient_norms/now.pvd",
        "log_range": finite_range(heat),
        "log_ranges": [finite_range(column) for column in heat.T],
        "steps": width,
        "steps_per_column": per_column,
        "row_height": row_height,
        "label_width": label_width,
        "gaps": bool(lines.isna().to_numpy().any()),
    }
    return index, write_table(target.folder, "tables/gradient_norms.csv", _tidy(table, variables))


def _columns(
    steps: NDArray[np.int64], norms: NDArray[np.float64], per_column: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Geometric mean over each `per_column` steps; NaN where no step was recorded or all were NaN."""
    ends = np.arange(1, count + 1) * per_column
    if per_column == 1:
        columns = np.full((count, norms.shape[1]), np.nan)
        columns[steps - 1] = norms
        return ends, columns
    with np.errstate(divide="ignore"):
        logs = pd.DataFrame(np.log(norms))
    means = logs.groupby((steps - 1) // per_column).mean().reindex(range(count))
    return ends, np.exp(means.to_numpy())


def _tidy(table: pd.DataFrame, variables: list[str]) -> pd.DataFrame:
    long = table.melt(["step", "epoch", "batch"], variables, "path", "norm")
    long.insert(3, "layer", long["path"].str.rsplit("/", n=1).str[0])
    long.insert(4, "variable", long["path"].str.rsplit("/", n=1).str[-1])
    return long.drop(columns="path").sort_values("step", kind="stable")


def _write_labels(target: Target, variables: list[str], row_height: float) -> float:
    # Tick labels of ParaView's axes are numbers only: the names become geometry beside the rows.
    shown = spread(len(variables), _MOST_LABELS)
    size = 0.55 * row_height * max(1.0, len(variables) / len(shown))
    append = vtkAppendPolyData()
    for row in shown:
        text = vtkVectorText()
        text.SetText(_shortened(variables[row]))
        text.Update()
        letters = text.GetOutput()
        corners = vtk_to_numpy(letters.GetPoints().GetData())  # letters are about one high
        x = (corners[:, 0] - corners[:, 0].max()) * 0.75 * size - 0.6 * size
        y = (corners[:, 1] - 0.4) * 0.75 * size + (len(variables) - 1 - row + 0.5) * row_height
        letters.GetPoints().SetData(numpy_to_vtk(np.column_stack([x, y, 0 * x]), deep=True))
        append.AddInputData(letters)
    append.Update()
    save(target.path("gradient_norms/labels.vtp"), append.GetOutput())
    return -float(append.GetOutput().GetBounds()[0])


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else "..." + name[3 - _LONGEST_LABEL :]


def _write_now(run: Run, target: Target) -> None:
    """A vertical line at the last step of each epoch, one high: the heat map's height changes as it grows."""
    epochs = run.scalars("epoch")
    steps = epochs["step"].to_numpy(np.int64)
    if not len(steps):  # its first epoch did not end
        steps = run.steps()["step"].to_numpy(np.int64)[-1:]
    times = run.epochs_at(steps)
    files = []
    for i in spread(len(steps)):
        name = f"now_{steps[i]:07d}.vtp"
        if target.lacks(f"gradient_norms/{name}"):
            ends = np.array([[steps[i], 0.0, 0.0], [steps[i], 1.0, 0.0]])
            write_poly_data(target.path(f"gradient_norms/{name}"), ends, lines=[np.array([0, 1])])
        files.append((float(times[i]), name))
    write_collection(target.path("gradient_norms/now.pvd"), files)
