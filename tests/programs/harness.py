"""A program: what a user of Keras writes, trained plainly, recorded, and before a witness; then compared.

A program is a function of the callbacks that it gives to `fit`. `@program` makes a test of it: recording
changes nothing of the training, and every number in the run is the one that the witness saw, or is absent
with a reason that the program names.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorview_insitu.callbacks import InSituRecorder
from truth import Expectation, differences
from witness import Made, Watch, Witness

from tensorview_insitu.run.reader import Run

Training = Callable[[Sequence[keras.callbacks.Callback]], Any]


@dataclass
class Trained:
    """One training of a program, as it was watched."""

    watch: Watch
    state: list[np.ndarray]
    warnings: list[warnings.WarningMessage]


def program(
    *,
    running: Sequence[str] = (),
    idle: Mapping[str, Callable[[int], bool]] | Sequence[str] = (),
    missing: Sequence[str] = (),
    untrusted: Sequence[str] = (),
    skipped: Callable[[int], bool] = lambda step: False,
    eager: bool = True,
    rtol: float = 1e-4,
    quantities: Callable[[], Sequence[Any]] | None = None,
    ends_in: type[BaseException] | None = None,
) -> Callable[[Training], Callable[[Path], None]]:
    """Make a test of a program.

    Args:
        running: names that Keras prints and that have no value of one batch: recorded as `running/<name>`.
        idle: names that Keras prints but that a step does not update: with the steps, from 1, at which it
            does not, or for all steps.
        missing: for each sentence in the run's `missing` a pattern that it, and no other, matches.
        untrusted: the columns, as `scalars/epoch/loss`, that the run says are not to be trusted.
        skipped: the steps, from 1, at which no optimizer is applied.
        eager: whether the witness may run the steps as plain Python.
        rtol: how far the witness's arithmetic may be from the recorded one's.
        quantities: makes what is recorded; by default what the recorder does by itself.
        ends_in: the exception that the training ends in.
    """
    idle = dict(idle) if isinstance(idle, Mapping) else {name: lambda step: True for name in idle}
    expected = Expectation(tuple(running), idle, tuple(missing), frozenset(untrusted), skipped, rtol)

    def as_test(training: Training) -> Callable[[Path], None]:
        def test(tmp_path: Path) -> None:
            folder = tmp_path / "run"
            plain = _trained(training, lambda made: [], ends_in)
            recorder: list[Any] = []

            def recording(made: Made) -> list[Any]:
                recorder.append(InSituRecorder(folder, quantities() if quantities else None))
                return recorder

            recorded = _trained(training, recording, ends_in)
            recorder[0].close()
            witnesses: list[Witness] = []

            def witnessing(made: Made) -> list[Any]:
                witnesses.append(Witness(made, eager=eager))
                return [witnesses[0]]

            try:
                witnessed = _trained(training, witnessing, ends_in)
            finally:
                witnesses[0].close()
            run = Run.open(folder)
            found = [
                *_changed(plain, recorded),
                *_another_training(plain, witnessed, rtol),
                *differences(run, plain.watch, witnesses[0], expected),
                *_untold(run, recorded),
            ]
            __tracebackhide__ = True
            assert not found, "\n".join(["", *found])

        test.__name__ = test.__qualname__ = training.__name__
        test.__doc__, test.__module__ = training.__doc__, training.__module__
        return test

    return as_test


def _trained(
    training: Training, callbacks: Callable[[Made], list[Any]], ends_in: type[BaseException] | None
) -> Trained:
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    made = Made()
    watch = Watch(made)
    with _graphs_as_written(), made.noted(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            training([*callbacks(made), watch])
        except BaseException as error:
            if ends_in is None or not isinstance(error, ends_in):
                raise
    return Trained(watch, watch.state(), caught)


@contextlib.contextmanager
def _graphs_as_written() -> Iterator[None]:
    """While it lasts, TensorFlow runs graphs as they are written.

    By itself it adds and multiplies in another order where nothing else reads what lies between, and not
    always in the same: of ten plain trainings of a variational autoencoder four differed from the first in
    the last digit of a loss (TensorFlow 2.21). Only a training that equals itself can be held against
    another.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def _changed(plain: Trained, recorded: Trained) -> list[str]:
    """What recording changed of the training: nothing, to the last bit."""
    found = []
    if not _same(plain.watch.epochs, recorded.watch.epochs):
        found.append(f"the history changed: {plain.watch.epochs} became {recorded.watch.epochs}")
    if not _same(plain.watch.batches, recorded.watch.batches):
        found.append("what Keras prints for each batch changed")
    same_state = len(plain.state) == len(recorded.state) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(plain.state, recorded.state, strict=True)
    )
    if not same_state:
        found.append("the weights, or the state of an optimizer or metric, changed")
    return found


def _another_training(plain: Trained, witnessed: Trained, rtol: float) -> list[str]:
    """Where the witness did not see the training that it speaks of."""
    found = []
    if plain.watch.steps != witnessed.watch.steps:
        found.append("the witness saw another number of steps")
    for name, ours, theirs in (
        ("metrics", plain.watch.totals, witnessed.watch.totals),
        ("weights", *([list(w.values()) for w in t.watch.weights] for t in (plain, witnessed))),
    ):
        for number, (some, others) in enumerate(zip(ours, theirs, strict=False)):
            for a, b in zip(some, others, strict=False):
                if a.shape != b.shape or not np.allclose(
                    np.float64(a), np.float64(b), rtol=10 * rtol, atol=10 * rtol, equal_nan=True
                ):
                    found.append(
                        f"the witness saw other {name} at {number}: {b.ravel()[:4]}, not {a.ravel()[:4]}"
                    )
                    return found
    return found


def _same(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    return len(some) == len(others) and all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)
        for a, b in zip(some, others, strict=True)
    )


def _untold(run: Run, recorded: Trained) -> list[str]:
    """Whether warnings were given where something is missing, each once, and only there."""
    warned = [w for w in recorded.warnings if issubclass(w.category, RuntimeWarning)]
    texts = [str(w.message) for w in warned if "InSituRecorder" in str(w.message)]
    missing = run.identity.get("missing", [])
    if bool(texts) != bool(missing) or len(set(texts)) < len(texts) or len(texts) > len(missing):
        return [f"{len(texts)} warnings were given of {len(missing)} that are missing: {texts}"]
    return []
