"""A row is what one train_step found: under the name that Keras prints, of this batch alone, or absent."""

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - the independent computation
from keras import layers, ops
from tensorview_insitu.callbacks import GradientNorms, InSituRecorder, Metrics, UpdateNorms

from tensorview_insitu.run.reader import Run

BATCH, STEPS, EPOCHS = 8, 3, 2
SIZES = [BATCH, BATCH, 5] * EPOCHS
EAGER = pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(21, 4)).astype(np.float32)
    return x, (x @ rng.normal(size=(4, 1)) + 0.1).astype(np.float32)


def recorded(model, path, eager, quantities=None, **options):
    """Fit with a recorder, and without; the run, once nothing has changed."""
    x, y = data()
    ends = []
    for callbacks in ([], [InSituRecorder(path, quantities or [Metrics(), GradientNorms()])]):
        keras.utils.set_random_seed(1)
        made = model()
        made.run_eagerly = eager
        settings = {"epochs": EPOCHS, "batch_size": BATCH, "shuffle": False, "verbose": 0} | options
        history = made.fit(x, y, callbacks=callbacks, **settings)
        ends.append((history.history, made.get_weights()))
    assert ends[0][0].keys() == ends[1][0].keys()
    for name in ends[0][0]:
        np.testing.assert_array_equal(ends[0][0][name], ends[1][0][name])
    for plain, ours in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_array_equal(plain, ours)
    return Run.open(path)


def each_batch(model, step):
    """What `step` gives for every batch, called by hand."""
    x, y = data()
    keras.utils.set_random_seed(1)
    made = model()
    return [
        {name: float(value) for name, value in step(made, x[at : at + BATCH], y[at : at + BATCH]).items()}
        for _ in range(EPOCHS)
        for at in range(0, len(x), BATCH)
    ]


def values_of(table):
    return {c: list(table[c]) for c in table.columns if c not in ("step", "epoch", "batch", "wall_time")}


def agree(table, expected, names=None):
    for name in names or expected[0]:
        np.testing.assert_allclose(table[name], [row[name] for row in expected], rtol=2e-5, err_msg=name)


