"""Every way in which Keras users train: nothing changes, and every row is what a loop by hand gives."""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - the independent computation
from fits import digits
from keras import layers, optimizers
from tensorview_insitu.callbacks import (
    Biases,
    FilterGradientNorms,
    GradientNorms,
    InSituRecorder,
    Kernels,
    Metrics,
    UpdateNorms,
)
from tensorview_insitu.callbacks.tapping import Gate

from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.segment import read_all

BATCH, STEPS = 32, 8
EVERYTHING = [Metrics(), GradientNorms(), Kernels("batch"), Biases(3), FilterGradientNorms(), UpdateNorms(2)]


def images():
    x, y = digits()
    return x[: BATCH * STEPS], y[: BATCH * STEPS]


def small(optimizer=None, dtype=None, jit=False):
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="conv", dtype=dtype)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(10, name="scores", dtype=dtype)(x)
    outputs = layers.Activation("softmax", dtype="float32")(x)
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer or optimizers.SGD(0.05),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=jit,
    )
    return model


def crossentropy(y, p):
    return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, p))


@dataclass
class Way:
    """One way to train.

    Args:
        model: makes the model.
        data: makes x and y.
        loss: of a batch: `(x, y, model) -> loss` by hand.
        options: for `fit`.
    """

    model: Any
    data: Any = images
    loss: Any = lambda x, y, model: crossentropy(y, model(x, training=True))
    options: dict[str, Any] = field(default_factory=dict)


def sequences():
    rng = np.random.default_rng(0)
    return rng.integers(0, 7, (BATCH * STEPS, 12)), rng.integers(0, 3, BATCH * STEPS)


