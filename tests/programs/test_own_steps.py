"""Train steps of the user's own: what they return, and how they apply their optimizers."""

import keras
import numpy as np
import tensorflow as tf
from data import BATCH, LABELS, TABLE, TARGET
from harness import program
from keras import layers, ops

# A step that returns its own `loss` never updates the one of compile(), and Keras reports that one, 0, at the
# epoch's end: the names are the same.
ZERO = {"missing": ("^scalars/epoch: loss ",), "untrusted": ("scalars/epoch/loss",)}
LAST = "last of several gradients"


def _inputs_and_outputs(units=1):
    inputs = keras.Input((5,))
    x = layers.Dense(4, activation="tanh", name="hidden")(inputs)
    return inputs, layers.Dense(units, name="out")(x)


class Own(keras.Model):
    """A plain step by hand; what it returns, and how it updates, is for the programs to say."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            loss = ops.mean((y - predicted) ** 2)
        self.update(tape.gradient(loss, self.trainable_variables))
        return self.told(loss, y, predicted)

    def update(self, gradients):
        self.optimizer.apply(gradients, self.trainable_variables)

    def told(self, loss, y, predicted):
        return {"loss": loss}


def _fit(model, callbacks, x=TABLE, y=TARGET, **options):
    model.fit(x, y, **{"batch_size": BATCH, "epochs": 2, "verbose": 0, "callbacks": callbacks, **options})


@program(missing=["^per_output .* no number", '^"per_output" is not in scalars/epoch: .* no number'])
def test_step_that_returns_no_number(callbacks):
    # An empty dictionary Keras itself does not take.
    class Silent(Own):
        def told(self, loss, y, predicted):
            return {"per_output": ops.mean((y - predicted) ** 2, axis=0)}

    model = Silent(*_inputs_and_outputs(2))
    model.compile("sgd")
    _fit(model, callbacks)


@program()
def test_step_that_returns_one_number_more(callbacks):
    class More(keras.Model):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "largest": ops.max(ops.abs(self.layers[-1].kernel))}

    model = More(*_inputs_and_outputs())
    model.compile("sgd", "mse", metrics=["mae"])
    _fit(model, callbacks)


@program()
def test_step_that_returns_dictionaries_in_its_dictionary(callbacks):
    class Nested(Own):
        def told(self, loss, y, predicted):
            return {
                "loss": loss,
                "parts": {"mae": ops.mean(ops.abs(y - predicted)), "bias": ops.mean(predicted)},
            }

    model = Nested(*_inputs_and_outputs())
    model.compile("sgd")
    _fit(model, callbacks)


@program(missing=["^per_output .* no number", '^"per_output" is not in scalars/epoch: .* no number'])
def test_step_that_returns_an_array_and_whole_numbers(callbacks):
    class Mixed(Own):
        def told(self, loss, y, predicted):
            per_sample = ops.mean((y - predicted) ** 2, axis=0)
            return {
                "loss": loss,
                "per_output": per_sample,
                "samples": ops.shape(y)[0],
                "worst": ops.argmax(per_sample),
                "finite": ops.all(ops.isfinite(predicted)),
                "precise": ops.cast(loss, "float64"),
            }

    model = Mixed(*_inputs_and_outputs(2))
    model.compile("sgd")
    _fit(model, callbacks)


@program(
    idle=["step", "epoch"],
    missing=[
        *(f"^{name} .* by batch" for name in ("step", "epoch")),
        *(f'^"{name}" is not in scalars/epoch: the run' for name in ("step", "epoch")),
    ],
)
def test_step_that_returns_names_that_the_run_has_too(callbacks):
    class Numbered(Own):
        def told(self, loss, y, predicted):
            return {"loss": loss, "step": 10.0 * loss, "epoch": ops.mean(y), "learning_rate": 7.0 * loss}

    model = Numbered(*_inputs_and_outputs())
    model.compile("sgd")
    _fit(model, callbacks)


@program(**ZERO)
def test_one_optimizer_applied_to_two_parts(callbacks):
    class Parts(Own):
        def update(self, gradients):
            self.optimizer.build(self.trainable_variables)
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(gradients[2:], weights[2:], strict=True))
            self.optimizer.apply_gradients(zip(gradients[:2], weights[:2], strict=True))

    model = Parts(*_inputs_and_outputs())
    model.compile("adam")
    _fit(model, callbacks)


@program(**ZERO)
def test_optimizers_in_a_list(callbacks):
    class Listed(Own):
        def compile(self, optimizers, **options):
            super().compile(**options)
            self.own_optimizers = optimizers

        def update(self, gradients):
            for number, optimizer in enumerate(self.own_optimizers):
                pairs = list(zip(gradients, self.trainable_variables, strict=True))[
                    2 * number : 2 * number + 2
                ]
                optimizer.apply_gradients(pairs)

    model = Listed(*_inputs_and_outputs())
    model.compile([keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3)])
    _fit(model, callbacks)


@program(**ZERO)
def test_two_optimizers_of_the_same_given_name(callbacks):
    class Two(Own):
        def compile(self, slow, **options):
            super().compile(**options)
            self.slow = slow

        def update(self, gradients):
            weights = self.trainable_variables
            self.slow.apply(gradients[:2], weights[:2])
            self.optimizer.apply(gradients[2:], weights[2:])

    model = Two(*_inputs_and_outputs())
    schedule = keras.optimizers.schedules.PolynomialDecay(1e-2, 8, 1e-3)
    model.compile(
        slow=keras.optimizers.SGD(1e-4, name="sgd"), optimizer=keras.optimizers.SGD(schedule, name="sgd")
    )
    _fit(model, callbacks)


@program(**ZERO)
def test_optimizers_that_take_turns(callbacks):
    class Turns(Own):
        def compile(self, other, **options):
            super().compile(**options)
            self.other = other
            self.other.build(self.trainable_variables)
            self.optimizer.build(self.trainable_variables)

        def update(self, gradients):
            def even():
                self.optimizer.apply(gradients, self.trainable_variables)
                return tf.constant(0)

            def odd():
                self.other.apply(gradients, self.trainable_variables)
                return tf.constant(0)

            tf.cond((self.optimizer.iterations.value + self.other.iterations.value) % 2 == 0, even, odd)

    model = Turns(*_inputs_and_outputs())
    model.compile(keras.optimizers.SGD(1e-3, name="odd"), optimizer=keras.optimizers.SGD(1e-2, name="even"))
    _fit(model, callbacks)


@program(missing=["no Keras optimizer", *ZERO["missing"]], untrusted=ZERO["untrusted"])
def test_weights_that_the_step_assigns_by_itself(callbacks):
    class ByHand(Own):
        def update(self, gradients):
            for gradient, weight in zip(gradients, self.trainable_variables, strict=True):
                weight.assign_sub(0.01 * gradient)

    model = ByHand(*_inputs_and_outputs())
    model.compile("sgd")
    _fit(model, callbacks)


class Accumulating(Own):
    """Gradients summed over two steps, by hand."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.kept = [
            self.add_weight(shape=v.shape, initializer="zeros", trainable=False, name=f"kept_{n}")
            for n, v in enumerate(self.trainable_variables)
        ]
        self.number = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="number"
        )

    def update(self, gradients):
        self.number.assign_add(1)
        for kept, gradient in zip(self.kept, gradients, strict=True):
            kept.assign_add(gradient)

        def apply():
            self.optimizer.apply([kept.value / 2.0 for kept in self.kept], self.trainable_variables)
            for kept in self.kept:
                kept.assign(ops.zeros_like(kept))
            return tf.constant(0)

        tf.cond(self.number.value % 2 == 0, apply, lambda: tf.constant(0))