class Own(keras.Model):
    """A dense layer whose train step is written by its user."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, name="dense")

    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        return self.dense(x)

    def descend(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return loss


def made(kind):
    def make():
        model = kind()
        model.build((None, 4))
        model.compile(optimizer=keras.optimizers.SGD(0.05, name="sgd"))
        return model

    return make


def loss_by_hand(model, x, y):
    return {"loss": model.descend(x, y)}


class Returns(Own):
    def train_step(self, data):
        loss = self.descend(*data)
        return {"loss": loss, "twice": {"double": 2.0 * loss}, "one": 1.0, "vector": tf.stack([loss, loss])}


@EAGER
def test_tensors_that_a_step_returns_are_the_batchs_values(eager, tmp_path):
    run = recorded(made(Returns), tmp_path / "run", eager)
    expected = each_batch(made(Returns), loss_by_hand)
    batches = run.scalars("batch")
    agree(batches, expected)
    np.testing.assert_allclose(batches["double"], 2 * batches["loss"], rtol=1e-6)
    assert list(batches["one"]) == [1.0] * len(SIZES)
    assert "vector" not in batches
    assert [m for m in run.identity["missing"] if "vector" in m]
    # Keras has a tracker called "loss", which this step never updates... but more keys: it reports ours.
    assert run.untrusted("scalars/epoch") == {}


class OnlyLoss(Own):
    def train_step(self, data):
        return {"loss": self.descend(*data)}


@EAGER
def test_an_epoch_that_keras_reports_as_zero_is_marked(eager, tmp_path):
    with pytest.warns(RuntimeWarning, match="not to be trusted"):
        run = recorded(made(OnlyLoss), tmp_path / "run", eager)
    agree(run.scalars("batch"), each_batch(made(OnlyLoss), loss_by_hand))
    assert list(run.scalars("epoch")["loss"]) == [0.0, 0.0]
    assert "Keras reported 0" in run.untrusted("scalars/epoch")["loss"]
    assert any("not to be trusted" in m for m in run.identity["missing"])


class Renamed(Own):
    """As the VAE of keras.io: the tracker's name is not the log's."""

    def __init__(self):
        super().__init__()
        self.tracker = keras.metrics.Mean(name="total_loss")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        self.tracker.update_state(self.descend(*data))
        return {"loss": self.tracker.result()}


@EAGER
def test_a_trackers_value_goes_under_the_name_of_the_log(eager, tmp_path):
    run = recorded(made(Renamed), tmp_path / "run", eager)
    assert set(values_of(run.scalars("batch"))) == {"loss", "learning_rate"}
    agree(run.scalars("batch"), each_batch(made(Renamed), loss_by_hand))
    assert run.identity["missing"] == []


class Perplexity(keras.metrics.Mean):
    def result(self):
        return ops.exp(super().result())


class Composite(keras.metrics.Metric):
    """A metric that holds means, and says two things."""

    def __init__(self, name="composite"):
        super().__init__(name=name)
        self.one, self.other = keras.metrics.Mean(), keras.metrics.Mean()

    def update_state(self, value):
        self.one.update_state(value)
        self.other.update_state(2.0 * value)

    def result(self):
        return {"product": self.one.result() * self.other.result(), "sum": self.one.result() + 1.0}


class OwnMetrics(Own):
    def __init__(self):
        super().__init__()
        self.loss_mean = keras.metrics.Mean(name="loss")
        self.perplexity = Perplexity(name="perplexity")
        self.composite = Composite()
        self.count = keras.metrics.Sum(name="count")

    def train_step(self, data):
        x, y = data
        loss = self.descend(x, y)
        self.loss_mean.update_state(loss, sample_weight=tf.shape(x)[0])
        self.perplexity.update_state(loss)
        self.composite.update_state(loss)
        self.count.update_state(tf.ones(tf.shape(x)[0]))
        return {
            "loss": self.loss_mean.result(),
            "perplexity": tf.identity(self.perplexity.result()),
            **self.composite.result(),
            "seen": self.count.result(),
            "derived": tf.sqrt(self.loss_mean.result()) + 1.0,
            "by_hand": self.loss_mean.total / self.loss_mean.count,
        }


@EAGER
def test_results_of_their_own_are_asked_of_the_batch_and_what_runs_on_says_so(eager, tmp_path):
    run = recorded(made(OwnMetrics), tmp_path / "run", eager)
    batches = run.scalars("batch")
    loss = np.array([row["loss"] for row in each_batch(made(OwnMetrics), loss_by_hand)])
    np.testing.assert_allclose(batches["loss"], loss, rtol=2e-5)
    if not eager:  # an eager copy of a tensor is another tensor, and nothing tells of what
        np.testing.assert_allclose(batches["perplexity"], np.exp(loss), rtol=2e-5)
    else:
        assert "running/perplexity" in batches
    np.testing.assert_allclose(batches["product"], 2 * loss**2, rtol=2e-5)
    np.testing.assert_allclose(batches["sum"], loss + 1, rtol=2e-5)
    assert list(batches["running/seen"]) == [8, 16, 21] * EPOCHS
    for name in ("seen", "derived", "by_hand"):
        assert name not in batches and f"running/{name}" in batches
    weights = np.array(SIZES)
    running = [
        np.average(loss[a : b + 1], weights=weights[a : b + 1])
        for a, b in [(0, 0), (0, 1), (0, 2), (3, 3), (3, 4), (3, 5)]
    ]
    np.testing.assert_allclose(batches["running/by_hand"], running, rtol=2e-5)
    np.testing.assert_allclose(batches["running/derived"], np.sqrt(running) + 1, rtol=2e-5)
    assert run.untrusted("scalars/batch") == {} and run.untrusted("scalars/epoch") == {}


def compiled():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
    metrics = [
        keras.metrics.RootMeanSquaredError(name="rmse"),
        keras.metrics.AUC(name="auc"),
        keras.metrics.Precision(name="precision"),
        keras.metrics.R2Score(name="r2"),
        keras.metrics.MeanAbsoluteError(name="mae"),
    ]
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=metrics)
    return model


@EAGER
def test_an_rmse_is_the_root_of_the_batchs_mean_and_an_auc_is_a_running_value(eager, tmp_path):
    x, y = data()
    y = (y > 0).astype(np.float32)
    rows = []
    keras.utils.set_random_seed(1)
    model = compiled()
    for _ in range(EPOCHS):
        for at in range(0, len(x), BATCH):
            error = y[at : at + BATCH] - model(x[at : at + BATCH]).numpy()
            rows.append(
                {"loss": np.mean(error**2), "rmse": np.sqrt(np.mean(error**2)), "mae": np.mean(abs(error))}
            )
            model.train_on_batch(x[at : at + BATCH], y[at : at + BATCH])
    keras.utils.set_random_seed(1)
    model = compiled()
    model.run_eagerly = eager
    model.fit(
        x,
        y,
        epochs=EPOCHS,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[InSituRecorder(tmp_path / "run")],
    )
    run = Run.open(tmp_path / "run")
    batches = run.scalars("batch")
    agree(batches, rows)
    assert {"running/auc", "running/precision", "running/r2"} < set(batches.columns)
    assert not {"auc", "precision", "r2"} & set(batches.columns)
    assert run.untrusted("scalars/batch") == {} and run.identity["missing"] == []


class TwoOptimizers(Own):
    """As GANs: two networks, each with an optimizer of its own; `compile` gets none of them."""

    def __init__(self):
        super().__init__()
        self.critic = layers.Dense(1, name="critic")

    def build(self, shape):
        super().build(shape)
        self.critic.build((None, 1))
        self.own = {
            "critic": keras.optimizers.SGD(0.2, name="sgd"),
            "rest": [
                keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), name="sgd")
            ],
        }

    def losses(self, x, y):
        return tf.reduce_mean(tf.square(self.critic(self(x)) - y)), tf.reduce_mean(tf.square(self(x) - y))

    def both(self, data):
        x, y = data
        found = {}
        for number in range(2):  # the critic twice for every step of the other
            with tf.GradientTape() as tape:
                loss = self.losses(x, y)[0]
            gradients = tape.gradient(loss, self.critic.trainable_variables)
            self.own["critic"].apply_gradients(zip(gradients, self.critic.trainable_variables, strict=True))
            found |= {f"critic_{number}": loss, **_norms("critic", gradients)}
        with tf.GradientTape() as tape:
            loss = self.losses(x, y)[1]
        gradients = tape.gradient(loss, self.dense.trainable_variables)
        rate = tf.convert_to_tensor(self.own["rest"][0].learning_rate)
        self.own["rest"][0].apply(gradients, self.dense.trainable_variables)
        return {"loss": loss, **found, **_norms("dense", gradients), "rate": rate}

    def train_step(self, data):
        return {n: v for n, v in self.both(data).items() if "/" not in n and n != "rate"}


def _norms(layer, gradients):
    return {f"{layer}/{name}": tf.norm(g) for name, g in zip(("kernel", "bias"), gradients, strict=True)}


@EAGER
def test_every_optimizer_that_is_applied_is_recorded_wherever_it_hangs(eager, tmp_path):
    quantities = [Metrics(), GradientNorms(), UpdateNorms("batch")]
    run = recorded(made(TwoOptimizers), tmp_path / "run", eager, quantities)
    expected = each_batch(made(TwoOptimizers), lambda model, x, y: model.both((x, y)))
    batches, norms = run.scalars("batch"), run.gradient_norms()
    agree(batches, expected, ["loss", "critic_0", "critic_1"])
    agree(norms, expected, [n for n in expected[0] if "/" in n])
    np.testing.assert_allclose(batches["learning_rate/sgd"], 0.2, rtol=1e-6)
    np.testing.assert_allclose(batches["learning_rate/sgd#2"], [row["rate"] for row in expected], rtol=1e-6)
    assert "learning_rate" not in batches  # the compiled one is never applied
    (missing,) = run.identity["missing"]
    assert missing.startswith(
        "the gradient norms of critic/bias, critic/kernel are those of the last of several"
    )
    moves = run.update_norms()
    # Plain gradient descent: what moves a variable is its gradient times the rate.
    np.testing.assert_allclose(
        moves["dense/kernel"], norms["dense/kernel"] * batches["learning_rate/sgd#2"], rtol=1e-3
    )
    assert (moves["critic/kernel"] > 0).all()


class Compiled(Own):
    """Its whole step is a function of its own."""

    def __init__(self):
        super().__init__()
        self.tracker = keras.metrics.Mean(name="loss")

    @tf.function
    def train_step(self, data):
        loss = self.descend(*data)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result(), "raw": loss * 1.0}


@EAGER
def test_a_step_inside_a_function_of_its_own_is_recorded_or_said_not_to_be(eager, tmp_path):
    run = recorded(made(Compiled), tmp_path / "run", eager)
    expected = each_batch(made(Compiled), loss_by_hand)
    batches = run.scalars("batch")
    agree(batches, expected)
    np.testing.assert_allclose(batches["learning_rate"], 0.05, rtol=1e-6)
    assert run.gradient_norms()["dense/kernel"].notna().all()
    assert "raw" not in batches and any("raw is not recorded" in m for m in run.identity["missing"])


class AnotherNumber(Compiled):
    """Under its metric's name it returns what its metric does not say."""

    @tf.function
    def train_step(self, data):
        loss = self.descend(*data)
        self.tracker.update_state(loss)
        self.tracker.result()
        return {"loss": 3.0 * loss, "raw": loss * 1.0}


