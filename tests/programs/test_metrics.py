"""Metrics: counts, areas, results of their own, several of one name, updated now and then, or never."""

import keras
import numpy as np
import tensorflow as tf
from data import BATCH, BINARY, IMAGES, LABELS, ONE_HOT, TABLE, TARGET
from harness import program
from keras import layers, ops


def _dense(units=1, activation=None):
    return keras.Sequential([keras.Input((5,)), layers.Dense(units, activation=activation, name="dense")])


@program(running=["auc", "f1_score", "tp", "sensitivity"])
def test_metrics_that_no_batch_has_by_itself(callbacks):
    model = _dense(3, "softmax")
    model.compile(
        "adam",
        "categorical_crossentropy",
        metrics=[
            "accuracy",
            keras.metrics.AUC(num_thresholds=10, multi_label=True, name="auc"),
            keras.metrics.F1Score(average="macro", name="f1_score"),
            keras.metrics.TruePositives(name="tp"),
            keras.metrics.SensitivityAtSpecificity(0.5, num_thresholds=10, name="sensitivity"),
            keras.metrics.TopKCategoricalAccuracy(2, name="top2"),
            keras.metrics.KLDivergence(),
        ],
    )
    model.fit(TABLE, ONE_HOT, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class Counting(keras.Model):
    """A sum over the epoch, beside the loss: how many samples, how many mistakes."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.mistakes = keras.metrics.Sum(name="mistakes")

    def train_step(self, data):
        logs = super().train_step(data)
        x, y = data
        self.mistakes.update_state(ops.cast(ops.round(ops.sigmoid(self(x))) != y, "float32"))
        return {**logs, "mistakes": self.mistakes.result()}


@program(running=["mistakes"])
def test_sum_over_the_epoch(callbacks):
    inputs = keras.Input((5,))
    model = Counting(inputs, layers.Dense(1, name="dense")(inputs))
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(TABLE, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class NowAndThen(keras.Model):
    """A metric that costs much is updated at every third step only; another is updated under a condition."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.costly = keras.metrics.Mean(name="costly")
        self.counter = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False)

    def train_step(self, data):
        x, y = data
        logs = super().train_step(data)
        self.counter.assign_add(1)

        def update():
            self.costly.update_state(ops.abs(y - self(x)))
            return tf.constant(0)

        tf.cond(self.counter.value % 3 == 0, update, lambda: tf.constant(0))
        return {**logs, "costly": self.costly.result()}


@program(idle={"costly": lambda step: step % 3 != 0})
def test_metric_that_is_updated_every_third_step(callbacks):
    inputs = keras.Input((5,))
    model = NowAndThen(inputs, layers.Dense(1, name="dense")(inputs))
    model.compile("sgd", "mse")
    model.fit(TABLE, TARGET, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program(idle=["never"], missing=[r"\bnever\b"])
def test_metric_that_only_validation_updates(callbacks):
    class Validated(keras.Model):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.never = keras.metrics.Mean(name="never")

        def test_step(self, data):
            self.never.update_state(1.0)
            return super().test_step(data)

    inputs = keras.Input((5,))
    model = Validated(inputs, layers.Dense(1, name="dense")(inputs))
    model.compile("sgd", "mse")
    model.fit(
        TABLE,
        TARGET,
        batch_size=BATCH,
        epochs=2,
        validation_data=(TABLE, TARGET),
        verbose=0,
        callbacks=callbacks,
    )


# A mean of nothing is none, and no zero.
@program(idle=dict.fromkeys(("mse", "w_mae"), lambda step: step in (2, 6)))
def test_weighted_metrics_with_weights_of_zero(callbacks):
    model = _dense()
    model.compile(
        "sgd", "mse", metrics=["mae"], weighted_metrics=["mse", keras.metrics.MeanAbsoluteError("w_mae")]
    )
    weights = np.ones(len(TABLE), np.float32)
    weights[4:8] = 0.0  # the second batch weighs nothing
    model.fit(
        TABLE,
        TARGET,
        sample_weight=weights,
        shuffle=False,
        batch_size=BATCH,
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    )


@program()
def test_loss_that_is_exactly_zero(callbacks):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse", metrics=["mae"])
    zeros = np.zeros((len(TABLE), 1), np.float32)
    model.fit(TABLE, zeros, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_compile_without_metrics_and_with_empty_lists(callbacks):
    model = _dense()
    model.compile("adam", "mae", metrics=[], weighted_metrics=[])
    model.fit(TABLE, TARGET, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_metric_called_learning_rate(callbacks):
    # An old trick to see it in the progress bar; here it is a thousandth too much, so that it can be told.
    model = _dense()
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5))

    def learning_rate(y_true, y_pred):
        return optimizer.learning_rate * 1.001

    model.compile(optimizer, "mse", metrics=[learning_rate])
    model.fit(TABLE, TARGET, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_several_metrics_of_one_name(callbacks):
    inputs = keras.Input((4, 4, 1))
    x = layers.Flatten()(inputs)
    outputs = [layers.Dense(1, activation="sigmoid", name=n)(x) for n in ("left", "right")]
    model = keras.Model(inputs, outputs)
    model.compile(
        "adam",
        ["mse", "binary_crossentropy"],
        metrics=[["mae", "mse"], ["mae", "accuracy"]],
        loss_weights=[1, 2],
    )
    model.fit(IMAGES, [BINARY, 1 - BINARY], batch_size=7, epochs=2, verbose=0, callbacks=callbacks)


class Largest(keras.metrics.Metric):
    """The largest error of the epoch: no mean, no sum, two numbers in one result."""

    def __init__(self, name="largest"):
        super().__init__(name=name)
        self.most = self.add_variable((), initializer="zeros", name="most")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.most.assign(ops.maximum(self.most, ops.max(ops.abs(y_true - y_pred))))

    def result(self):
        return {"largest": self.most + 0.0, "largest_squared": self.most**2}


@program(running=["largest", "largest_squared"])
def test_metric_of_the_users_with_two_results(callbacks):
    model = _dense()
    model.compile("sgd", "mse", metrics=[Largest()])
    # One batch an epoch: the witness can only add, and a maximum does not.
    model.fit(TABLE, TARGET, batch_size=14, epochs=3, verbose=0, callbacks=callbacks)


class Own(keras.Model):
    """compute_metrics and get_metrics_result of its own, as the guides show."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.error = keras.metrics.MeanAbsoluteError(name="error")

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        self.error.update_state(y, y_pred)
        return {**results, "error": self.error.result(), "spread": ops.std(y_pred)}


@program()
def test_compute_metrics_of_the_users(callbacks):
    inputs = keras.Input((5,))
    model = Own(inputs, layers.Dense(1, name="dense")(inputs))
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(TABLE, TARGET, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_compute_loss_of_the_users_with_a_tracker_beside_it(callbacks):
    class Sharpened(keras.Model):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.plain_loss = keras.metrics.Mean(name="plain_loss")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = ops.mean((y - y_pred) ** 2)
            self.plain_loss.update_state(loss)
            return loss + 0.1 * ops.mean(ops.abs(y_pred))

    inputs = keras.Input((5,))
    model = Sharpened(inputs, layers.Dense(3, name="dense")(inputs))
    model.compile("adam")
    model.fit(
        TABLE, LABELS[:, None].astype("float32"), batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks
    )
