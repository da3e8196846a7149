"""Audit of weights: what the updates moved is what two snapshots differ by.

Snapshots are copied on the host or at the end of a step, norms are taken from its begin to its end: two ways
to the same weights. Where they disagree, something else has set the weights meanwhile (a callback that swaps
in averages, `set_weights`), and a snapshot is not the model that was training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Rows

from .audit import Doubt

_RELATIVE = 1e-3  # of norms in float32, of weights that may be kept in float16
_ABSOLUTE = 1e-6


@dataclass
class _Weights:
    """One variable since its last snapshot."""

    step: int
    values: NDArray[np.float64]
    moved: float = 0.0
    rows: int = 0


class WeightsAudit:
    """Holds snapshots against the norms of updates, as both are written."""

    def __init__(self) -> None:
        self._last: dict[str, _Weights] = {}
        self._audited: set[str] = set()

    def begin_fit(self) -> None:
        """A `fit` begins: before it, everybody may set the weights."""
        self._last = {}

    def observe(self, block: Mapping[str, Rows]) -> list[Doubt]:
        """Rows that are being written, in the order of their steps."""
        moves, norms = block.get(layout.UPDATE_NORMS), block.get(layout.WEIGHT_NORMS)
        events: list[tuple[int, int, Any]] = []
        if moves is not None and norms is not None:
            columns = [str(name) for name in moves.attributes["columns"]]
            for step, moved, norm in zip(moves.steps, moves.values, norms.values, strict=True):
                events.append((int(step), 0, (columns, moved, norm)))
        for dataset, rows in block.items():
            if dataset.startswith(layout.LAYERS + "/"):
                events += [(int(s), 1, (dataset, v)) for s, v in zip(rows.steps, rows.values, strict=True)]
        doubts: list[Doubt] = []
        for step, kind, what in sorted(events, key=lambda event: event[:2]):
            doubts += self._update(step, *what) if kind == 0 else self._snapshot(step, *what)
        return doubts

    def _update(self, step: int, columns: list[str], moved: NDArray[Any], norms: NDArray[Any]) -> list[Doubt]:
        doubts = []
        for name, move, norm in zip(columns, moved, norms, strict=True):
            dataset = layout.variable_dataset(*name.rsplit("/", 1))
            self._audited.add(dataset)
            last = self._last.get(dataset)
            if last is None:
                continue
            known = float(np.linalg.norm(last.values))
            if last.step == step - 1 and np.isfinite(norm) and not _close(float(norm), known):
                reason = (
                    f"the snapshot after step {last.step} has the norm {known:.6g}, but step {step} began "
                    f"with {norm:.6g}: something else than the training set the weights between them"
                )
                doubts.append(Doubt(dataset, name.rsplit("/", 1)[1], reason))
            if np.isnan(move) and np.isnan(norm):
                continue  # nobody knows what that step did
            last.moved += float(move) if np.isfinite(move) else np.inf
            last.rows += 1
        return doubts

    def _snapshot(self, step: int, dataset: str, values: NDArray[Any]) -> list[Doubt]:
        doubts = []
        exact = values.astype(np.float64)
        last = self._last.get(dataset)
        if last is not None and dataset in self._audited and last.rows == step - last.step > 0:
            distance = float(np.linalg.norm(exact - last.values))
            size = float(np.linalg.norm(exact))
            if distance > last.moved * (1 + _RELATIVE) + size * _RELATIVE + _ABSOLUTE:
                reason = (
                    f"between the snapshots after steps {last.step} and {step} it moved by {distance:.6g}, "
                    f"but the updates between them add up to {last.moved:.6g} at the most: something else "
                    "than the training set the weights"
                )
                doubts.append(Doubt(dataset, dataset.rsplit("/", 1)[1], reason))
        self._last[dataset] = _Weights(step, exact)
        return doubts


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _RELATIVE * max(one, other) + _ABSOLUTE