@program(skipped=lambda step: step % 2 == 1, **ZERO)
def test_gradients_accumulated_by_hand(callbacks):
    model = Accumulating(*_inputs_and_outputs())
    optimizer = keras.optimizers.SGD(1e-2)
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)
    _fit(model, callbacks)


class ForwardForward(keras.Model):
    """Every layer learns by itself, several times in each step; its metric is no metric of the model's."""

    def __init__(self):
        super().__init__()
        self.steps_of = [layers.Dense(4, activation="relu", name=f"layer_{n}") for n in range(2)]
        self.found = keras.metrics.Mean(name="inner_loss")
        self.sum = self.add_weight(shape=(), initializer="zeros", trainable=False, name="sum")

    @property
    def metrics(self):
        return []

    def build(self, shape):
        for layer in self.steps_of:
            layer.build(shape)
            shape = (None, 4)

    def call(self, x):
        for layer in self.steps_of:
            x = layer(x)
        return x

    def train_step(self, data):
        x, _ = data
        self.optimizer.build(self.trainable_variables)
        for layer in self.steps_of:
            for _ in range(2):
                with tf.GradientTape() as tape:
                    loss = ops.mean((layer(x) ** 2 - 0.5) ** 2)
                weights = layer.trainable_weights
                self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
                self.found.update_state([loss])
            x = layer(x)
        self.sum.assign_add(loss)
        return {"last": loss, "so_far": self.sum + 0.0}


@program(missing=[LAST])
def test_forward_forward_that_updates_a_layer_twice_a_step(callbacks):
    model = ForwardForward()
    model.build((None, 5))
    model.compile(optimizer=keras.optimizers.SGD(1e-2))
    _fit(model, callbacks, y=LABELS)


@program(**ZERO)
def test_step_compiled_by_the_user(callbacks):
    class Compiled(Own):
        @tf.function
        def train_step(self, data):
            return super().train_step(data)

    model = Compiled(*_inputs_and_outputs())
    model.compile("adam")
    _fit(model, callbacks)


class Sam(Own):
    """Sharpness-aware: two passes, one update; and gradients that the step clips by itself."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = ops.mean((y - self(x)) ** 2)
        gradients = tape.gradient(loss, self.trainable_variables)
        scale = 0.05 / (tf.linalg.global_norm(gradients) + 1e-12)
        for weight, gradient in zip(self.trainable_variables, gradients, strict=True):
            weight.assign_add(gradient * scale)
        with tf.GradientTape() as tape:
            second = ops.mean((y - self(x)) ** 2)
        moved = tape.gradient(second, self.trainable_variables)
        for weight, gradient in zip(self.trainable_variables, gradients, strict=True):
            weight.assign_sub(gradient * scale)
        clipped, norm = tf.clip_by_global_norm(moved, 1.0)
        self.optimizer.apply_gradients(zip(clipped, self.trainable_variables, strict=True))
        return {"loss": loss, "sharp_loss": second, "norm": norm}


@program()
def test_sharpness_aware_minimization(callbacks):
    model = Sam(*_inputs_and_outputs())
    model.compile(optimizer=keras.optimizers.SGD(1e-2))
    _fit(model, callbacks)


@program(missing=["no Keras optimizer"])
def test_model_without_trainable_variables(callbacks):
    class Rule(keras.Model):
        def call(self, x):
            return ops.sum(x, axis=1, keepdims=True)

    model = Rule()
    model.compile("sgd", "mse", metrics=["mae"])
    _fit(model, callbacks)


@program(**ZERO)
def test_gradients_that_some_variables_do_not_get(callbacks):
    class Half(Own):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = ops.mean((y - self(x)) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            gradients[0] = None
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    model = Half(*_inputs_and_outputs())
    model.compile("sgd")
    _fit(model, callbacks, y=np.zeros_like(TARGET))
