"""A model that is asked about a probe meanwhile is trained as if it had not been."""

import itertools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - as users write it
from exhaustive import one_in
from fits import digits
from tensorview_insitu.callbacks import Activations, Explanations, InSituRecorder, Metrics

from tensorview_insitu.explain.keras_network import KerasNetwork


class Draws(keras.layers.Layer):
    """Adds noise at every call, as the sampling of a VAE does."""

    def __init__(self, kind, **options):
        super().__init__(**options)
        self.kind = kind
        self.seeds = keras.random.SeedGenerator(3)
        self.generator = tf.random.Generator.from_seed(3)

    def call(self, x):
        shape = keras.ops.shape(x)
        if self.kind == "seed generator":
            noise = keras.random.normal(shape, seed=self.seeds)
        elif self.kind == "keras":
            noise = keras.random.normal(shape)
        elif self.kind == "tensorflow's generator":
            noise = self.generator.normal(shape)
        elif self.kind == "inside a function":
            noise = tf.function(lambda: keras.random.normal(shape, seed=self.seeds))()
        else:
            noise = float(np.random.normal()) + random.random()
        return x + 0.1 * noise


class Counts(keras.layers.Layer):
    """Counts how often it is called, and answers by it."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x * (1.0 + 0.01 * self.calls)


class AlwaysDrops(keras.layers.Dropout):
    """Monte Carlo dropout: it drops when it predicts, too."""

    def call(self, x, training=False):
        return super().call(x, training=True)


LAYERS = {
    "seed generator": lambda: Draws("seed generator"),
    "keras": lambda: Draws("keras"),
    "tensorflow's generator": lambda: Draws("tensorflow's generator"),
    "inside a function": lambda: Draws("inside a function"),
    "numpy": lambda: Draws("numpy"),
    "counter": Counts,
    "dropout": lambda: AlwaysDrops(0.3),
    "none": lambda: keras.layers.Activation("linear"),
}
QUANTITIES = {
    "activations": lambda x: Activations(x[:4]),
    "grad_cam": lambda x: Explanations("grad_cam", x[:3], target=1),
    "occlusion": lambda x: Explanations("occlusion", x[:2], target=1),
}


def convolutional(layer):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    x = keras.layers.Flatten()(layer(x))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def outcome(model, recorder, **options):
    x, y = digits()
    history = model.fit(x[:96], y[:96], epochs=3, verbose=0, callbacks=recorder, **options).history
    values = [np.asarray(v.value) for v in [*model.variables, *model.optimizer.variables]]
    return history, values, random.random(), np.random.rand(), np.asarray(keras.random.normal((3,)))


def equal(one, other):
    for some, others in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
        np.testing.assert_array_equal(some, others)


@pytest.mark.parametrize(("kind", "asked"), one_in(2, itertools.product(LAYERS, QUANTITIES)))
def test_what_a_layer_writes_when_it_is_asked_is_put_back(kind, asked, tmp_path):
    x, _ = digits()
    plain = outcome(convolutional(LAYERS[kind]()), [])
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), QUANTITIES[asked](x)], strict=True)
    equal(plain, outcome(convolutional(LAYERS[kind]()), [recorder]))


def test_a_recurrent_layer_keeps_what_it_kept(tmp_path):
    x, y = np.random.default_rng(0).random((2, 64, 5, 3), np.float32)
    outcomes = []
    for recorded in (False, True):
        keras.utils.set_random_seed(0)
        inputs = keras.Input(batch_shape=(8, 5, 3))
        model = keras.Model(inputs, keras.layers.LSTM(3, stateful=True, return_sequences=True)(inputs))
        model.compile("adam", "mse")
        recorder = [InSituRecorder(tmp_path / "run", [Metrics(), Activations(x[:8])], strict=True)] * recorded
        history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=recorder)
        outcomes.append((history.history, [np.asarray(v.value) for v in model.variables]))
    equal(*outcomes)


def test_a_network_that_is_asked_many_images_at_once_is_as_it_was():
    x, _ = digits()
    model = convolutional(Counts())
    before = [np.asarray(v.value) for v in model.variables]
    KerasNetwork(model, batch_size=2).predict(x[:9])
    equal(before, [np.asarray(v.value) for v in model.variables])
