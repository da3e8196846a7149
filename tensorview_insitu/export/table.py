"""Write a table as CSV, tidy: one observation a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tensorview_insitu.export.files import Target
from tensorview_insitu.export.trust import mark_columns, marked
from tensorview_insitu.index import TableIndex
from tensorview_insitu.run.publish import publish
from tensorview_insitu.text.percent import as_cell, as_column, from_column

_CLOCK = ("step", "epoch", "batch", "wall_time")


def write_table(
    target: Target, file: str, table: pd.DataFrame, doubts: Mapping[str, str] | None = None
) -> TableIndex:
    """Write `table`, unless the file holds just that already; say what it holds.

    Numbers keep all their digits and NaN is written as `nan`. Names are written as `text.percent` says, so
    that none of them is a formula to a spreadsheet; `read_table` gives them back.

    Args:
        target: the export.
        file: its path in that.
        table: what is written.
        doubts: by column, why it is not to be trusted: its header says so, `loss (not trusted)`.

    Returns:
        What it holds; its columns as they are in the file.
    """
    doubted = {name: reason for name, reason in (doubts or {}).items() if name in table}
    safe = mark_columns(table, doubted).rename(columns=lambda name: as_column(str(name)))
    for column in safe.columns[[not pd.api.types.is_numeric_dtype(t) for t in safe.dtypes]]:
        safe[column] = safe[column].map(lambda text: as_cell(str(text)))
    data = safe.to_csv(index=False, na_rep="nan", lineterminator="\n").encode()
    path = target.path(file)
    if not path.exists() or path.read_bytes() != data:
        publish(path, data)
    return {
        "file": file,
        "columns": list(safe.columns),
        "rows": len(safe),
        "untrusted": {as_column(marked(name, doubted)): reason for name, reason in doubted.items()},
    }


def named_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a table of steps that tell no time: one for each variable, or metric."""
    return [str(column) for column in table.columns if column not in _CLOCK]


def read_table(path: Path) -> pd.DataFrame:
    """A table that `write_table` wrote, with the names that it was given."""
    table = pd.read_csv(path)
    for column in table.columns[[not pd.api.types.is_numeric_dtype(t) for t in table.dtypes]]:
        table[column] = table[column].map(from_column)
    return table.rename(columns=from_column)
