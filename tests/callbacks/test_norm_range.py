"""A norm is right over the whole range of float32, though the squares of small and large numbers are not."""

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - the independent computation
from keras import layers
from tensorview_insitu.callbacks import (
    FilterGradientNorms,
    GradientNorms,
    InSituRecorder,
    Metrics,
    UpdateNorms,
)

from tensorview_insitu.run.reader import Run

FACTORS = [3e-30, 1e-19, 4e-10, 1.0, 3e10, 2e19, 1e30]
KINDS = {
    "graph": {},
    "jit": {"jit_compile": True},
    "eager": {"run_eagerly": True},
}
RATE = 0.5


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 4)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)


class Scaled(keras.Model):
    """A layer whose gradient is any number: of a linear loss, times a factor."""

    def __init__(self, factor, dtype=None):
        super().__init__()
        self.factor = factor
        self.table = layers.Embedding(5, 3, name="table", dtype=dtype)
        self.dense = layers.Dense(3, name="dense", dtype=dtype)
        self.silent = layers.Dense(3, name="silent", dtype=dtype)

    def build(self, shape):
        self.table.build(None)
        self.dense.build(shape)
        self.silent.build(shape)
        self.built = True

    def call(self, x):
        rows = self.table(tf.cast(tf.range(tf.shape(x)[0]) % 2, tf.int32))
        return self.dense(x) + 0 * self.silent(x) + rows


def linear_loss(factor):
    return lambda y, outputs: tf.reduce_sum(y * tf.cast(outputs, tf.float32)) * np.float32(factor)


def true_gradients(x, y, factor):
    """Of the linear loss, in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64) * factor
    table = np.stack([y[::2].sum(axis=0), y[1::2].sum(axis=0), *np.zeros((3, 3))])
    return {
        "dense/kernel": x.T @ y,
        "dense/bias": y.sum(axis=0),
        "table/embeddings": table,
        "silent/kernel": np.zeros((4, 3)),
        "silent/bias": np.zeros(3),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", FACTORS)
def test_norms_of_vanishing_and_exploding_gradients_are_those_of_float64(factor, kind, tmp_path):
    x, y = data()
    keras.utils.set_random_seed(0)
    model = Scaled(factor)
    model.build((None, 4))
    # The smallest rate that float32 holds beside it: the weights move by what they can hold.
    model.compile(keras.optimizers.SGD(RATE if factor <= 1 else 0.0), linear_loss(factor), **KINDS[kind])
    quantities = [Metrics(), GradientNorms(), FilterGradientNorms()]
    model.fit(
        x, y, batch_size=8, verbose=0, shuffle=False, callbacks=[InSituRecorder(tmp_path / "r", quantities)]
    )
    run = Run.open(tmp_path / "r")
    norms = run.gradient_norms()
    for name, gradient in true_gradients(x, y, factor).items():
        np.testing.assert_allclose(norms[name], np.linalg.norm(gradient), rtol=1e-5, err_msg=name)
    by_filter = np.linalg.norm(true_gradients(x, y, factor)["dense/kernel"], axis=0)
    np.testing.assert_allclose(run.filter_gradient_norms("dense").values, [by_filter], rtol=1e-5)
    assert not run.filter_gradient_norms("silent").values.any()


def test_the_norm_of_a_small_move_is_that_of_float64(tmp_path):
    x, y = data()
    model = Scaled(1e-22)
    model.build((None, 4))
    for variable in model.weights:
        variable.assign(np.zeros(variable.shape))
    model.compile(keras.optimizers.SGD(RATE), linear_loss(1e-22))
    recorder = InSituRecorder(tmp_path / "r", [Metrics(), UpdateNorms("batch")])
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False, callbacks=[recorder])
    run = Run.open(tmp_path / "r")
    for name, gradient in true_gradients(x, y, 1e-22).items():
        step = RATE * np.linalg.norm(gradient)
        np.testing.assert_allclose(run.update_norms()[name], [step, step], rtol=1e-5)
        np.testing.assert_allclose(run.weight_norms()[name], [0, step], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_half_precision_has_the_norms_of_the_gradients_that_its_optimizer_is_given(dtype, tmp_path):
    """Of a bfloat16 variable too, whose range is that of float32."""
    factor = 1e-3 if dtype == "mixed_float16" else 1e-21
    x, y = data()
    model = Scaled(factor, dtype)
    model.build((None, 4))
    model.compile(keras.optimizers.SGD(0.0), linear_loss(factor))
    recorder = InSituRecorder(tmp_path / "r", [Metrics(), GradientNorms(), FilterGradientNorms()])
    model.fit(x, y, batch_size=8, verbose=0, shuffle=False, callbacks=[recorder])
    run = Run.open(tmp_path / "r")
    expected = true_gradients(x, y, factor)
    for name in ("dense/kernel", "dense/bias"):
        np.testing.assert_allclose(run.gradient_norms()[name], np.linalg.norm(expected[name]), rtol=0.02)
    by_filter = np.linalg.norm(expected["dense/kernel"], axis=0)
    np.testing.assert_allclose(run.filter_gradient_norms("dense").values, [by_filter], rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_stays_so_and_its_neighbours_stay_right(value, kind, tmp_path):
    x, y = data()
    y[3, 0] = value
    model = Scaled(1e-21)
    model.build((None, 4))
    model.compile(keras.optimizers.SGD(0.0), linear_loss(1e-21), **KINDS[kind])
    recorder = InSituRecorder(tmp_path / "r", [Metrics(), GradientNorms(), FilterGradientNorms()])
    model.fit(x, y, batch_size=8, verbose=0, shuffle=False, callbacks=[recorder])
    run = Run.open(tmp_path / "r")
    norm, filters = run.gradient_norms()["dense/bias"][0], run.filter_gradient_norms("dense").values[0]
    assert np.isnan(norm) if np.isnan(value) else norm == np.inf
    assert not np.isfinite(filters[0])
    with np.errstate(invalid="ignore"):
        others = np.linalg.norm(true_gradients(x, y, 1e-21)["dense/kernel"][:, 1:], axis=0)
    np.testing.assert_allclose(filters[1:], others, rtol=1e-5)
