"""Trainings in trainings, loops of one's own, threads: a run holds its own steps, or says what it lacks."""

import threading
import warnings

import keras
import numpy as np
import pytest
from tensorview_insitu.callbacks import Activations, InSituRecorder, living
from tensorview_insitu.callbacks import recorder as recorder_module
from test_whose_training import LOUD, STEPS, Raising, data, on_batches, recorder, small, train

from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.reader import Run

BESIDE = "beside the recorded fit are not recorded"


class At(keras.callbacks.Callback):
    """Does something once, in one hook."""

    def __init__(self, hook, do):
        super().__init__()
        done = []

        def once(*_, **__):
            if not done:
                done.append(True)
                do(self.model)

        setattr(self, hook, once)


def nested_fit(model):
    train(model, [], LOUD, epochs=1)


INSIDE = [on_batches, nested_fit]


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("place", [0, 1])
def test_what_a_callback_trains_is_not_recorded_and_said(place, hook, inside, tmp_path):
    model, ours = small(), recorder(tmp_path / "run")
    with pytest.warns(RuntimeWarning):
        train(model, [At(hook, inside), ours] if place else [ours, At(hook, inside)])
    plain = small()
    train(plain, [At(hook, inside)])
    for mine, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and any(BESIDE in problem for problem in run.identity["missing"])
    assert list(run.steps()["step"]) == list(range(1, 2 * STEPS + 1))
    losses = run.scalars("batch")["loss"]
    assert len(losses) == 2 * STEPS and losses.iloc[0] < 10_000


def test_another_model_that_a_callback_trains_is_nobodys_concern(tmp_path):
    train(small(), [recorder(tmp_path / "run"), At("on_epoch_end", lambda _: train(small(), [], LOUD))])
    run = Run.open(tmp_path / "run")
    assert not run.identity["missing"] and len(run.steps()) == 2 * STEPS


def test_a_training_in_a_training_each_with_its_recorder(tmp_path):
    inner = At("on_epoch_end", lambda model: train(model, [recorder(tmp_path / "inner")], LOUD, epochs=1))
    with pytest.warns(RuntimeWarning, match=BESIDE):
        train(small(), [recorder(tmp_path / "outer"), inner])
    runs = Run.open(tmp_path / "outer"), Run.open(tmp_path / "inner")
    assert [run.status for run in runs] == ["finished", "finished"]
    assert [len(run.scalars("batch")) for run in runs] == [2 * STEPS, STEPS]
    assert (runs[0].scalars("batch")["loss"][:STEPS] < 10_000).all()
    assert (runs[1].scalars("batch")["loss"] > 10_000).all() and not runs[1].identity["missing"]


