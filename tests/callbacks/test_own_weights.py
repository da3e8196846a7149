"""Variables that belong to the model itself, or to two layers, are recorded under one name."""

import keras
import numpy as np
from fits import digits
from tensorview_insitu.callbacks import Biases, GradientNorms, InSituRecorder, Kernels, Metrics, UpdateNorms

from tensorview_insitu.run.reader import Run

X, Y = digits()
X, Y = X[:64].reshape(64, 64), Y[:64]


class Own(keras.Model):
    """A subclassed model with a kernel and a bias of its own, beside a layer."""

    def __init__(self):
        super().__init__(name="own")
        self.kernel = self.add_weight(name="kernel", shape=(64, 8))
        self.bias = self.add_weight(name="bias", shape=(8,), initializer="zeros")
        self.classes = keras.layers.Dense(10, activation="softmax", name="classes")

    def call(self, x):
        return self.classes(keras.ops.relu(keras.ops.matmul(x, self.kernel) + self.bias))


def test_the_models_own_variables_are_recorded_as_those_of_its_layers(tmp_path):
    keras.utils.set_random_seed(0)
    model = Own()
    model.compile("sgd", "sparse_categorical_crossentropy")
    quantities = [Metrics(), GradientNorms(), UpdateNorms("batch"), Kernels(layers=["own"]), Biases()]
    before = {}

    class Looks(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            before.setdefault("kernel", model.kernel.numpy().copy())

    model.fit(X, Y, epochs=2, verbose=0, callbacks=[InSituRecorder(tmp_path / "run", quantities), Looks()])
    run = Run.open(tmp_path / "run")
    assert set(run.variables()) == {("own", "kernel"), ("own", "bias"), ("classes", "bias")}
    for table in (run.gradient_norms(), run.update_norms()):
        assert {"own/kernel", "own/bias", "classes/kernel", "classes/bias"} <= set(table.columns)
    kernels = run.variable("own", "kernel")
    np.testing.assert_array_equal(kernels.values[0], before["kernel"])
    np.testing.assert_array_equal(kernels.values[-1], model.kernel.numpy())
    np.testing.assert_array_equal(run.variable("own", "bias").values[-1], model.bias.numpy())
    assert run.identity["missing"] == []


class Tied(keras.layers.Layer):
    """Answers with another layer's kernel."""

    def __init__(self, other, **options):
        super().__init__(**options)
        self.kernel = other.kernel

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)


def test_a_kernel_of_two_layers_goes_by_one_name(tmp_path):
    keras.utils.set_random_seed(0)
    first, inputs = keras.layers.Dense(64, name="first"), keras.Input((64,))
    answer = first(inputs)
    second = Tied(first, name="second")
    model = keras.Model(inputs, keras.layers.Dense(10, name="out")(second(answer)))
    model.compile("sgd", "mse")
    quantities = [GradientNorms(), Kernels(layers=["first", "second"])]
    model.fit(X, np.eye(10)[Y], verbose=0, callbacks=[InSituRecorder(tmp_path / "run", quantities)])
    run = Run.open(tmp_path / "run")
    assert ("first", "kernel") in run.variables() and "first/kernel" in run.gradient_norms()


def test_the_model_before_training_is_what_other_callbacks_loaded(tmp_path):
    class Loads(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.get_layer("classes").set_weights([np.full((64, 10), 0.5), np.full(10, 0.25)])

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, name="classes")])
    model.compile("sgd", "mse")
    model.fit(X, np.eye(10)[Y], verbose=0, callbacks=[InSituRecorder(tmp_path / "run"), Loads()])
    run = Run.open(tmp_path / "run")
    assert (run.variable("classes", "kernel").values[0] == 0.5).all()
    assert (run.variable("classes", "bias").values[0] == 0.25).all()


def test_a_layer_that_is_named_comes_with_the_layers_inside_it(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8)), keras.layers.LSTM(3, name="lstm"), keras.layers.Dense(10)])
    model.compile("sgd", "mse")
    recorder = InSituRecorder(tmp_path / "run", [Kernels(layers=["lstm"])])
    model.fit(X.reshape(-1, 8, 8), np.eye(10)[Y], verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    found = dict(run.variables())
    assert len(run.variables()) == 2 and all(path.startswith("lstm/") for path in found)
    recurrent = run.variable(next(iter(found)), "recurrent_kernel").values[-1]
    np.testing.assert_array_equal(recurrent, model.layers[0].cell.recurrent_kernel.numpy())
