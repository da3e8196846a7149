"""What is recorded is true: held against a training loop written by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - the independent computation
from fits import BATCH, SAMPLES, digits, fit, network
from tensorview_insitu.callbacks import InSituRecorder, Kernels

from tensorview_insitu.run.reader import Run


def by_hand(model, epochs=2):
    """Loss, accuracy, learning rate, gradient norms and first kernel of every batch."""
    x, y = digits()
    rows = []
    for _ in range(epochs):
        for start in range(0, SAMPLES, BATCH):
            xs, ys = x[start : min(start + BATCH, SAMPLES)], y[start : min(start + BATCH, SAMPLES)]
            rate = float(model.optimizer.learning_rate)
            with tf.GradientTape() as tape:
                p = model(xs, training=True)
                losses = keras.losses.sparse_categorical_crossentropy(ys, p)
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply(gradients, model.trainable_variables)
            accuracy = np.mean(np.argmax(p, axis=1) == ys)
            norms = [float(np.linalg.norm(np.asarray(g, np.float64))) for g in gradients]
            kernel = next(v for v in model.trainable_variables if v.path.endswith("conv1/kernel"))
            rows.append((float(loss), accuracy, rate, norms, kernel.numpy()))
    return rows


def schedule():
    return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9))


WAYS = {
    "default": ("functional", lambda: keras.optimizers.SGD(0.05), {}),
    "no input": ("sequential without input", lambda: keras.optimizers.SGD(0.05), {}),
    "subclassed": ("subclassed", lambda: keras.optimizers.SGD(0.05), {}),
    "jit": ("functional", lambda: keras.optimizers.SGD(0.05), {"jit_compile": True}),
    "four at once": ("functional", lambda: keras.optimizers.SGD(0.05), {"steps_per_execution": 4}),
    "eager": ("sequential without input", lambda: keras.optimizers.SGD(0.05), {"run_eagerly": True}),
    "schedule": ("functional", schedule, {}),
    "loss scale": ("functional", lambda: keras.optimizers.SGD(0.05, loss_scale_factor=64.0), {}),
    "scaling optimizer": (
        "functional",
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05)),
        {},
    ),
    "clipping": ("functional", lambda: keras.optimizers.SGD(0.05, global_clipnorm=1e3), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_batch_agrees_with_a_loop_by_hand(way, tmp_path):
    kind, optimizer, options = WAYS[way]
    # A loop by hand draws other numbers for dropout.
    options = {"dropout": 0.0, **options}
    model = network(kind, optimizer(), **options)
    recorder = InSituRecorder(tmp_path / "run", [*defaults(), Kernels("batch", ["conv1"])])
    fit(model, [recorder], shuffle=False)

    plain = schedule() if way == "schedule" else keras.optimizers.SGD(0.05)
    reference = network(kind, plain, dropout=0.0)
    reference(np.zeros((1, 8, 8, 1), np.float32))
    reference.set_weights(first_weights(kind, optimizer, options))
    expected = by_hand(reference)

    run = Run.open(tmp_path / "run")
    batches, norms = run.scalars("batch"), run.gradient_norms()
    assert list(batches["step"]) == list(range(1, len(expected) + 1))
    assert list(batches["epoch"]) == [1] * 13 + [2] * 13
    assert list(batches["batch"]) == [*range(1, 14), *range(1, 14)]
    np.testing.assert_allclose(batches["loss"], [row[0] for row in expected], rtol=1e-5)
    np.testing.assert_allclose(batches["accuracy"], [row[1] for row in expected], rtol=1e-6)
    np.testing.assert_allclose(batches["learning_rate"], [row[2] for row in expected], rtol=1e-6)
    columns = [c for c in norms.columns if "/" in c]
    assert columns[0] == "conv1/kernel" and columns[-1] == "classes/bias"
    # A convolution's bias before a BatchNormalization has no gradient but rounding noise.
    noise = [c == "conv1/bias" for c in columns]
    np.testing.assert_allclose(
        norms[columns].to_numpy()[:, ~np.array(noise)],
        np.array([row[3] for row in expected])[:, ~np.array(noise)],
        rtol=1e-4 if way == "jit" else 1e-5,
    )
    kernels = run.variable("conv1", "kernel")
    assert list(kernels.steps) == list(range(len(expected) + 1))
    np.testing.assert_allclose(kernels.values[1:], [row[4] for row in expected], atol=1e-5)


def defaults():
    from tensorview_insitu.callbacks import GradientNorms, Metrics

    return [Metrics(), GradientNorms()]


def first_weights(kind, optimizer, options):
    """The weights that `network` begins with, also where the first batch builds it."""
    model = network(kind, optimizer(), **options)
    model(np.zeros((1, 8, 8, 1), np.float32))
    return model.get_weights()


def test_epoch_scalars_are_keras_history_to_the_last_bit(trained, run):
    _, history, _ = trained
    table = run.scalars("epoch")
    assert list(table["epoch"]) == [1, 2, 3, 4]
    for name, values in history.history.items():
        assert list(table[name]) == values


def test_the_last_snapshot_is_the_model_and_the_first_is_before_training(trained, run):
    model, _, _ = trained
    for layer, variable in run.variables():
        snapshots = run.variable(layer, variable)
        assert list(snapshots.steps) == [0, 13, 26, 39, 52]
        assert list(snapshots.epochs) == [0, 1, 2, 3, 4]
        final = getattr(model.get_layer(layer), variable).numpy()
        assert np.array_equal(snapshots.values[-1], final)
    fresh = network()
    assert np.array_equal(run.variable("conv1", "kernel").values[0], fresh.get_layer("conv1").kernel.numpy())


def test_a_model_built_by_its_first_step_has_its_first_snapshot_too(tmp_path):
    model = network("sequential without input")
    fit(model, [InSituRecorder(tmp_path / "run")], epochs=1)
    kernel = Run.open(tmp_path / "run").variable("conv1", "kernel")
    assert list(kernel.steps) == [0, 13]
    expected = network("sequential without input")
    expected(np.zeros((1, 8, 8, 1), np.float32))
    assert np.array_equal(kernel.values[0], expected.get_layer("conv1").kernel.numpy())
    assert np.array_equal(kernel.values[1], model.get_layer("conv1").kernel.numpy())


def test_a_variable_that_gets_no_gradient_is_nan(tmp_path, small_batch):
    inputs = keras.Input((8, 8, 1))
    used = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="used")(inputs))
    unused = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="unused")(inputs))
    outputs = [keras.layers.Dense(10, activation="softmax", name="a")(used), unused]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["sparse_categorical_crossentropy", None])
    x, y = small_batch
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        model.fit(x, y, verbose=0, callbacks=[InSituRecorder(tmp_path / "run")])
    norms = Run.open(tmp_path / "run").gradient_norms()
    assert norms["unused/kernel"].isna().all()
    assert (norms["used/kernel"] > 0).all()


def test_metrics_of_several_outputs_are_named_as_keras_prints_them(tmp_path, small_batch):
    x, y = small_batch
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)
    outputs = {n: keras.layers.Dense(10, activation="softmax", name=n)(flat) for n in ("a", "b")}
    model = keras.Model(inputs, outputs)
    model.compile(
        "sgd",
        {n: "sparse_categorical_crossentropy" for n in "ab"},
        metrics={n: ["accuracy"] for n in "ab"},
    )
    history = model.fit(
        x, {"a": y, "b": y}, verbose=0, batch_size=64, callbacks=[InSituRecorder(tmp_path / "run")]
    )
    batch = Run.open(tmp_path / "run").scalars("batch").iloc[0]
    # One batch: its values are the epoch's.
    for name, (value,) in history.history.items():
        assert batch[name] == pytest.approx(value, rel=1e-5)
