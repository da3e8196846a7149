"""How far a step moves the weights is what they differ by from its begin to its end, whoever moves them."""

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - the independent computation
from keras import layers
from tensorview_insitu.callbacks import (
    Biases,
    FilterGradientNorms,
    GradientNorms,
    InSituRecorder,
    Kernels,
    Metrics,
    UpdateNorms,
)
from tensorview_insitu.callbacks.layers import Names

from tensorview_insitu.run.reader import Run

EVERYTHING = [
    Metrics(),
    GradientNorms(),
    UpdateNorms("batch"),
    FilterGradientNorms(),
    Kernels("batch"),
    Biases("batch"),
]
RATE = 0.1


def data():
    x = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    return x, x[:, :1] * 2 + 1


class Dense(keras.Model):
    """Two dense layers; of gradient descent written by hand."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(3, name="first")
        self.last = layers.Dense(1, name="last")
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]

    def call(self, x):
        return self.last(self.first(x))

    def descend(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        variables = [*self.first.trainable_variables, *self.last.trainable_variables]
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def told(self, loss):
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}

    def train_step(self, data):
        return self.told(self.descend(*data))


class CalledThrice(Dense):
    """A function is traced once, and called three times in a step."""

    @tf.function
    def one(self, x, y):
        return self.descend(x, y)

    def train_step(self, data):
        for _ in range(3):
            loss = self.one(*data)
        return self.told(loss)


class LoopsThrice(CalledThrice):
    """The same in a loop of TensorFlow's."""

    @tf.function
    def many(self, x, y):
        return tf.while_loop(lambda n, _: n < 3, lambda n, _: (n + 1, self.one(x, y)), (0, tf.constant(0.0)))[
            1
        ]

    def train_step(self, data):
        return self.told(self.many(*data))


class Decays(Dense):
    """Weights decay before the optimizer comes."""

    def train_step(self, data):
        self(data[0])
        self.last.kernel.assign(self.last.kernel * 0.9)
        return self.told(self.descend(*data))


class Clips(Dense):
    """Weights are clipped after it, as those of a critic are."""

    def train_step(self, data):
        loss = self.descend(*data)
        for variable in self.trainable_variables:
            variable.assign(tf.clip_by_value(variable, -0.3, 0.3))
        return self.told(loss)


class Teaches(Dense):
    """A teacher is the average of what a student was."""

    def __init__(self):
        super().__init__()
        self.teacher = layers.Dense(1, name="teacher")

    def call(self, x):
        return self.last(self.first(x)) + 0 * tf.stop_gradient(self.teacher(self.first(x)))

    def train_step(self, data):
        loss = self.descend(*data)
        for mean, variable in zip(self.teacher.variables, self.last.variables, strict=True):
            mean.assign(0.9 * mean + 0.1 * variable)
        return self.told(loss)


class ByHand(Dense):
    """No optimizer at all."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        for v, g in zip(self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True):
            v.assign_sub(RATE * g)
        return self.told(loss)


class KeepsWeights(keras.callbacks.Callback):
    """The weights before the first batch and after every one, as the host sees them."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def keep(self):
        names = Names(self.model)
        self.weights.append({names(v): v.numpy().astype(float) for v in self.model.trainable_variables})

    def on_train_batch_end(self, batch, logs=None):
        self.keep()


def fit(model, callbacks, eager, *, built=True, **options):
    keras.utils.set_random_seed(0)
    made = model()
    x, y = data()
    if built:
        made(x[:1])
    made.compile(keras.optimizers.SGD(RATE), run_eagerly=eager, **options)
    if isinstance(made, CalledThrice) and built:
        made.optimizer.build(made.trainable_variables)  # a function may make variables in its first call only
    before = [v.numpy() for v in made.trainable_variables]
    made.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
    return made, before