def embedding():
    inputs = keras.Input((12,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(7, 4, name="embedding")(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    return model


def pairs():
    x, y = images()
    return {"left": x, "right": x[::-1]}, {"digit": y, "half": (y >= 5).astype(np.float32)[:, None]}


def two_by_two():
    left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
    shared = layers.Conv2D(4, 3, activation="relu", name="shared")
    x = layers.Flatten()(layers.Concatenate()([shared(left), shared(right)]))
    outputs = {
        "digit": layers.Dense(10, activation="softmax", name="digit")(x),
        "half": layers.Dense(1, activation="sigmoid", name="half")(x),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    model.compile(
        optimizers.SGD(0.05),
        {"digit": "sparse_categorical_crossentropy", "half": "binary_crossentropy"},
        loss_weights={"digit": 1.0, "half": 0.5},
        metrics={"digit": ["accuracy"], "half": ["accuracy"]},
    )
    return model


def both_losses(x, y, model):
    p = model(x, training=True)
    half = tf.reduce_mean(keras.losses.binary_crossentropy(y["half"], p["half"]))
    return crossentropy(y["digit"], p["digit"]) + 0.5 * half


WEIGHTS = {digit: 1.0 + digit / 10 for digit in range(10)}


def weighted(x, y, model):
    each = keras.losses.sparse_categorical_crossentropy(y, model(x, training=True))
    return tf.reduce_mean(each * tf.constant([WEIGHTS[int(digit)] for digit in y], tf.float32))


class OwnStep(keras.Model):
    """A model with a train step and a metric of its own."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.tracker = keras.metrics.Mean(name="loss")

    def call(self, x, training=False):
        return self.inner(x, training=training)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = 2.0 * crossentropy(y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def own_step():
    model = OwnStep(small())
    model.compile(optimizers.SGD(0.05))
    model.build((None, 8, 8, 1))
    return model


WAYS = {
    "clipnorm": Way(lambda: small(optimizers.SGD(0.05, clipnorm=0.1))),
    "global clipnorm": Way(lambda: small(optimizers.SGD(0.05, global_clipnorm=0.1))),
    "clipnorm, jit": Way(lambda: small(optimizers.SGD(0.05, clipnorm=0.1), jit=True)),
    "accumulation": Way(lambda: small(optimizers.SGD(0.05, gradient_accumulation_steps=2))),
    "moving average": Way(
        lambda: small(optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3))
    ),
    "lion": Way(lambda: small(optimizers.Lion(1e-3))),
    "weight decay": Way(lambda: small(optimizers.AdamW(1e-3, weight_decay=0.1))),
    "embedding": Way(embedding, sequences),
    "several inputs and outputs": Way(two_by_two, pairs, both_losses),
    "class weights": Way(small, images, weighted, {"class_weight": WEIGHTS}),
    "own train step": Way(
        own_step, images, lambda x, y, model: 2.0 * crossentropy(y, model(x, training=True))
    ),
}


def fitted(way, callbacks):
    keras.utils.set_random_seed(0)
    model = way.model()
    x, y = way.data()
    settings = {"batch_size": BATCH, "epochs": 1, "shuffle": False, "verbose": 0, **way.options}
    return model, model.fit(x, y, callbacks=callbacks, **settings)


def by_hand(way):
    """Loss, gradients, and each variable's change and norm, of every batch."""
    keras.utils.set_random_seed(0)
    model = way.model()
    x, y = way.data()
    rows = []
    for start in range(0, BATCH * STEPS, BATCH):
        xs, ys = keras.tree.map_structure(lambda a, s=start: a[s : s + BATCH], (x, y))
        with tf.GradientTape() as tape:
            loss = way.loss(xs, ys, model)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_variables)]
        before = [v.numpy().astype(np.float64) for v in model.trainable_variables]
        model.optimizer.apply(gradients, model.trainable_variables)
        after = [v.numpy() for v in model.trainable_variables]
        moves = [np.linalg.norm(b - a) for a, b in zip(before, after, strict=True)]
        rows.append((float(loss), [np.asarray(g, np.float64) for g in gradients], moves, before))
    return model, rows


def same(one, other):
    (model, history), (other_model, other_history) = one, other
    weights = zip(model.get_weights(), other_model.get_weights(), strict=True)
    return history.history == other_history.history and all(np.array_equal(a, b) for a, b in weights)


@pytest.mark.parametrize("name", WAYS)
def test_nothing_changes_and_every_batch_agrees_with_a_loop_by_hand(name, tmp_path):
    way = WAYS[name]
    recorded = fitted(way, [InSituRecorder(tmp_path / "run", EVERYTHING)])
    assert same(fitted(way, []), recorded)

    run = Run.open(tmp_path / "run")
    assert not run.identity["missing"]
    model, rows = by_hand(way)
    batches, norms = run.scalars("batch"), run.gradient_norms()
    tolerance = 1e-3 if "jit" in name else 1e-4
    np.testing.assert_allclose(batches["loss"], [row[0] for row in rows], rtol=tolerance)
    columns = [c for c in norms.columns if "/" in c]
    expected = np.array([[np.linalg.norm(g) for g in row[1]] for row in rows])
    np.testing.assert_allclose(norms[columns], expected, rtol=tolerance, atol=1e-6)

    moves, weights = run.update_norms(), run.weight_norms()
    assert list(moves["step"]) == [2, 4, 6, 8]
    # The difference of near equals: what is left of float32 is a few digits.
    np.testing.assert_allclose(moves[columns], np.array([row[2] for row in rows])[1::2], rtol=1e-2, atol=1e-6)
    norms_before = [[np.linalg.norm(w) for w in row[3]] for row in rows][1::2]
    np.testing.assert_allclose(weights[columns], norms_before, rtol=tolerance, atol=1e-5)

    for number, column in enumerate(columns):
        if column.endswith("kernel"):
            layer = column.rsplit("/", 1)[0]
            per_filter = run.filter_gradient_norms(layer).values
            by_filter = [
                np.linalg.norm(row[1][number].reshape(-1, per_filter.shape[1]), axis=0) for row in rows
            ]
            np.testing.assert_allclose(per_filter, by_filter, rtol=10 * tolerance, atol=1e-6)


def test_the_metrics_of_several_outputs_have_the_names_that_keras_prints(tmp_path):
    _, history = fitted(WAYS["several inputs and outputs"], [InSituRecorder(tmp_path / "run")])
    columns = set(Run.open(tmp_path / "run").scalars("batch").columns)
    assert columns >= set(history.history) > {"digit_accuracy", "half_loss", "loss"}


def test_a_data_pipeline_is_recorded_batch_by_batch(tmp_path):
    x, y = images()
    pipeline = (
        tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).map(lambda a, b: (a * 2, b)).prefetch(2)
    )
    doubled = Way(small, lambda: (x * 2, y))
    models = []
    for callbacks in ([], [InSituRecorder(tmp_path / "run")]):
        keras.utils.set_random_seed(0)
        models.append(small())
        history = models[-1].fit(pipeline, shuffle=False, verbose=0, callbacks=callbacks)
    assert all(np.array_equal(*pair) for pair in zip(*(m.get_weights() for m in models), strict=True))
    losses = Run.open(tmp_path / "run").scalars("batch")["loss"]
    np.testing.assert_allclose(losses, [row[0] for row in by_hand(doubled)[1]], rtol=1e-5)
    assert abs(np.mean(losses) - history.history["loss"][0]) < 1e-5


def test_mixed_float16_norms_are_those_of_float32_but_for_its_own_arithmetic(tmp_path):
    mixed = Way(lambda: small(optimizers.LossScaleOptimizer(optimizers.SGD(0.05)), dtype="mixed_float16"))
    recorded = fitted(mixed, [InSituRecorder(tmp_path / "run", EVERYTHING)])
    assert same(fitted(mixed, []), recorded)
    norms = Run.open(tmp_path / "run").gradient_norms()
    expected = np.array([[np.linalg.norm(g) for g in row[1]] for row in by_hand(Way(small))[1]])
    columns = [c for c in norms.columns if "/" in c]
    errors = np.abs(norms[columns].to_numpy() / expected - 1)
    assert np.median(errors) < 0.02


def test_a_step_skipped_for_an_overflow_has_no_gradient_and_moves_nothing(tmp_path):
    scaled = Way(
        lambda: small(
            optimizers.LossScaleOptimizer(optimizers.SGD(0.05), initial_scale=2.0**30), dtype="mixed_float16"
        )
    )
    fitted(scaled, [InSituRecorder(tmp_path / "run", [Metrics(), GradientNorms(), UpdateNorms("batch")])])
    run = Run.open(tmp_path / "run")
    norms, moves = run.gradient_norms()["conv/kernel"], run.update_norms()["conv/kernel"]
    assert list(norms.isna()) == list(moves == 0)
    assert norms.isna().iloc[0] and len(norms) == STEPS
    assert run.scalars("batch")["loss"].notna().all()


def other_callbacks(folder):
    return [
        keras.callbacks.TensorBoard(str(folder / "logs"), histogram_freq=1, update_freq="batch"),
        keras.callbacks.ModelCheckpoint(str(folder / "best.keras"), monitor="loss"),
        keras.callbacks.ModelCheckpoint(
            str(folder / "best.weights.h5"), monitor="loss", save_weights_only=True
        ),
        keras.callbacks.EarlyStopping("loss", patience=0, min_delta=10.0),
    ]


@pytest.mark.parametrize("place", [0, 2, 4])
def test_together_with_other_callbacks_in_any_order_nothing_changes(place, tmp_path):
    way = Way(small, options={"epochs": 3})
    results = []
    for recorders in ([], [InSituRecorder(tmp_path / "run")]):
        folder = tmp_path / f"with {len(recorders)}"
        folder.mkdir()
        others = other_callbacks(folder)
        results.append(fitted(way, [*others[:place], *recorders, *others[place:]]))
        assert any((folder / "logs").rglob("events*"))
    assert same(*results)
    assert len(results[1][1].history["loss"]) == 2  # stopped early
    assert len(Run.open(tmp_path / "run").scalars("batch")) == 2 * STEPS
    program = "import keras, sys; print(keras.saving.load_model(sys.argv[1]).count_params())"
    # Without this package: what was saved meanwhile knows nothing of it.
    blocked = "import sys; sys.modules['tensorview_insitu'] = None\n" + program
    saved = tmp_path / "with 1" / "best.keras"
    answer = subprocess.run(
        [sys.executable, "-c", blocked, saved], check=True, capture_output=True, text=True
    )
    assert int(answer.stdout) == results[1][0].count_params()


def test_two_recorders_of_one_fit_record_the_same_and_leave_the_model_as_it_was(tmp_path):
    runs = [tmp_path / "one", tmp_path / "other"]
    plain, _ = fitted(Way(small), [])
    model, _ = fitted(Way(small), [InSituRecorder(run, EVERYTHING) for run in runs])
    for mine, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    one, other = (read_all(run / "run.h5") for run in runs)
    assert list(one) == list(other)
    for name in set(one) - {"steps"}:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)
    assert "train_step" not in model.__dict__ and "apply" not in model.optimizer.__dict__
    x, y = images()
    model.fit(x, y, verbose=0)  # nothing has changed: Keras' own function takes over
    assert not isinstance(model.train_function, Gate)


