"""Hold everything in a run against what the witness saw: each number is right, or absent with a reason."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from witness import Step, Watch, Witness

from tensorview_insitu.run.reader import Run

_STEPS = ("step", "epoch", "batch", "wall_time")
_RATE = "learning_rate"


@dataclass(frozen=True)
class Expectation:
    """What a program says of its own record: the arguments of `program`."""

    running: tuple[str, ...]
    idle: Mapping[str, Callable[[int], bool]]
    missing: tuple[str, ...]
    untrusted: frozenset[str]
    skipped: Callable[[int], bool]
    rtol: float


def differences(run: Run, watch: Watch, witness: Witness, expected: Expectation) -> list[str]:
    """One sentence for everything in the run that is not so, or that the run lacks."""
    found = [f"the run is {run.status}"] if run.status == "running" else []
    datasets = set(run.datasets())
    steps = run.steps() if "steps" in datasets else pd.DataFrame(columns=_STEPS)
    told = [*zip(steps["epoch"].astype(int), steps["batch"].astype(int), strict=True)]
    if list(steps["step"]) != [*range(1, len(watch.steps) + 1)] or told != watch.steps:
        found.append(f"steps {list(steps['step'])} of {told}, not {watch.steps}")
        return found
    batch = run.scalars("batch") if "scalars/batch" in datasets else pd.DataFrame()
    norms = run.gradient_norms() if "gradient_norms" in datasets else pd.DataFrame()
    found += _metrics(batch, watch, witness.steps, expected)
    found += _rates(batch, watch.fits, witness, expected)
    found += _norms(norms, witness, expected)
    found += _epochs(run, watch)
    found += _snapshots(run, watch, watch.first_weights or witness.first_weights)
    known = {"steps", "scalars/batch", "scalars/epoch", "gradient_norms"}
    unknown = [name for name in datasets - known if not name.startswith("layers/")]
    found += [f"nobody knows what {name} should be" for name in unknown]
    found += _said(run, expected)
    return found


# ---- every batch


def _metrics(batch: pd.DataFrame, watch: Watch, steps: list[Step], expected: Expectation) -> list[str]:
    columns = [c for c in batch.columns if c not in _STEPS and not _is_rate(c, steps)]
    printed = list(dict.fromkeys(name for step in steps for name in step.values))
    found = []
    for name in printed:
        if name in expected.running:
            column, truth = f"running/{name}", [logs.get(name, np.nan) for logs in watch.batches]
        else:
            column, truth = name, [step.values.get(name, np.nan) for step in steps]
        idle = expected.idle.get(name, lambda step: False)
        truth = [np.nan if idle(number) else value for number, value in enumerate(truth, 1)]
        if column in columns:
            columns.remove(column)
            found += _unequal(column, batch[column].to_numpy(), np.array(truth), expected.rtol)
        elif not np.isnan(truth).all():
            found.append(f"{column} is not recorded: {_short(truth)}")
    return found + [
        f"{column} is recorded, that nobody printed: {_short(batch[column])}" for column in columns
    ]


def _is_rate(column: str, steps: list[Step]) -> bool:
    # A step may well return a number of this name: then it is that.
    return column.split("/")[0] == _RATE and not any(column in step.values for step in steps)


def _rates(batch: pd.DataFrame, fits: list[int], witness: Witness, expected: Expectation) -> list[str]:
    columns = [c for c in batch.columns if _is_rate(c, witness.steps)]
    applied: list[list[int]] = [[] for _ in range(max(fits, default=0) + 1)]
    for fit, step in zip(fits, witness.steps, strict=True):
        applied[fit] += [key for key in step.rates if key not in applied[fit]]
    taken = any(_RATE in step.values for step in witness.steps)
    if all(len(keys) < 2 for keys in applied) and not taken:  # in every fit one optimizer, or none
        names = [_RATE] if any(applied) else []
        truths = [np.array([next(iter(step.rates.values()), np.nan) for step in witness.steps])]
    else:
        keys = list(dict.fromkeys(key for some in applied for key in some))
        called = {id(optimizer): optimizer.name for optimizer in witness.made.optimizers}
        names = [f"{_RATE}/{called[key]}" for key in keys]
        truths = [np.array([step.rates.get(key, np.nan) for step in witness.steps]) for key in keys]
    if len(set(names)) < len(names) == len(columns):
        # Of two optimizers of one name: each rate is there, whatever its column is called.
        names = [columns[at] for at in _best_order([batch[c].to_numpy() for c in columns], truths)]
    if set(columns) != set(names):
        return [f"the rates {columns} are recorded, not {names}"]
    found = []
    for name, truth in zip(names, truths, strict=False):
        recorded = batch[name].to_numpy()
        # An optimizer whose step was skipped has a rate all the same.
        skipped = [expected.skipped(n) for n in range(1, len(truth) + 1)]
        found += _unequal(name, recorded, np.where(skipped & np.isnan(truth), recorded, truth), 1e-6)
    return found


def _best_order(columns: list[Any], truths: list[Any]) -> tuple[int, ...]:
    def misses(order: tuple[int, ...]) -> int:
        return sum(
            not np.allclose(columns[at], truth, equal_nan=True)
            for at, truth in zip(order, truths, strict=True)
        )

    return min(itertools.permutations(range(len(truths))), key=misses)


def _norms(norms: pd.DataFrame, witness: Witness, expected: Expectation) -> list[str]:
    found = []
    left = dict(witness.variables)
    for column in (c for c in norms.columns if c not in _STEPS):
        key = _variable_called(column, left)
        recorded = norms[column].to_numpy()
        if key is None:
            if not np.isnan(recorded).all():
                found.append(f"the norm of {column} is recorded, that got no gradient: {_short(recorded)}")
            continue
        del left[key]
        truth = np.array([step.norms.get(key, np.nan) for step in witness.steps])
        # Rounding noise where the exact gradient is zero (a bias before a normalization).
        largest = max((n for s in witness.steps for n in s.norms.values() if np.isfinite(n)), default=0.0)
        found += _unequal(f"norm of {column}", recorded, truth, expected.rtol, 1e-6 * largest)
    return found + [f"the gradient norm of {v.path} is not recorded" for v in left.values()]


def _variable_called(column: str, variables: Mapping[int, Any]) -> int | None:
    """The variable whose path has all parts of a column's name, and ends in the last two."""
    parts = [part.split("#")[0] for part in column.split("/")]

    def fits(variable: Any) -> bool:
        path = variable.path.split("/")
        return path[-2:] == parts[-2:] if len(path) > 1 and len(parts) > 1 else path[-1] == parts[-1]

    fitting = [key for key, variable in variables.items() if fits(variable)]
    if len(fitting) > 1:
        fitting = [k for k in fitting if all(p in variables[k].path.split("/") for p in parts)] or fitting
    return fitting[0] if fitting else None