@pytest.mark.parametrize("built", [True, False], ids=["built", "built by its first step"])
@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("model", [Dense, CalledThrice, LoopsThrice, Decays, Clips, Teaches, ByHand])
def test_moves_are_those_of_the_whole_step_and_no_snapshot_is_doubted(model, eager, built, tmp_path):
    if not built and model in (CalledThrice, LoopsThrice):
        pytest.skip("Keras cannot make its optimizer's variables in a loop")
    kept = KeepsWeights()
    made, before = fit(model, [kept, InSituRecorder(tmp_path / "run", EVERYTHING)], eager, built=built)
    plain, _ = fit(model, [], eager, built=built)
    for ours, theirs in zip(made.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    run = Run.open(tmp_path / "run")
    assert "untrusted" not in run.identity
    said = [m for m in run.identity["missing"] if "last/kernel" in m and "step 0" in m]
    assert len(said) == (model is Decays and eager and not built)
    moves, norms = run.update_norms(), run.weight_norms()
    weights = kept.weights
    if built:
        names = list(weights[0])
        weights = [dict(zip(names, before, strict=True)), *weights]
    # Of a model that its first step builds, the host has not seen the weights before.
    first = len(moves) + 1 - len(weights)
    assert first == int(not built)
    # Weights that a step makes and sets before it applies anything are not known before that; but the graph
    # of a step that makes variables is not the one that runs.
    late = {Decays: {"last/kernel"}, ByHand: set(weights[0])}
    unknown = late.get(model, set()) if eager and not built else set()
    for name in weights[0]:
        assert np.isnan(moves[name][0]) == (name in unknown)
        values, sizes = moves[name].to_numpy()[first:], norms[name].to_numpy()[first:]
        expected = [np.linalg.norm(b[name] - a[name]) for a, b in zip(weights, weights[1:], strict=False)]
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-7, err_msg=name)
        expected = [np.linalg.norm(one[name]) for one in weights[:-1]]
        np.testing.assert_allclose(sizes, expected, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("model", [CalledThrice, LoopsThrice])
@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_of_several_gradients_in_a_function_the_last_is_recorded_and_said(model, eager, tmp_path):
    fit(model, [InSituRecorder(tmp_path / "run", EVERYTHING)], eager)
    run = Run.open(tmp_path / "run")
    (missing,) = [m for m in run.identity["missing"] if "gradient norms" in m]
    assert missing.endswith("are those of the last of several gradients in a step")
    assert "last/bias" in missing
    x, y = data()
    keras.utils.set_random_seed(0)
    by_hand = Dense()
    by_hand(x[:1])
    expected = []
    for _ in range(2):
        for at in range(0, 24, 8):
            for _ in range(3):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(tf.square(by_hand(x[at : at + 8]) - y[at : at + 8]))
                gradients = tape.gradient(loss, by_hand.trainable_variables)
                for v, g in zip(by_hand.trainable_variables, gradients, strict=True):
                    v.assign_sub(RATE * g)
            expected.append([float(tf.norm(g)) for g in gradients])
    names = ["first/kernel", "first/bias", "last/kernel", "last/bias"]
    np.testing.assert_allclose(run.gradient_norms()[names], expected, rtol=1e-3)


class Mixed(Dense):
    """What a function applies comes before, or after, what the step applies itself."""

    first_inside = True

    @tf.function
    def inside(self):
        self.optimizer.apply([v * 0 + 2.0 for v in self.trainable_variables], self.trainable_variables)

    def train_step(self, data):
        for inside in (self.first_inside, not self.first_inside):
            if inside:
                self.inside()
            else:
                self.optimizer.apply(
                    [v * 0 + 3.0 for v in self.trainable_variables], self.trainable_variables
                )
        return self.told(0.0)


class MixedAfter(Mixed):
    """The other way round."""

    first_inside = False


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("model, last", [(Mixed, 3.0), (MixedAfter, 2.0)])
def test_the_last_gradient_is_the_last_wherever_it_is_applied(model, last, eager, tmp_path):
    class Built(model):
        def build(self, shape):
            self.first.build((None, 3))
            self.last.build((None, 3))
            self.built = True

    keras.utils.set_random_seed(0)
    x, y = data()
    # The last batch is of another size: its step is traced anew, and the function is not.
    made = Built()
    made.build((None, 3))
    made.compile(keras.optimizers.SGD(1e-3), run_eagerly=eager)
    made.optimizer.build(made.trainable_variables)
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), GradientNorms(), UpdateNorms("batch")])
    made.fit(x[:20], y[:20], batch_size=8, epochs=2, verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    np.testing.assert_allclose(run.gradient_norms()["first/kernel"], last * 3, rtol=1e-5)
    np.testing.assert_allclose(run.update_norms()["first/kernel"], 5e-3 * 3, rtol=1e-3)


class Accumulates(Dense):
    """Two batches' gradients are applied at once, at every second step."""

    def build(self, shape):
        self.first.build((None, 3))
        self.last.build((None, 3))
        self.count = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros")
        self.sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in self.trainable_variables]
        self.built = True

    def train_step(self, data):
        x, y = data
        self.count.assign_add(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        for total, gradient in zip(self.sums, tape.gradient(loss, self.trainable_variables), strict=True):
            total.assign_add(gradient)
        tf.cond(tf.equal(self.count.value % 2, 0), self.apply_sums, lambda: None)
        return self.told(loss)

    def apply_sums(self):
        self.optimizer.apply_gradients(zip(self.sums, self.trainable_variables, strict=True))
        for total in self.sums:
            total.assign(tf.zeros_like(total))


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_an_optimizer_that_is_applied_at_some_steps_is_recorded_at_those(eager, tmp_path):
    keras.utils.set_random_seed(0)
    x, y = data()
    made = Accumulates()
    made.build((None, 3))
    made.compile(keras.optimizers.SGD(RATE), run_eagerly=eager)
    made.optimizer.build(made.trainable_variables)
    recorder = InSituRecorder(tmp_path / "run", EVERYTHING)
    made.fit(x, y, batch_size=4, epochs=1, verbose=0, shuffle=False, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    rates, moves = run.scalars("batch")["learning_rate"], run.update_norms()["last/kernel"]
    np.testing.assert_allclose(rates, [np.nan, RATE] * 3, rtol=1e-6)
    assert list(moves > 0) == [False, True] * 3 and moves.notna().all()
    assert not any("applies no Keras optimizer" in m for m in run.identity["missing"] if "where" not in m)
    assert not any("several" in m for m in run.identity["missing"])


class HandsOn(keras.optimizers.Optimizer):
    """An optimizer around another one, which it hands twice its gradients."""

    def __init__(self, inner):
        super().__init__(learning_rate=0.5, name="around")
        self.inner = inner

    def build(self, variables):
        super().build(variables)
        self.inner.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        pass

    def apply(self, grads, trainable_variables=None):
        self.inner.apply([2 * g for g in grads], trainable_variables)
        self.iterations.assign_add(1)


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_a_gradient_that_an_optimizer_hands_on_is_no_second_one(eager, tmp_path):
    x, y = data()
    norms = []
    for optimizer in (HandsOn(keras.optimizers.SGD(RATE, name="inner")), keras.optimizers.SGD(2 * RATE)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(1, name="last")])
        model.compile(optimizer, "mse", run_eagerly=eager)
        path = tmp_path / optimizer.name
        model.fit(x, y, batch_size=8, verbose=0, shuffle=False, callbacks=[InSituRecorder(path, EVERYTHING)])
        run = Run.open(path)
        assert run.identity["missing"] == []
        columns = ["last/kernel", "last/bias"]
        norms.append(np.hstack([run.gradient_norms()[columns], run.update_norms()[columns]]))
    # Twice the rate on the gradients that train_step gave moves the weights alike.
    np.testing.assert_allclose(*norms, rtol=1e-4)
    batches = Run.open(tmp_path / "around").scalars("batch")
    np.testing.assert_allclose(batches["learning_rate/inner"], RATE, rtol=1e-6)
    np.testing.assert_allclose(batches["learning_rate/around"], 0.5, rtol=1e-6)