def test_layers_frozen_now_and_unfrozen_later_have_norms_from_then_on(tmp_path):
    recorder = InSituRecorder(tmp_path / "run")
    x, y = images()
    model = small()
    model.get_layer("conv").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[recorder])
    model.get_layer("conv").trainable = True
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[recorder])
    norms = Run.open(tmp_path / "run").gradient_norms()
    assert list(norms["conv/kernel"].isna()) == [True] * STEPS + [False] * STEPS
    assert norms["scores/kernel"].notna().all()


def test_a_recorder_attached_after_an_earlier_fit_changes_nothing(tmp_path):
    x, y = images()
    results = []
    for callbacks in ([], [InSituRecorder(tmp_path / "run")]):
        keras.utils.set_random_seed(0)
        model = small()
        model.fit(x, y, batch_size=BATCH, verbose=0)
        results.append((model, model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=callbacks)))
    assert same(*results)
    assert list(Run.open(tmp_path / "run").steps()["step"]) == list(range(1, STEPS + 1))


REPLICAS = """
    import sys
    sys.path[:0] = [{tests!r}, {here!r}]
    import tensorflow as tf
    cpus = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    import numpy as np
    from test_ways_of_training import EVERYTHING, Way, fitted, same, small
    from tensorview_insitu.callbacks import InSituRecorder
    def replicated():
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            return small(keras.optimizers.SGD(0.05, **{options!r}))
    way = Way(replicated, options={{"epochs": 2}})
    recorded = fitted(way, [InSituRecorder({run!r}, EVERYTHING)])
    assert same(fitted(way, []), recorded), "the recorder changed the training"
"""


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.1}])
def test_two_replicas_are_recorded_as_one_training_would_be(options, tmp_path):
    """In a process of its own: logical devices are chosen before TensorFlow starts."""
    here = os.path.dirname(__file__)
    run_folder = str(tmp_path / "run")
    program = REPLICAS.format(tests=here + "/..", here=here, options=options, run=run_folder)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]

    # Clipping on each replica makes another training of it: only its first steps are alike.
    alike = STEPS if not options else 1
    way = Way(lambda: small(optimizers.SGD(0.05)))
    fitted(way, [InSituRecorder(tmp_path / "alone", EVERYTHING)])
    alone = Run.open(tmp_path / "alone")
    for table in ("scalars", "gradient_norms", "update_norms"):
        arguments = ("batch",) if table == "scalars" else ()
        two, one = getattr(run, table)(*arguments), getattr(alone, table)(*arguments)
        columns = [c for c in one.columns if c not in ("step", "epoch", "batch", "wall_time")]
        if options and table == "update_norms":
            continue
        np.testing.assert_allclose(
            two[columns][: min(alike, len(one))], one[columns][:alike], rtol=1e-3, atol=1e-5
        )
    assert list(run.steps()["step"]) == list(range(1, 2 * STEPS + 1))
    kernels = run.variable("conv", "kernel")
    assert list(kernels.steps) == list(range(2 * STEPS + 1))
    assert np.array_equal(kernels.values[0], alone.variable("conv", "kernel").values[0])
