"""Recording changes nothing: weights and history are the same bit for bit."""

import keras
import numpy as np
import pytest
from fits import fit, network
from tensorview_insitu.callbacks import Biases, GradientNorms, InSituRecorder, Kernels, Metrics

KINDS = ["functional", "sequential", "sequential without input", "subclassed"]
WAYS = {
    "default": {},
    "jit_compile": {"jit_compile": True},
    "steps_per_execution": {"steps_per_execution": 4},
    "run_eagerly": {"run_eagerly": True},
}


def same(one, other):
    (model, history), (other_model, other_history) = one, other
    weights = zip(model.get_weights(), other_model.get_weights(), strict=True)
    return history.history == other_history.history and all(np.array_equal(a, b) for a, b in weights)


def train(kind, callbacks, **options):
    model = network(kind, **{"optimizer": "adam"} | options)
    return model, fit(model, callbacks)


@pytest.mark.parametrize("kind", KINDS)
def test_two_trainings_are_equal_and_a_recorded_one_equals_both(kind, tmp_path):
    plain = train(kind, [])
    control = train(kind, [])
    recorded = train(kind, [InSituRecorder(tmp_path / "run")])
    assert same(plain, control)
    assert same(plain, recorded)


@pytest.mark.parametrize("way", WAYS)
def test_recording_everything_at_every_batch_changes_nothing(way, tmp_path):
    everything = [Metrics(), GradientNorms(), Kernels("batch"), Biases(3)]
    plain = train("functional", [], **WAYS[way])
    recorded = train("functional", [InSituRecorder(tmp_path / "run", everything)], **WAYS[way])
    assert same(plain, recorded)


def test_the_comparison_sees_a_difference_of_one_seed():
    assert not same(train("functional", []), train("functional", [], seed=1))


def test_a_second_fit_goes_on_as_it_would_without(tmp_path):
    recorder = InSituRecorder(tmp_path / "run")
    results = []
    for callbacks in ([], [recorder]):
        model = network(optimizer="adam")
        fit(model, callbacks)
        results.append((model, fit(model, callbacks)))
    assert same(*results)


def test_nothing_of_it_is_left_in_the_model(tmp_path):
    model = network(optimizer="adam")
    before = {name: set(vars(thing)) for name, thing in (("model", model), ("optimizer", model.optimizer))}
    fit(model, [InSituRecorder(tmp_path / "run")])
    assert "train_step" not in vars(model) and "apply" not in vars(model.optimizer)
    plain = network(optimizer="adam")
    fit(plain, [])
    assert len(model.optimizer.variables) == len(plain.optimizer.variables)
    assert before["model"] <= set(vars(plain))


def test_a_model_saved_meanwhile_loads_and_predicts_the_same(tmp_path):
    model = network(optimizer="adam")
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    fit(model, [InSituRecorder(tmp_path / "run"), checkpoint])
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_an_evaluate_alone_leaves_the_model_alone(tmp_path, small_batch):
    model = network(optimizer="adam")
    recorder = InSituRecorder(tmp_path / "run")
    model.evaluate(*small_batch, verbose=0, callbacks=[recorder])
    assert "train_step" not in vars(model)
    model.predict(small_batch[0], verbose=0, callbacks=[recorder])
    assert "train_step" not in vars(model)
