"""Mark what the recorder found reason to distrust, so that no reader of a table or a chart can miss it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from tensorview_insitu.run.reader import Run

MARK = " (not trusted)"
"""What follows the name of a column, a row, a curve that is not to be trusted."""


def marked(name: str, doubts: Collection[str]) -> str:
    """`name`, with the mark when it is among the doubts."""
    return name + MARK if name in doubts else name


def mark_columns(table: pd.DataFrame, doubts: Collection[str]) -> pd.DataFrame:
    """The table with the marks in its header: the numbers stay, but `table["loss"]` is no column any more."""
    return table.rename(columns={name: marked(str(name), doubts) for name in table.columns})


def doubts_of(run: Run) -> pd.DataFrame:
    """All that is not to be trusted in a run, a row each: dataset, column, reason."""
    rows = [
        (dataset, column, reason)
        for dataset in run.identity.get("untrusted", {})
        for column, reason in run.untrusted(dataset).items()
    ]
    return pd.DataFrame(rows, columns=pd.Index(["dataset", "column", "reason"]))


def doubt_of_variables(run: Run, variables: Mapping[str, str]) -> dict[str, str]:
    """Why snapshots are not to be trusted, by the name that each has here.

    Args:
        run: the run.
        variables: the dataset of each, by its name.
    """
    found = {}
    for name, dataset in variables.items():
        doubts = run.untrusted(dataset)
        if doubts:
            found[name] = "; ".join(doubts.values())
    return found
