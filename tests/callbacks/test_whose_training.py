"""A run holds the steps of the recorder's own fit, whatever ends that and whatever trains the model then."""

import functools
import itertools
import signal
import sys

import keras
import numpy as np
import pytest
from exhaustive import one_in
from tensorview_insitu.callbacks import InSituRecorder, Kernels, Metrics, living

from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.reader import Run

STEPS = 6
QUIET, LOUD = 0.0, 1000.0  # labels: the losses of the two trainings cannot be taken for each other


def data(label):
    x = np.random.default_rng(0).normal(size=(4 * STEPS, 3)).astype(np.float32)
    return x, np.full((4 * STEPS, 1), label, np.float32)


def small():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="top")])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1e-4
    return model


def train(model, callbacks, label=QUIET, **options):
    x, y = data(label)
    settings = {"batch_size": 4, "epochs": 2, "verbose": 0, "shuffle": False} | options
    return model.fit(x, y, validation_data=(x, y), callbacks=callbacks, **settings)


def recorder(path, **options):
    return InSituRecorder(path, [Metrics(), Kernels("batch", ["top"])], **options)


def steps_done(model):
    return int(model.optimizer.iterations.numpy())


class Raising(keras.callbacks.Callback):
    """Raises at the second call of one hook."""

    def __init__(self, hook, error=KeyboardInterrupt):
        super().__init__()
        self.calls = 0

        def raising(*args, **kwargs):
            self.calls += 1
            if self.calls == (1 if hook in ("on_train_begin", "set_model") else 2):
                raise error("from a callback")

        setattr(self, hook, raising)


def interrupted(model, path, place, hook="on_train_batch_end"):
    """A recorded fit that another callback ends."""
    ours, other = recorder(path), Raising(hook)
    with pytest.raises(KeyboardInterrupt):
        train(model, [ours, other] if place == "after ours" else [other, ours])
    return ours


HOOKS = [
    "set_model", "on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end",
    "on_test_begin", "on_test_batch_end", "on_test_end", "on_epoch_end",
]  # fmt: skip


def check_old_run(path, steps):
    """It holds just its own steps."""
    run = Run.open(path)
    assert run.status == "interrupted" and not run.identity["missing"]
    assert list(run.steps()["step"]) == list(range(1, steps + 1))
    if steps:
        losses = run.scalars("batch")["loss"]
        assert len(losses) == steps and (losses < 10_000).all()
        assert len(run.variable("top", "kernel").steps) == steps + 1


def plain_then(hook, afterwards):
    """The weights of the same two trainings, unrecorded."""
    model = small()
    with pytest.raises(KeyboardInterrupt):
        train(model, [Raising(hook)])
    afterwards(model)
    return model.get_weights()


def again_without(model):
    train(model, [], LOUD)


def on_batches(model):
    x, y = data(LOUD)
    for start in range(0, len(x), 4):
        model.train_on_batch(x[start : start + 4], y[start : start + 4])


def evaluated_and_predicted(model):
    x, y = data(LOUD)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    train(model, [], LOUD, epochs=1)


def recompiled(model):
    model.compile("sgd", "mae")
    train(model, [], LOUD)


def every_way(model):
    for afterwards in (again_without, on_batches, evaluated_and_predicted, recompiled):
        afterwards(model)


