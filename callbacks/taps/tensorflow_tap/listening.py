"""Listen to what Keras' `Mean` adds to its totals: the batch's own loss and metrics.

`Mean` adds each batch's sum and count with `assign_add`. The totals themselves stay Keras' alone, so
nothing can change.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

Heard = dict[int, list[tuple[Any, Any]]]
_here = threading.local()


@contextlib.contextmanager
def listening() -> Iterator[Heard]:
    """While it lasts, in this thread: the sum and count that each Mean is given, by its id."""
    heard: Heard = {}
    before: tuple[Heard, ...] = getattr(_here, "all", ())
    _here.all = (*before, heard)  # of two recorders both listen
    try:
        yield heard
    finally:
        _here.all = before


def _audible(update_state: Callable[..., Any]) -> Callable[..., Any]:
    def audible_update_state(self: Any, *args: Any, **kwargs: Any) -> Any:
        listeners: tuple[Heard, ...] = getattr(_here, "all", ())
        if not listeners:
            return update_state(self, *args, **kwargs)
        added: dict[str, Any] = {}
        with _overheard(self.total, added, "total"), _overheard(self.count, added, "count"):
            result = update_state(self, *args, **kwargs)
        if len(added) == 2:
            for heard in listeners:
                heard.setdefault(id(self), []).append((added["total"], added["count"]))
        return result

    return audible_update_state


@contextlib.contextmanager
def _overheard(variable: Any, added: dict[str, Any], key: str) -> Iterator[None]:
    assign_add = variable.assign_add

    def audible_assign_add(value: Any) -> Any:
        added[key] = value
        return assign_add(value)

    variable.__dict__["assign_add"] = audible_assign_add
    try:
        yield
    finally:
        del variable.__dict__["assign_add"]


# Metrics are made as late as in the first step, so it is their class that listens: once, for good, and
# to nobody outside `listening`.
keras.metrics.Mean.update_state = _audible(keras.metrics.Mean.update_state)


def printed_metrics(model: keras.Model) -> dict[str, Any]:
    """Every metric of the model under the name that Keras prints for it."""
    found: dict[str, Any] = {}
    for metric in model.metrics:
        inner = getattr(metric, "metrics", None)
        if inner is None:
            found[metric.name] = metric
        elif inner:  # those of compile(): it alone knows what it calls them
            with contextlib.ExitStack() as stack:
                for one in inner:
                    stack.enter_context(_answering_itself(one))
                found.update(metric.result())
    return found


@contextlib.contextmanager
def _answering_itself(metric: Any) -> Iterator[None]:
    metric.__dict__["result"] = lambda: metric
    try:
        yield
    finally:
        del metric.__dict__["result"]