@EAGER
def test_a_number_that_only_bears_a_metrics_name_is_not_taken_for_it(eager, tmp_path):
    run = recorded(made(AnotherNumber), tmp_path / "run", eager)
    assert run.scalars("batch")["loss"].isna().all()
    assert "another number under that name" in run.untrusted("scalars/batch")["loss"]
    assert any("another number under that name" in m for m in run.identity["missing"])


class Infinite(Compiled):
    """Its metric is beyond all numbers."""

    @tf.function
    def train_step(self, data):
        self.tracker.update_state(self.descend(*data) * np.inf)
        return {"loss": self.tracker.result()}


@EAGER
def test_an_infinite_value_out_of_a_function_is_recorded_as_one(eager, tmp_path):
    run = recorded(made(Infinite), tmp_path / "run", eager)
    assert (run.scalars("batch")["loss"] == np.inf).all()
    assert run.untrusted("scalars/batch") == {}


class Now(Own):
    """A metric that only some steps update, one that each step resets, one that nothing resets."""

    def build(self, shape):
        super().build(shape)
        self.steps_done = tf.Variable(0, trainable=False)
        self.seldom = keras.metrics.Mean(name="seldom")
        self.fresh = keras.metrics.Mean(name="fresh")
        self.forever = keras.metrics.Mean(name="forever")
        self.fading = Fading(name="fading")

    @property
    def metrics(self):
        return [self.seldom, self.fresh, self.fading]

    def train_step(self, data):
        loss = self.descend(*data)
        self.steps_done.assign_add(1)
        tf.cond(self.steps_done % 2 == 0, lambda: self._update(loss), lambda: 0.0)
        self.fresh.reset_state()
        self.fresh.update_state(loss)
        self.forever.update_state(loss)
        self.fading.update_state(loss)
        return {
            "seldom": self.seldom.result(),
            "fresh": self.fresh.result(),
            "forever": self.forever.result(),
            "fading": self.fading.result(),
        }

    def _update(self, loss):
        self.seldom.update_state(loss)
        return 0.0