# Nine hooks: each is there with one of the places.
@pytest.mark.parametrize(
    ("place", "hook"), one_in(2, itertools.product(["before ours", "after ours"], HOOKS))
)
def test_what_trains_the_model_after_an_interrupt_is_not_in_the_run(hook, place, tmp_path):
    model = small()
    ours = interrupted(model, tmp_path / "run", place, hook)
    steps = steps_done(model)
    every_way(model)
    living.look()
    ours.close()
    if (tmp_path / "run").exists():  # not where a callback before ours raised in its set_model
        check_old_run(tmp_path / "run", steps)
    for mine, theirs in zip(model.get_weights(), plain_then(hook, every_way), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert "train_step" not in vars(model) and "apply" not in vars(model.optimizer)


def anew(model, path, tmp_path):
    train(model, [recorder(tmp_path / "other")], LOUD)
    return tmp_path / "other", 1


def overwriting(model, path, tmp_path):
    train(model, [recorder(path, overwrite=True)], LOUD)
    return path, 1


def resuming(model, path, tmp_path):
    train(model, [recorder(path, resume=True)], LOUD)
    return path, None


def another_model(model, path, tmp_path):
    train(small(), [recorder(path, overwrite=True)], LOUD)
    return path, 1


AFTERWARDS = itertools.product(
    ["set_model", "on_train_begin", "on_train_batch_begin", "on_test_end"],
    [anew, overwriting, resuming, another_model],
    [False, True],
)


# Three is no divisor of the numbers of any of them: each is there with each.
@pytest.mark.parametrize(("hook", "afterwards", "looked"), one_in(3, AFTERWARDS))
def test_the_next_recorder_ends_the_dead_one_and_records_its_own(hook, afterwards, looked, tmp_path):
    path = tmp_path / "run"
    model = small()
    ours = interrupted(model, path, "after ours", hook)
    steps = steps_done(model)
    if looked:
        living.look()
    with pytest.raises(RunExistsError, match="already holds a run .interrupted.* overwrite=True"):
        recorder(path)
    check_old_run(path, steps)
    new, first = afterwards(model, path, tmp_path)
    ours.close()
    if new != path:
        check_old_run(path, steps)
    run = Run.open(new)
    assert run.status == "finished" and not run.identity["missing"]
    first = steps + 1 if first is None else first
    assert list(run.steps()["step"])[first - 1 :] == list(range(first, first + 2 * STEPS))
    losses = run.scalars("batch")["loss"]
    assert (losses[: first - 1] < 10_000).all() and (losses[first - 1 :] > 10_000).all()
    assert len(losses) == first - 1 + 2 * STEPS


def test_the_same_recorder_goes_on_after_an_interrupt(tmp_path):
    model = small()
    ours = interrupted(model, tmp_path / "run", "after ours")
    steps = steps_done(model)
    train(model, [], LOUD)
    train(model, [ours])
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    assert list(run.steps()["step"]) == list(range(1, steps + 2 * STEPS + 1))
    assert list(run.variable("top", "kernel").steps) == list(range(steps + 2 * STEPS + 1))


def test_the_progress_bar_that_fails_ends_a_fit_like_anything_else(tmp_path, monkeypatch):
    def broken(self, *args, **kwargs):
        raise BrokenPipeError("nobody reads what is printed")

    model, ours = small(), recorder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.ProgbarLogger, "on_epoch_end", broken)
        with pytest.raises(BrokenPipeError):
            train(model, [ours], verbose=2)
    steps = steps_done(model)
    train(model, [], LOUD)
    living.look()
    ours.close()
    check_old_run(tmp_path / "run", steps)


class Lines:
    """Sends Ctrl-C at the n-th line that is executed in some files: at any moment, the same each time."""

    def __init__(self, number, part):
        self.number, self.part, self.count = number, part, 0

    def __enter__(self):
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def trace(self, frame, event, argument):
        if self.part not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.count += 1
            if self.count == self.number:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return self.trace


@pytest.fixture(scope="module")
def lines_of_a_fit(tmp_path_factory):
    @functools.cache
    def count(part):
        keras.backend.clear_session()
        with Lines(-1, part) as lines:
            train(small(), [recorder(tmp_path_factory.mktemp("counted") / "run")])
        return lines.count

    return count


@pytest.fixture
def ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("part", ["/callbacks/", "keras/src/callbacks", "tensorflow/trainer.py"])
@pytest.mark.parametrize("share", one_in(3, np.random.default_rng(13).uniform(0, 1, 12).round(4)))
def test_ctrl_c_at_any_line_leaves_a_run_that_is_right_and_a_cell_that_can_be_run_again(
    share, part, lines_of_a_fit, tmp_path, ctrl_c
):
    number = 1 + int(share * (lines_of_a_fit(part) - 1))
    model, path = small(), tmp_path / "run"
    try:
        with Lines(number, part):
            train(model, [recorder(path)])
        ended = True
    except KeyboardInterrupt:
        ended = False
    steps = steps_done(model)
    train(model, [], LOUD, epochs=1)
    if path.exists():
        if (path / "run.json").exists():
            with pytest.raises(RunExistsError, match="already holds a run"):
                recorder(path)
            run = Run.open(path)
            assert run.status != "running" and (not ended or run.status == "finished")
            rows = list(run.steps()["step"])
            assert rows == list(range(1, len(rows) + 1))
            assert len(rows) == steps or run.identity["missing"]
            losses = run.scalars("batch")
            assert len(losses) == len(rows) and (losses.get("loss", np.zeros(0)) < 10_000).all()
    again = small()
    train(again, [recorder(path, overwrite=True)])
    plain = small()
    train(plain, [])
    for mine, theirs in zip(again.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    run = Run.open(path)
    assert run.status == "finished" and len(run.scalars("batch")) == 2 * STEPS
