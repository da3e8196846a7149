"""A training goes on with the function that it would go on with unrecorded."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - as users write it
from exhaustive import one_in
from fits import digits, network
from tensorview_insitu.callbacks import GradientNorms, InSituRecorder, Kernels, Metrics, UpdateNorms
from tensorview_insitu.callbacks.same_function import same_function
from tensorview_insitu.callbacks.taps.tensorflow_tap import sampling

from tensorview_insitu.run.reader import Run


def train(model, callbacks, epochs=2):
    x, y = digits()
    return model.fit(x[:128], y[:128], epochs=epochs, verbose=0, callbacks=callbacks, shuffle=False).history


def outcome(model, history):
    return history, [np.asarray(v.value) for v in [*model.variables, *model.optimizer.variables]]


def same(one, other):
    (history, weights), (other_history, other_weights) = one, other
    return history == other_history and all(map(np.array_equal, weights, other_weights))


class Sets(keras.callbacks.Callback):
    """Gives the model a train function of its own, which trains every batch twice."""

    def __init__(self, when):
        super().__init__()
        self.when = when

    def sets(self, when):
        if when == self.when:
            step = type(self.model).train_step

            def function(iterator):
                data = next(iterator)
                step(self.model, data)
                return step(self.model, data)

            self.model.train_function = function

    def set_model(self, model):
        super().set_model(model)
        self.sets("set_model")

    def on_train_begin(self, logs=None):
        self.sets("on_train_begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.sets(f"epoch {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.sets(f"batch {batch}")


@pytest.mark.parametrize(
    ("when", "place"),
    one_in(3, itertools.product(["set_model", "on_train_begin", "epoch 1", "batch 1"], [0, 1])),
)
def test_a_train_function_that_keras_did_not_build_trains_as_ever(when, place, tmp_path):
    plain, recorded = network(optimizer="adam"), network(optimizer="adam")
    callbacks = [Sets(when)]
    callbacks.insert(place, InSituRecorder(tmp_path / "run"))
    outcomes = [outcome(plain, train(plain, [Sets(when)])), outcome(recorded, train(recorded, callbacks))]
    assert same(*outcomes)
    run = Run.open(tmp_path / "run")
    assert any("train_function is not what Keras builds" in m for m in run.identity["missing"])
    # What Keras' own function did before is recorded, and nothing of what came after.
    before = {"set_model": 0, "on_train_begin": 0, "epoch 1": 4, "batch 1": 1}[when]
    assert len(run.scalars("batch")) == before
    assert len(run.scalars("epoch")) == 2 and run.steps()["step"].iloc[-1] == 8


class Weighted(keras.Model):
    """A step that reads a number of Python's, which TensorFlow keeps as it was when it was traced."""

    weight = 1.0
    noise = False

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True)) * self.weight
        gradients = tape.gradient(loss, self.trainable_variables)
        if self.noise:
            gradients = [g + 0.01 * tf.random.normal(g.shape) for g in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"weighted_loss": loss}


def weighted(noise=False, dense=8):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Dense(dense, activation="relu", name="first")(keras.layers.Flatten()(x))
    model = Weighted(inputs, keras.layers.Dense(10, activation="softmax", name="classes")(x))
    model.noise = noise
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


def freezes(model):
    model.get_layer("classes").trainable = False


def changes_a_number(model):
    model.weight = 0.25


def runs_eagerly(model):
    model.run_eagerly = True


def replaces_the_step(model):
    model.train_step = lambda data: {"weighted_loss": tf.constant(0.0)}


def nothing(model):
    pass


CHANGES = [freezes, changes_a_number, runs_eagerly, replaces_the_step]


@pytest.mark.parametrize("change", [*CHANGES, nothing], ids=lambda change: change.__name__)
def test_a_model_that_changes_between_fits_without_compile_trains_as_it_would_unrecorded(change, tmp_path):
    outcomes = []
    for recorder in ([], [InSituRecorder(tmp_path / "run")]):
        model = weighted()
        train(model, [])
        change(model)
        outcomes.append(outcome(model, train(model, recorder)))
    assert same(*outcomes)
    run = Run.open(tmp_path / "run")
    if change is nothing:
        assert run.identity["missing"] == [] and len(run.scalars("batch")) == 8
    else:
        assert any("batches are not recorded" in m for m in run.identity["missing"])
        assert run.scalars("batch").empty and len(run.scalars("epoch")) == 2


def draws(model):
    """Nothing changes, but the step draws numbers that TensorFlow counts by itself."""


AFTERWARDS = [*CHANGES, draws, nothing]


@pytest.mark.parametrize("again", ["another recorder", "the same", "none"])
@pytest.mark.parametrize("change", AFTERWARDS, ids=lambda change: change.__name__)
def test_what_follows_a_recorded_fit_goes_on_with_its_trace_as_it_would_unrecorded(change, again, tmp_path):
    outcomes = []
    for recorded in (False, True):
        model = weighted(noise=change is draws)
        first = InSituRecorder(tmp_path / "run")
        second = {"another recorder": InSituRecorder(tmp_path / "other"), "the same": first, "none": None}[
            again
        ]
        train(model, [first] * recorded)
        change(model)
        outcomes.append(outcome(model, train(model, [second] if recorded and second is not None else [])))
        # What comes after that goes on in the same way.
        outcomes[-1] = (outcomes[-1], outcome(model, train(model, [])))
    assert same(*[one[0] for one in outcomes]) and same(*[one[1] for one in outcomes])
    run = Run.open(tmp_path / ("other" if again == "another recorder" else "run"))
    rows = len(run.scalars("batch"))
    if again == "none":
        assert rows == 8
    elif change is nothing or (change is draws and again == "the same"):
        assert rows == 8 * (2 if again == "the same" else 1) and run.identity["missing"] == []
    elif again == "another recorder":
        assert rows == 0 and any("batches are not recorded" in m for m in run.identity["missing"])