def test_a_training_in_a_training_with_the_same_recorder_is_not_recorded_and_said(tmp_path):
    ours = recorder(tmp_path / "run")
    model = small()
    others = [small(), model]
    for other in others:
        inner = At("on_epoch_end", lambda _, other=other: train(other, [ours], LOUD, epochs=1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            train(model, [ours, inner])
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and any(BESIDE in problem for problem in run.identity["missing"])
    assert list(run.steps()["step"]) == list(range(1, 4 * STEPS + 1))
    assert len(run.scalars("batch")) == len(run.scalars("batch")["loss"].dropna()) == 4 * STEPS


def test_a_lone_evaluation_with_the_recorder_inside_of_its_fit_does_not_end_it(tmp_path):
    ours = recorder(tmp_path / "run")
    x, y = data(LOUD)
    evaluating = At("on_epoch_end", lambda model: model.evaluate(x, y, verbose=0, callbacks=[ours]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        train(small(), [ours, evaluating])
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and len(run.scalars("batch")) == 2 * STEPS


def test_a_model_that_a_callback_compiles_anew_is_recorded_with_its_new_metrics(tmp_path):
    def anew(model):
        model.compile("sgd", "mse", metrics=["mae"])
        model.make_train_function(force=True)

    train(small(), [recorder(tmp_path / "run"), At("on_epoch_end", anew)])
    run = Run.open(tmp_path / "run")
    assert list(run.steps()["step"]) == list(range(1, 2 * STEPS + 1))
    table = run.scalars("batch")
    assert table["loss"].notna().all() and list(table["mae"].notna()) == [False] * STEPS + [True] * STEPS


def test_a_train_function_that_somebody_puts_in_place_is_missed_for_one_batch_and_that_is_said(tmp_path):
    with pytest.warns(RuntimeWarning, match="something else than the model's train_function"):
        anew = At("on_epoch_end", lambda model: model.make_train_function(force=True))
        train(small(), [recorder(tmp_path / "run"), anew])
    steps = list(Run.open(tmp_path / "run").scalars("batch")["step"])
    assert steps == [*range(1, STEPS + 1), *range(STEPS + 2, 2 * STEPS + 1)]


class Wrapping(keras.callbacks.Callback):
    """Another library that puts a function of its own around the train function."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def on_train_begin(self, logs=None):
        inner = self.before = self.model.train_function

        def wrapped(*args):
            self.calls += 1
            return inner(*args)

        self.model.train_function = wrapped

    def on_train_end(self, logs=None):
        self.model.train_function = self.before


@pytest.mark.parametrize("place", [0, 1])
def test_another_callback_that_wraps_the_train_function_is_called_at_every_step(place, tmp_path):
    model, ours, other = small(), recorder(tmp_path / "run"), Wrapping()
    for _ in range(2):
        train(model, [other, ours] if place else [ours, other])
    run = Run.open(tmp_path / "run")
    assert len(run.scalars("batch")) == 4 * STEPS and not run.identity["missing"]
    assert other.calls == 4 * STEPS
    train(model, [], LOUD)
    living.look()
    assert len(Run.open(tmp_path / "run").scalars("batch")) == 4 * STEPS


def batches(label=0.0):
    x, y = data(label)
    return [(x[start : start + 4], y[start : start + 4]) for start in range(0, len(x), 4)]


def by_list(model, callbacks):
    callbacks = keras.callbacks.CallbackList(callbacks, model=model, epochs=1)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for i, (x, y) in enumerate(batches()):
        callbacks.on_train_batch_begin(i)
        callbacks.on_train_batch_end(i, model.train_on_batch(x, y, return_dict=True))
    callbacks.on_epoch_end(0, {})
    callbacks.on_train_end()


class Trainer:
    """A loop whose hooks are called from methods, without Keras' list."""

    def __init__(self, model, callbacks):
        self.model, self.callbacks = model, callbacks
        for callback in callbacks:
            callback.set_params({})
            callback.set_model(model)

    def begin(self):
        for callback in self.callbacks:
            callback.on_train_begin({})

    def end(self):
        for callback in self.callbacks:
            callback.on_train_end({})

    def epoch(self):
        for callback in self.callbacks:
            callback.on_epoch_begin(0, {})
        for i, batch in enumerate(batches()):
            self.batch(i, *batch)
        for callback in self.callbacks:
            callback.on_epoch_end(0, {})

    def batch(self, i, x, y):
        for callback in self.callbacks:
            callback.on_train_batch_begin(i, {})
        logs = self.model.train_on_batch(x, y, return_dict=True)
        for callback in self.callbacks:
            callback.on_train_batch_end(i, logs)


def by_trainer(model, callbacks):
    trainer = Trainer(model, callbacks)
    trainer.begin()
    living.look()  # nothing is taken for over too soon
    trainer.epoch()
    trainer.end()


@pytest.mark.parametrize("loop", [by_list, by_trainer])
def test_a_loop_of_ones_own_is_recorded(loop, tmp_path):
    model = small()
    loop(model, [recorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    losses = run.scalars("batch")["loss"]
    by_hand = small()
    expected = [by_hand.train_on_batch(x, y) for x, y in batches()]
    np.testing.assert_allclose(losses, np.ravel(expected), rtol=1e-6)


@pytest.mark.parametrize("loop", [by_list, by_trainer])
def test_what_trains_the_model_after_a_loop_of_ones_own_that_broke_off_is_not_recorded(loop, tmp_path):
    model, ours = small(), recorder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        loop(model, [ours, Raising("on_train_batch_end")])
    train(model, [], LOUD)
    ours.close()
    losses = Run.open(tmp_path / "run").scalars("batch")["loss"]
    assert len(losses) == 2 and (losses < 10_000).all()


def test_a_loop_that_does_not_call_the_train_function_is_not_recorded_and_that_is_said(tmp_path):
    model = small()
    callbacks = keras.callbacks.CallbackList([recorder(tmp_path / "run")], model=model, epochs=1)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    with pytest.warns(RuntimeWarning, match="something else than the model's train_function"):
        for i, (x, y) in enumerate(batches()):
            callbacks.on_train_batch_begin(i)
            model.train_step((keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)))
            callbacks.on_train_batch_end(i, {})
        callbacks.on_epoch_end(0, {})
    callbacks.on_train_end()


def test_a_list_of_callbacks_may_be_used_for_several_fits(tmp_path):
    model, ours = small(), recorder(tmp_path / "run")
    callbacks = keras.callbacks.CallbackList([ours], add_history=True, model=model, epochs=2, steps=STEPS)
    for _ in range(2):
        train(model, callbacks)
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    assert len(run.scalars("batch")["loss"].dropna()) == 4 * STEPS


def test_trainings_in_two_threads_are_two_runs(tmp_path):
    models = [small(), small()]
    both = threading.Barrier(2, timeout=60)

    def work(i):
        meeting = At("on_epoch_end", lambda _: both.wait())
        train(models[i], [recorder(tmp_path / str(i)), meeting], LOUD * i)
        both.wait()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        run = Run.open(tmp_path / str(i))
        assert run.status == "finished" and not run.identity["missing"]
        losses = run.scalars("batch")["loss"]
        assert len(losses) == 2 * STEPS and ((losses > 10_000) == bool(i)).all()


def test_a_living_training_of_another_thread_is_not_ended(tmp_path):
    path = tmp_path / "run"
    inside, go_on = threading.Event(), threading.Event()

    def hold(_):
        inside.set()
        assert go_on.wait(60)

    thread = threading.Thread(target=train, args=(small(), [recorder(path), At("on_epoch_end", hold)]))
    thread.start()
    assert inside.wait(60)
    living.look()
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(RunExistsError, match="is being written by process"):
            InSituRecorder(path, **options)
    go_on.set()
    thread.join()
    run = Run.open(path)
    assert run.status == "finished" and len(run.steps()) == 2 * STEPS


def test_a_recorder_whose_folder_another_one_has_taken_is_refused(tmp_path):
    first = recorder(tmp_path / "run")
    train(small(), [first])
    train(small(), [recorder(tmp_path / "run", resume=True)])
    with pytest.raises(RunExistsError, match="was taken by another recorder"):
        train(small(), [first])
    assert len(Run.open(tmp_path / "run").steps()) == 4 * STEPS


def test_a_training_that_is_found_to_go_on_after_all_is_recorded_on(tmp_path, monkeypatch):
    """As where it was on no stack for a while: greenlets."""

    def lost(model):
        with monkeypatch.context() as patch:
            patch.setattr(recorder_module.Loop, "runs", lambda self: False)
            living.look()
        assert not ours._training

    ours = recorder(tmp_path / "run")
    train(small(), [At("on_train_batch_end", lost), ours])
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    assert list(run.steps()["step"]) == list(range(1, 2 * STEPS + 1))
    assert len(run.scalars("batch")["loss"].dropna()) == 2 * STEPS


def test_what_is_predicted_after_an_interrupt_is_not_in_the_run(tmp_path):
    x, _ = data(0)
    model = small()
    ours = InSituRecorder(tmp_path / "run", [Activations(x[:2])])
    with pytest.raises(KeyboardInterrupt):
        model.predict(x, verbose=0, batch_size=4, callbacks=[ours, Raising("on_predict_batch_end")])
    model.predict(100 + x, verbose=0, batch_size=4)
    plain = model.predict(x, verbose=0, batch_size=4)
    recorded = model.predict(x, verbose=0, batch_size=4, callbacks=[ours])
    np.testing.assert_array_equal(plain, recorded)
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    assert "predict_step" not in vars(model)
