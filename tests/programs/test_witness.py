"""The witness is right where a loop by hand can say it, and a wrong record is found."""

import keras
import numpy as np
import pytest
from data import BATCH, SAMPLES, TABLE, TARGET
from harness import program
from keras import layers
from tensorview_insitu.callbacks import InSituRecorder
from truth import Expectation, differences
from witness import Made, Watch, Witness

from tensorview_insitu.run.reader import Run

RATE = 0.05
EXPECTED = Expectation((), {}, (), frozenset(), lambda step: False, 1e-4)


def linear(callbacks):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1, name="line")])
    model.compile(keras.optimizers.SGD(RATE), "mse", metrics=["mae", keras.metrics.RootMeanSquaredError()])
    first = [v.numpy() for v in model.trainable_variables]
    model.fit(TABLE, TARGET, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
    return first


def by_hand(kernel, bias):
    """Every step's loss, mean absolute error, root mean squared error and norms, in double precision."""
    x, y = TABLE.astype(float), TARGET.astype(float)
    kernel, bias = kernel.astype(float), bias.astype(float)
    for start in [*range(0, SAMPLES, BATCH)] * 2:
        part = slice(start, start + BATCH)
        error = x[part] @ kernel + bias - y[part]
        of_kernel, of_bias = 2 * x[part].T @ error / len(error), 2 * error.mean(0)
        loss = (error**2).mean()
        norms = [np.linalg.norm(of_kernel), np.linalg.norm(of_bias)]
        yield {"loss": loss, "mae": abs(error).mean(), "root_mean_squared_error": loss**0.5}, norms
        kernel, bias = kernel - RATE * of_kernel, bias - RATE * of_bias


@pytest.mark.parametrize("eager", [True, False])
def test_witness_agrees_with_a_loop_by_hand(eager):
    made = Made()
    witness = Witness(made, eager=eager)
    with made.noted():
        first = linear([witness])
    truth = list(by_hand(*first))
    assert len(witness.steps) == len(truth) == 8
    for step, (values, norms) in zip(witness.steps, truth, strict=True):
        assert step.values == pytest.approx(values, rel=1e-5)
        assert list(step.norms.values()) == pytest.approx(norms, rel=1e-5)
        assert list(step.rates.values()) == pytest.approx([RATE])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run, and who watched the same training."""
    folder = tmp_path_factory.mktemp("linear") / "run"
    linear([InSituRecorder(folder)])
    made = Made()
    witness, watch = Witness(made, eager=False), Watch(made)
    with made.noted():
        linear([witness, watch])
    return folder, watch, witness


class Altered(Run):
    """The same run, but for one number of one table, or one column."""

    def scalars(self, rhythm):
        return self.alter(super().scalars(rhythm), f"scalars/{rhythm}")

    def gradient_norms(self):
        return self.alter(super().gradient_norms(), "gradient_norms")

    def alter(self, table, name):
        dataset, column, how = self.altered
        if dataset != name:
            return table
        if how == "left out":
            return table.drop(columns=column)
        if how == "another":
            return table.assign(another=1.0)
        table.loc[1, column] = np.nan if how == "none" else table.loc[1, column] * 1.001
        return table

    @property
    def identity(self):
        how = self.altered[2]
        return {**super().identity, **({"missing": ["something"]} if how == "said to be missing" else {})}


def altered(folder, dataset, column, how):
    run = Altered(folder)
    run.altered = (dataset, column, how)
    return run


def test_right_record_has_no_differences(recorded):
    folder, watch, witness = recorded
    assert differences(altered(folder, "", "", ""), watch, witness, EXPECTED) == []


@pytest.mark.parametrize("how", ["wrong", "none", "left out"])
@pytest.mark.parametrize(
    ("dataset", "column"),
    [
        ("scalars/batch", "loss"),
        ("scalars/batch", "root_mean_squared_error"),
        ("scalars/batch", "learning_rate"),
        ("scalars/epoch", "mae"),
        ("gradient_norms", "line/bias"),
    ],
)
def test_one_wrong_number_is_found(recorded, dataset, column, how):
    folder, watch, witness = recorded
    found = differences(altered(folder, dataset, column, how), watch, witness, EXPECTED)
    assert len(found) == 1
    assert column.split("/")[-1] in found[0]


@pytest.mark.parametrize("dataset", ["scalars/batch", "scalars/epoch", "gradient_norms"])
def test_column_that_nobody_knows_is_found(recorded, dataset):
    folder, watch, witness = recorded
    assert differences(altered(folder, dataset, "", "another"), watch, witness, EXPECTED)


def test_excuse_without_a_reason_is_found(recorded):
    folder, watch, witness = recorded
    run = altered(folder, "", "", "said to be missing")
    assert differences(run, watch, witness, EXPECTED) == ["said to be missing: something"]


def test_callback_that_changes_the_training_is_found(tmp_path):
    class Meddling(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.layers[-1].bias.assign_add([1e-6])

    def training(callbacks):
        recording = any(isinstance(callback, InSituRecorder) for callback in callbacks)
        linear([*callbacks, Meddling()] if recording else callbacks)

    with pytest.raises(AssertionError, match="the weights, or the state of an optimizer"):
        program()(training)(tmp_path)