# ---- every epoch


def _epochs(run: Run, watch: Watch) -> list[str]:
    if not watch.epochs:
        return []
    if "scalars/epoch" not in run.datasets():
        return ["no epoch is recorded"]
    found = []
    try:
        table = run.scalars("epoch")
    except Exception as error:
        return [f"the epochs cannot be read: {type(error).__name__}: {error}"]
    names = {n for logs in watch.epochs for n, value in logs.items() if np.ndim(value) == 0}
    if list(table.get("epoch", [])) != [*range(1, len(watch.epochs) + 1)]:
        found.append(f"epochs {list(table.get('epoch', []))} of {len(watch.epochs)}")
        return found
    for name in names - {"epoch", "step"}:
        truth = np.array([float(logs.get(name, np.nan)) for logs in watch.epochs])
        if name not in table:
            found.append(f"{name} of the epochs is not recorded")
        elif not np.array_equal(table[name].to_numpy(), truth, equal_nan=True):
            found.append(f"{name} of the epochs: {_short(table[name])}, not {_short(truth)}")
    extra = set(table.columns) - names - {"epoch", "step"}
    return found + [f"{name} of the epochs is recorded, that nobody printed" for name in extra]


def _snapshots(run: Run, watch: Watch, first_weights: dict[str, np.ndarray]) -> list[str]:
    found = []
    for layer, name in run.variables():
        snapshots = run.variable(layer, name)
        paths = {index: _Path(path) for index, path in enumerate(first_weights)}
        key = _variable_called(f"{layer}/{name}", paths)
        if key is None:
            found.append(f"{layer}/{name} is recorded, that no model has")
            continue
        path = paths[key].path
        ends = [0, *watch.steps_at_epoch_end]
        if not {0} <= set(snapshots.steps) <= set(ends):
            found.append(f"{layer}/{name} is recorded at {list(snapshots.steps)}, not {ends}")
            continue
        # What is frozen is recorded once, and again when it changed: what holds is the last before.
        held = snapshots.values[np.searchsorted(snapshots.steps, ends, side="right") - 1]
        truth = [first_weights[path], *(weights[path] for weights in watch.weights)]
        truth = [np.asarray(value, snapshots.values.dtype) for value in truth]
        same = [np.array_equal(a, b, equal_nan=True) for a, b in zip(held, truth, strict=True)]
        if not all(same):
            found.append(f"{layer}/{name} is wrong in snapshots {[i for i, s in enumerate(same) if not s]}")
    return found


@dataclass(frozen=True)
class _Path:
    path: str


# ---- what the run says of itself


def _said(run: Run, expected: Expectation) -> list[str]:
    said = list(run.identity.get("missing", []))
    untrusted = run.identity.get("untrusted", {})
    marked = {f"{dataset}/{column}" for dataset, columns in untrusted.items() for column in columns}
    found = [f"not trusted: {name}" for name in sorted(marked - expected.untrusted)]
    found += [f"trusted: {name}" for name in sorted(expected.untrusted - marked)]
    for pattern in expected.missing:
        fitting = [sentence for sentence in said if re.search(pattern, sentence)]
        if len(fitting) != 1:
            found.append(f"{len(fitting)} sentences in missing match {pattern!r}")
        said = [sentence for sentence in said if sentence not in fitting]
    return found + [f"said to be missing: {sentence}" for sentence in said]


def _unequal(name: str, recorded: Any, truth: Any, rtol: float, atol: float = 1e-7) -> list[str]:
    if len(recorded) == len(truth) and np.allclose(recorded, truth, rtol, atol, equal_nan=True):
        return []
    return [f"{name}: {_short(recorded)}, not {_short(truth)}"]


def _short(values: Any) -> str:
    return "[" + " ".join(f"{value:.6g}" for value in list(values)[:10]) + "]"