class Fading(keras.metrics.Mean):
    def update_state(self, value):
        super().update_state(value)
        self.total.assign(self.total * 0.5)


@EAGER
def test_a_value_is_there_where_a_step_updated_it_and_what_keras_reports_otherwise_is_said(eager, tmp_path):
    with pytest.warns(RuntimeWarning, match="not to be trusted"):
        run = recorded(made(Now), tmp_path / "run", eager)
    batches = run.scalars("batch")
    loss = np.array([row["loss"] for row in each_batch(made(Now), loss_by_hand)])
    even = np.arange(1, len(loss) + 1) % 2 == 0
    np.testing.assert_allclose(batches["seldom"][even], loss[even], rtol=2e-5)
    assert batches["seldom"][~even].isna().all()
    np.testing.assert_allclose(batches["fresh"], loss, rtol=2e-5)
    np.testing.assert_allclose(batches["forever"], loss, rtol=2e-5)
    assert "fading" not in batches and "running/fading" in batches
    doubts = run.untrusted("scalars/epoch")
    assert set(doubts) == {"fresh", "forever"}
    assert "last batch alone" in doubts["fresh"] and "over all epochs" in doubts["forever"]
    assert run.untrusted("scalars/batch") == {}


class Alternating(Own):
    """Run eagerly, a step may do something else each time."""

    def build(self, shape):
        super().build(shape)
        self.other = keras.optimizers.SGD(0.01, name="other")
        self.turn = 0

    def train_step(self, data):
        self.turn += 1
        mine, self.optimizer_now = self.optimizer, (self.optimizer, self.other)[self.turn % 2]
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer_now.apply(gradients, self.trainable_variables)
        assert mine is self.optimizer
        return {"loss": loss, "even" if self.turn % 2 == 0 else "odd": loss}


