"""Gradient norms: a tidy table, a heat map of variable x step, and lines for a chart."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tensorview_insitu.export.files import Target, finite_range
from tensorview_insitu.export.heat_map import write_heat_map, write_now_lines
from tensorview_insitu.export.horizon import horizon_of
from tensorview_insitu.export.table import named_columns, write_table
from tensorview_insitu.export.trust import MARK
from tensorview_insitu.index import GradientNormsIndex, TableIndex
from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run

_MOST_COLUMNS = 1000
_LOWEST, _HIGHEST, _ROW = 0.24, 0.4, 0.036  # of the heat map and its rows, in units of its width


def export_gradient_norms(
    run: Run, target: Target, table: pd.DataFrame
) -> tuple[GradientNormsIndex, TableIndex] | None:
    """Write everything about gradient norms, `table`; None when the run has none."""
    variables = named_columns(table)
    if not len(table) or not variables:
        return None
    steps = table["step"].to_numpy(np.int64)
    norms = table[variables].to_numpy(np.float64)
    width = max(int(steps[-1]), horizon_of(run).steps)
    per_column = -(-width // _MOST_COLUMNS)
    column_steps, columns = _columns(steps, norms, per_column, -(-width // per_column))
    with np.errstate(divide="ignore"):
        heat = np.log10(columns).astype(np.float32)
    height = min(_HIGHEST, max(_LOWEST, _ROW * len(variables)))
    end = float(per_column * len(heat))
    doubts = run.untrusted(layout.GRADIENT_NORMS)
    heat_map = write_heat_map(
        target, "gradient_norms", "log10_norm", variables, heat, (0.0, end), height=height, doubts=doubts
    )
    lines = pd.DataFrame(np.where(columns > 0, columns, np.nan), columns=pd.Index(variables))
    lines.insert(0, "step", column_steps)
    lines = lines[lines["step"] < steps[-1] + per_column]  # none to come
    line_table = write_table(target, "gradient_norms/lines.csv", lines, doubts)
    index: GradientNormsIndex = {
        "heat_map": heat_map,
        "lines": line_table["file"],
        "columns": line_table["columns"][1:],
        "now": _write_now(run, target),
        "log_ranges": [finite_range(column) for column in heat.T],
        "steps": width,
        "steps_per_column": per_column,
        "gaps": bool(lines.isna().to_numpy().any()),
    }
    long = write_table(target, "tables/gradient_norms.csv", _tidy(table, variables, doubts))
    if doubts:
        long["untrusted"] = {"norm" + MARK: "; ".join(f"{name}: {why}" for name, why in doubts.items())}
    return index, long


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


def _tidy(table: pd.DataFrame, variables: list[str], doubts: Collection[str]) -> pd.DataFrame:
    """A row for each variable at each step; a norm that is in doubt is in a column of its own."""
    long = table.melt(["step", "epoch", "batch"], variables, "path", "norm")
    long.insert(3, "layer", long["path"].str.rsplit("/", n=1).str[0])
    long.insert(4, "variable", long["path"].str.rsplit("/", n=1).str[-1])
    doubted = long["path"].isin(list(doubts))
    if doubted.any():
        long["norm" + MARK] = long["norm"].where(doubted)
        long["norm"] = long["norm"].mask(doubted)
    return long.drop(columns="path").sort_values("step", kind="stable")


def _write_now(run: Run, target: Target) -> str:
    """A line at the last step of each epoch."""
    steps = run.scalars("epoch")["step"].to_numpy(np.int64)
    if not len(steps):  # its first epoch did not end
        steps = run.steps()["step"].to_numpy(np.int64)[-1:]
    return write_now_lines(target, "gradient_norms", run.epochs_at(steps), steps, steps)