@pytest.mark.parametrize("recorded", [False, True])
def test_a_layer_that_is_unfrozen_without_compile_ends_no_training(recorded, tmp_path):
    ends = []
    for callbacks in ([], [InSituRecorder(tmp_path / "one")]):
        model = weighted()
        freezes(model)
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        train(model, callbacks)
        model.get_layer("classes").trainable = True
        again = [InSituRecorder(tmp_path / "other")] if callbacks and recorded else []
        ends.append(outcome(model, train(model, again)))
    assert same(*ends)
    if recorded:
        missing = Run.open(tmp_path / "other").identity["missing"]
        assert any("batches are not recorded" in m for m in missing)


def test_what_others_train_with_the_trace_of_a_recorder_is_not_in_its_run(tmp_path):
    model = weighted(noise=True)
    recorder = InSituRecorder(
        tmp_path / "run", [Metrics(), GradientNorms(), UpdateNorms("batch"), Kernels("batch", ["classes"])]
    )
    train(model, [recorder])
    for _ in range(3):
        train(model, [])
    kernel = model.get_layer("classes").kernel.numpy()
    train(model, [recorder])
    run = Run.open(tmp_path / "run")
    steps = list(range(1, 17))
    (missing,) = run.identity["missing"]
    assert missing.startswith("between step 8 and the next") and "by something else" in missing
    assert list(run.scalars("batch")["step"]) == steps
    assert list(run.gradient_norms()["step"]) == list(run.update_norms()["step"]) == steps
    assert run.gradient_norms().notna().all(axis=None) and run.scalars("batch").notna().all(axis=None)
    held = run.variable("classes", "kernel")
    assert list(held.steps) == [0, *steps]
    np.testing.assert_array_equal(held.values[-1], model.get_layer("classes").kernel.numpy())
    moved = np.linalg.norm(held.values[9].astype(np.float64) - kernel)
    np.testing.assert_allclose(run.update_norms()["classes/kernel"][8], moved, rtol=1e-4)


def test_one_that_is_built_anew_is_recorded_with_its_changes(tmp_path):
    model = weighted()
    train(model, [])
    changes_a_number(model)
    model.make_train_function(force=True)
    train(model, [InSituRecorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == [] and len(run.scalars("batch")) == 8


@pytest.mark.parametrize("first", [True, False])
def test_random_numbers_that_tensorflow_counts_go_on_as_unrecorded(first, tmp_path):
    outcomes = []
    for recorded in (False, True):
        model = weighted(noise=True)
        if first:
            train(model, [])
        callbacks = [InSituRecorder(tmp_path / "run")] if recorded else []
        outcomes.append(outcome(model, train(model, callbacks)))
    assert same(*outcomes)
    missing = Run.open(tmp_path / "run").identity["missing"]
    assert any("random numbers would begin anew" in m for m in missing) == first


@pytest.mark.parametrize("noise", [False, True])
def test_norms_that_are_sampled_trace_no_other_training(noise, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "_WORTH_A_TRACE", 100)

    class Anneals(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.weight = 1.0 + epoch

    outcomes = []
    for recorded in (False, True):
        model = weighted(noise)
        recorder = InSituRecorder(tmp_path / "run", [Metrics(), GradientNorms(6)])
        outcomes.append(outcome(model, train(model, [Anneals()] + [recorder] * recorded)))
    assert same(*outcomes)
    assert len(Run.open(tmp_path / "run").scalars("batch")) == 8


def test_the_same_recorder_goes_on_with_what_it_traced(tmp_path):
    outcomes = []
    for recorded in (False, True):
        model = weighted(noise=True)
        recorder = [InSituRecorder(tmp_path / "run", [Metrics(), UpdateNorms("batch")])] * recorded
        train(model, recorder)
        changes_a_number(model)
        outcomes.append(outcome(model, train(model, recorder)))
    assert same(*outcomes)
    assert len(Run.open(tmp_path / "run").scalars("batch")) == 16


def test_functions_are_the_same_by_what_they_do():
    def makes(number, inner=None):
        def function():
            return number, inner

        return function

    def makes_another(number, inner=None):
        def function():
            return inner, number

        return function

    assert same_function(makes(1), makes(1)) and not same_function(makes(1), makes(2))
    assert not same_function(makes(1), makes_another(1))
    assert same_function(makes(1, makes(2)), makes(1, makes(2)))
    assert not same_function(makes(1, makes(2)), makes(1, makes(3)))
    ways = [tf.function(makes(1)), tf.function(makes(1), jit_compile=True), tf.function(makes(2))]
    assert same_function(ways[0], tf.function(makes(1)))
    assert not same_function(ways[0], ways[1]) and not same_function(ways[0], ways[2])
    some, other = weighted(), weighted()
    assert same_function(some.train_step, some.train_step)
    assert not same_function(some.train_step, other.train_step)