def test_steps_that_differ_have_the_columns_of_each(tmp_path):
    run = recorded(made(Alternating), tmp_path / "run", True)
    batches = run.scalars("batch")
    odd = np.arange(1, len(SIZES) + 1) % 2 == 1
    assert list(batches["odd"].notna()) == list(odd) and list(batches["even"].notna()) == list(~odd)
    np.testing.assert_allclose(batches["odd"][odd], batches["loss"][odd], rtol=1e-6)
    np.testing.assert_allclose(batches["learning_rate/other"][odd], 0.01, rtol=1e-6)
    np.testing.assert_allclose(batches["learning_rate/sgd"][~odd], 0.05, rtol=1e-6)
    assert batches["learning_rate/sgd"][odd].isna().all()


WITH_A_GLOBAL = keras.metrics.Mean(name="global")


class Global(Own):
    def train_step(self, data):
        loss = self.descend(*data)
        WITH_A_GLOBAL.update_state(loss)
        return {"loss": loss, "global": WITH_A_GLOBAL.result(), "half": 0.5 * WITH_A_GLOBAL.result()}


def test_a_metric_that_the_model_does_not_know_is_one(tmp_path):
    x, y = data()
    model = made(Global)()
    WITH_A_GLOBAL.reset_state()
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[InSituRecorder(tmp_path / "run")])
    batches = Run.open(tmp_path / "run").scalars("batch")
    np.testing.assert_allclose(batches["global"], batches["loss"], rtol=1e-6)
    assert "half" not in batches and "running/half" in batches


class ByHand(Own):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        for variable, gradient in zip(
            self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True
        ):
            variable.assign_sub(0.05 * gradient)
        return {"loss": loss, "n": tf.shape(x)[0]}


@EAGER
def test_without_an_optimizer_there_is_no_learning_rate_and_no_norm(eager, tmp_path):
    run = recorded(made(ByHand), tmp_path / "run", eager)
    batches = run.scalars("batch")
    agree(batches, each_batch(made(ByHand), loss_by_hand))
    assert not [c for c in batches if "learning_rate" in c]
    if not eager:
        assert list(batches["n"]) == SIZES
    assert run.gradient_norms()[["dense/kernel", "dense/bias"]].isna().all().all()
    assert any("no learning rate" in m for m in run.identity["missing"])


class ScalesItsGradients(Own):
    """What TensorFlow multiplies out, as long as nobody asks for the products between."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients, _ = tf.clip_by_global_norm([g * 0.37 for g in gradients], 1.0)
        self.optimizer.apply([g * 1.3 for g in gradients], self.trainable_variables)
        return {"loss": loss, "norm": 1.3 * tf.norm(gradients[0])}


def test_to_ask_for_a_gradient_does_not_change_how_tensorflow_computes_it(tmp_path):
    run = recorded(made(ScalesItsGradients), tmp_path / "run", False)
    np.testing.assert_allclose(run.gradient_norms()["dense/kernel"], run.scalars("batch")["norm"], rtol=1e-5)


class Reserved(Own):
    def train_step(self, data):
        loss = self.descend(*data)
        return {"loss": loss, "step": loss, "epoch": 2 * loss, "learning_rate": 3 * loss}


@EAGER
def test_names_that_the_tables_have_already_are_said_and_left_out(eager, tmp_path):
    run = recorded(made(Reserved), tmp_path / "run", eager)
    batches = run.scalars("batch")
    assert list(batches["step"]) == [1, 2, 3, 4, 5, 6] and list(run.scalars("epoch")["epoch"]) == [1, 2]
    np.testing.assert_allclose(batches["learning_rate"], 3 * batches["loss"], rtol=1e-6)
    np.testing.assert_allclose(batches["learning_rate/sgd"], 0.05, rtol=1e-6)
    assert sum("column of that name" in m for m in run.identity["missing"]) == 4
