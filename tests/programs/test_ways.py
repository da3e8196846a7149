"""Ways of calling fit: data of every kind, compilation, precision, callbacks that interfere, several fits."""

import keras
import numpy as np
import tensorflow as tf
from data import BATCH, BINARY, IMAGES, LABELS, SAMPLES, TABLE, TARGET
from harness import program
from keras import layers, ops


def _regression(optimizer="sgd", **options):
    layer = [layers.Dense(4, activation="relu", name="hidden"), layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((5,)), *layer])
    model.compile(optimizer, "mse", **{"metrics": ["mae"], **options})
    return model


def _fit(model, callbacks, *data, **options):
    options = {"epochs": 2, "verbose": 0, "callbacks": callbacks, **options}
    if not data:
        data, options["batch_size"] = (TABLE, TARGET), options.get("batch_size", BATCH)
    return model.fit(*data, **options)


@program()
def test_jit_compilation(callbacks):
    _fit(_regression("adam", jit_compile=True), callbacks)


@program(eager=False)
def test_three_steps_at_once(callbacks):
    _fit(_regression("adam", steps_per_execution=3), callbacks)


@program()
def test_eager_execution(callbacks):
    _fit(_regression("adam", run_eagerly=True), callbacks)


@program()
def test_dataset_that_repeats(callbacks):
    data = tf.data.Dataset.from_tensor_slices((TABLE, TARGET)).shuffle(SAMPLES, seed=1).repeat().batch(BATCH)
    _fit(_regression(), callbacks, data, steps_per_epoch=3, epochs=3)


@program()
def test_generator(callbacks):
    def batches():
        while True:
            for start in range(0, 12, 4):
                yield TABLE[start : start + 4], TARGET[start : start + 4]

    _fit(_regression(), callbacks, batches(), steps_per_epoch=4)


@program()
def test_dataset_of_the_users_with_samples_weights(callbacks):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            part = slice(4 * index, 4 * index + 4)
            return TABLE[part], TARGET[part], np.linspace(0.5, 1.5, 4).astype(np.float32)

    _fit(_regression(weighted_metrics=["mse"]), callbacks, Batches())


@program()
def test_batches_of_one_sample(callbacks):
    _fit(_regression(), callbacks, TABLE[:3], TARGET[:3], batch_size=1)


@program()
def test_one_batch_only(callbacks):
    _fit(_regression(), callbacks, batch_size=SAMPLES, epochs=1)


@program()
def test_epochs_of_one_batch(callbacks):
    _fit(_regression(), callbacks, batch_size=100, epochs=4)


@program()
def test_rate_set_by_callbacks(callbacks):
    falling = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1))

    class EveryBatch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * 0.9

    _fit(_regression(), [falling, EveryBatch(), *callbacks])


@program()
def test_early_stopping_that_restores_weights(callbacks):
    stopping = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e6, restore_best_weights=True)
    _fit(_regression(), [*callbacks, stopping], epochs=9)


@program()
def test_training_that_ends_on_nan(callbacks):
    broken = TARGET.copy()
    broken[6] = np.nan
    _fit(
        _regression(),
        [keras.callbacks.TerminateOnNaN(), *callbacks],
        TABLE,
        broken,
        batch_size=4,
        shuffle=False,
    )


@program(rtol=2e-2)
def test_mixed_precision(callbacks):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((4, 4, 1))
        x = layers.Flatten()(layers.Conv2D(2, 3, activation="relu", name="seen")(inputs))
        model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", dtype="float32", name="out")(x))
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", metrics=["accuracy"])
        _fit(model, callbacks, IMAGES, BINARY, batch_size=BATCH)
    finally:
        keras.config.set_dtype_policy("float32")


@program(skipped=lambda step: step <= 7)
def test_loss_scaling_that_skips_steps(callbacks):
    # The scaled loss overflows until it was halved seven times.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3), initial_scale=2.0**127)
    _fit(_regression(optimizer), callbacks, TABLE, 100 * np.ones_like(TARGET), batch_size=BATCH)


@program()
def test_fixed_loss_scale_and_clipping(callbacks):
    _fit(_regression(keras.optimizers.Adam(1e-3, loss_scale_factor=128.0, clipnorm=0.1)), callbacks)


@program()
def test_gradient_accumulation(callbacks):
    _fit(_regression(keras.optimizers.SGD(1e-2, gradient_accumulation_steps=3)), callbacks)


@program()
def test_moving_average_of_the_weights(callbacks):
    optimizer = keras.optimizers.SGD(1e-2, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3)
    _fit(_regression(optimizer), callbacks)


@program()
def test_several_fits_that_go_on(callbacks):
    model = _regression("adam")
    _fit(model, callbacks)
    model.evaluate(TABLE, TARGET, verbose=0)
    _fit(model, callbacks, TABLE[:8], TARGET[:8], batch_size=2, epochs=1)


@program()
def test_second_fit_that_begins_at_an_epoch(callbacks):
    model = _regression(keras.optimizers.SGD(1e-2, momentum=0.9))
    _fit(model, callbacks)
    _fit(model, callbacks, initial_epoch=2, epochs=4)


@program()
def test_fit_of_the_users(callbacks):
    class Trainer(keras.Model):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def call(self, x):
            return self.network(x)

        def fit(self, x, y, **options):
            return super().fit((x - x.mean(0)) / x.std(0), y, batch_size=BATCH, **options)

    model = Trainer(keras.Sequential([keras.Input((5,)), layers.Dense(1, name="out")], name="network"))
    model.compile("sgd", "mse")
    model.fit(TABLE, TARGET, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_subclassed_model_built_by_its_first_batch(callbacks):
    class Late(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [layers.Dense(3, activation="relu", name=f"block_{n}") for n in range(2)]
            self.out = layers.Dense(3, name="out")

        def call(self, x, training=False):
            for block in self.blocks:
                x = block(x)
            return self.out(x)

    model = Late()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    _fit(model, callbacks, TABLE, LABELS, batch_size=BATCH, validation_data=(TABLE, LABELS))


@program()
def test_losses_with_a_sum_for_each_batch(callbacks):
    loss = keras.losses.MeanSquaredError(reduction="sum")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(1e-3), loss, metrics=[keras.metrics.MeanSquaredError()])
    _fit(model, callbacks)


@program()
def test_weights_that_a_constraint_and_a_decay_move_too(callbacks):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(3, kernel_constraint="unit_norm", name="kept"),
            layers.Dense(1, name="out"),
        ]
    )
    model.compile(keras.optimizers.Lion(1e-3, weight_decay=0.1), "mse")
    _fit(model, callbacks)


@program()
def test_training_in_double_precision(callbacks):
    inputs = keras.Input((5,), dtype="float64")
    model = keras.Model(inputs, layers.Dense(1, dtype="float64", name="out")(inputs))
    model.compile("sgd", "mse", metrics=["mae"])
    _fit(model, callbacks, TABLE.astype("float64"), TARGET.astype("float64"), batch_size=BATCH)


@program()
def test_large_numbers_keep_their_digits(callbacks):
    class Counting(keras.Model):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "seen": 2**25 + ops.cast(self.optimizer.iterations, "int64")}

    inputs = keras.Input((5,))
    model = Counting(inputs, layers.Dense(1, name="out")(inputs))
    model.compile("sgd", "mse")
    _fit(model, callbacks)
