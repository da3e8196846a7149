"""Write a table as CSV, tidy: one observation a row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tensorview_insitu.index import TableIndex
from tensorview_insitu.run.publish import publish

_CLOCK = ("step", "epoch", "batch", "wall_time")
# A cell that begins like this is a formula to a spreadsheet (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(folder: Path, file: str, table: pd.DataFrame) -> TableIndex:
    """Write `table`, unless the file holds just that already; say what it holds.

    Numbers keep all their digits and NaN is written as `nan`.
    """
    safe = table.rename(columns=lambda name: _inert(str(name)))
    for column in safe.columns[[not pd.api.types.is_numeric_dtype(t) for t in safe.dtypes]]:
        safe[column] = safe[column].map(_inert)
    data = safe.to_csv(index=False, na_rep="nan", lineterminator="\n").encode()
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        publish(path, data)
    return {"file": file, "columns": list(safe.columns), "rows": len(safe)}


def named_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a table of steps that tell no time: one for each variable, or metric."""
    return [str(column) for column in table.columns if column not in _CLOCK]


def _inert(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text
