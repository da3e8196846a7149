"""What the recorder says of a column is true: why it is absent, running, or not to be trusted."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - the user's own code
from keras import layers
from tensorview_insitu.callbacks import InSituRecorder, Metrics

from tensorview_insitu.run.reader import Run

EAGER = pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])


class Count(keras.metrics.Metric):
    """A whole number, and a vector."""

    def __init__(self, name="count"):
        super().__init__(name=name)
        self.count = self.add_weight(name="n", initializer="zeros", dtype="int32")
        self.vector = self.add_weight(name="v", shape=(3,), initializer="zeros")

    def update_state(self, y, outputs, sample_weight=None):
        self.count.assign_add(tf.shape(y)[0])
        self.vector.assign_add(tf.ones(3))

    def result(self):
        return tf.cast(self.count, tf.float32) + tf.reduce_sum(self.vector)


class Gap(keras.metrics.Metric):
    """A difference of two means that nearly cancel."""

    def __init__(self, name="gap"):
        super().__init__(name=name)
        self.first, self.second = keras.metrics.Mean(), keras.metrics.Mean()

    def update_state(self, y, outputs, sample_weight=None):
        self.first.update_state(y)
        self.second.update_state(outputs)

    def result(self):
        return self.first.result() - self.second.result()


def recorded(path, metrics, eager=False, *, bias=0.0, samples=24, callbacks=()):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 4)).astype(keras.config.floatx())
    y = x[:, :1] + bias
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(1, bias_initializer=keras.initializers.Constant(bias))]
    )
    model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=metrics, run_eagerly=eager)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = model.fit(
            x,
            y,
            batch_size=7,
            epochs=2,
            shuffle=False,
            verbose=0,
            callbacks=[InSituRecorder(path, [Metrics()]), *callbacks],
        )
    return Run.open(path), history.history


@EAGER
def test_a_count_and_a_vector_run_on_over_the_epoch(eager, tmp_path):
    run, _ = recorded(tmp_path / "run", [Count()], eager)
    assert list(run.scalars("batch")["running/count"]) == [10, 20, 30, 36] * 2
    assert run.identity["missing"] == []


def test_columns_of_float64_are_trusted(tmp_path):
    keras.config.set_floatx("float64")
    try:
        run, history = recorded(tmp_path / "run", ["mae"], samples=28)
    finally:
        keras.config.set_floatx("float32")
    assert "untrusted" not in run.identity
    rows = run.scalars("batch").groupby("epoch")[["loss", "mae"]].mean()
    np.testing.assert_allclose(rows["mae"], history["mae"], rtol=1e-6)


def test_a_difference_of_means_that_cancel_is_trusted_and_another_number_is_not(tmp_path):
    run, _ = recorded(tmp_path / "run", [Gap()], bias=300.0, samples=2100)
    assert "untrusted" not in run.identity

    class Meddles(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                self.model.metrics[1].metrics[0].first.update_state(np.float32(500.0))

    run, _ = recorded(tmp_path / "other", [Gap()], bias=300.0, samples=2100, callbacks=[Meddles()])
    assert set(run.untrusted("scalars/batch")) == {"gap"}


def test_a_counter_that_a_callback_sets_back_is_no_witness(tmp_path):
    class Restarts(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.iterations.assign(0)

    run, _ = recorded(tmp_path / "run", [], callbacks=[Restarts()])
    assert run.identity["missing"] == []


@EAGER
def test_of_a_metric_that_is_called_as_the_running_value_of_another_neither_is_mixed(eager, tmp_path):
    mean = keras.metrics.MeanSquaredError(name="running/a")
    run, _ = recorded(tmp_path / "run", [Count(name="a"), mean], eager)
    batches = run.scalars("batch")
    np.testing.assert_allclose(batches["running/a"], batches["loss"], rtol=1e-5)
    assert "untrusted" not in run.identity
    (missing,) = run.identity["missing"]
    assert missing.startswith("what a says of the epoch so far is not recorded")


@EAGER
def test_a_metric_that_holds_what_another_model_told_it_spoils_the_epoch_and_not_the_batches(eager, tmp_path):
    metrics = [keras.metrics.MeanSquaredError(name="error")]
    fresh, _ = recorded(tmp_path / "fresh", metrics, eager)
    metrics[0].update_state(np.zeros((9, 1)), np.full((9, 1), 7.0))
    used, history = recorded(tmp_path / "used", metrics, eager)
    np.testing.assert_allclose(used.scalars("batch")["error"], fresh.scalars("batch")["error"], rtol=1e-5)
    if np.isclose(history["error"][0], history["loss"][0], rtol=1e-4):
        assert "untrusted" not in used.identity  # this Keras has reset it
    else:
        assert set(used.untrusted("scalars/epoch")) == {"error"} and not used.untrusted("scalars/batch")
        assert "before this fit" in used.untrusted("scalars/epoch")["error"]
