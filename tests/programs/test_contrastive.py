"""Learning without labels, or from another network: pairs, triplets, teachers; optimizers of their own."""

import keras
import numpy as np
import tensorflow as tf
from data import BATCH, IMAGES, LABELS, SAMPLES
from harness import program
from keras import layers, ops

FLAT = IMAGES.reshape(SAMPLES, -1)


def _encoder(name="encoder"):
    dense = layers.Dense(4, activation="tanh", name=f"{name}_dense")
    return keras.Sequential([keras.Input((16,)), dense], name=name)


class SimCLR(keras.Model):
    """Two optimizers; five numbers of which three are metrics of one and the same name."""

    def __init__(self):
        super().__init__()
        self.probe_accuracy = keras.metrics.SparseCategoricalAccuracy()
        self.contrastive_accuracy = keras.metrics.SparseCategoricalAccuracy()
        self.correlation_accuracy = keras.metrics.SparseCategoricalAccuracy()
        self.noise = layers.GaussianNoise(0.1, seed=1)
        self.encoder = _encoder()
        self.head = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="head_dense")], name="head")
        self.probe = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="probe_dense")], name="probe")
        self.probe_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def compile(self, contrastive_optimizer, probe_optimizer, **options):
        super().compile(**options)
        self.contrastive_optimizer = contrastive_optimizer
        self.probe_optimizer = probe_optimizer

    def train_step(self, data):
        images, labels = data
        with tf.GradientTape() as tape:
            some = self.head(self.encoder(self.noise(images, training=True)))
            others = self.head(self.encoder(self.noise(images, training=True)))
            similarities = ops.matmul(some, ops.transpose(others)) / 0.5
            which = ops.arange(ops.shape(images)[0])
            c_loss = ops.mean(
                keras.losses.sparse_categorical_crossentropy(which, similarities, from_logits=True)
            )
        weights = self.encoder.trainable_weights + self.head.trainable_weights
        self.contrastive_optimizer.apply_gradients(zip(tape.gradient(c_loss, weights), weights, strict=True))
        self.contrastive_accuracy.update_state(which, similarities)
        self.contrastive_accuracy.update_state(which, ops.transpose(similarities))
        correlation = ops.matmul(ops.transpose(some), others)
        self.correlation_accuracy.update_state(ops.arange(4), correlation)
        with tf.GradientTape() as tape:
            logits = self.probe(self.encoder(images))
            p_loss = self.probe_loss(labels, logits)
        weights = self.probe.trainable_weights
        self.probe_optimizer.apply_gradients(zip(tape.gradient(p_loss, weights), weights, strict=True))
        self.probe_accuracy.update_state(labels, logits)
        return {
            "c_loss": c_loss,
            "c_acc": self.contrastive_accuracy.result(),
            "r_acc": self.correlation_accuracy.result(),
            "p_loss": p_loss,
            "p_acc": self.probe_accuracy.result(),
        }


@program()
def test_simclr_with_a_linear_probe(callbacks):
    model = SimCLR()
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3), jit_compile=False)
    model.fit(FLAT, LABELS, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class Siamese(keras.Model):
    """Three inputs, a distance each, one tracker of the loss."""

    def __init__(self, margin=0.5):
        super().__init__()
        self.embedding = _encoder("embedding")
        self.margin = margin
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def call(self, triplet):
        anchor, positive, negative = (self.embedding(one) for one in triplet)
        return ops.sum((anchor - positive) ** 2, -1), ops.sum((anchor - negative) ** 2, -1)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            near, far = self(data)
            loss = ops.maximum(near - far + self.margin, 0.0)
        weights = self.embedding.trainable_weights
        gradients = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}

    @property
    def metrics(self):
        return [self.loss_tracker]


@program()
def test_siamese_network_with_a_triplet_loss(callbacks):
    model = Siamese()
    model.compile(optimizer=keras.optimizers.Adam(1e-3), weighted_metrics=[])
    triplets = tf.data.Dataset.from_tensor_slices((FLAT, FLAT + 0.1, FLAT[::-1].copy()))
    model.fit(triplets.batch(BATCH), epochs=2, verbose=0, callbacks=callbacks)


class Similar(keras.Model):
    """compute_loss and the compiled metrics, in a step of its own."""

    def train_step(self, data):
        pairs, which = data
        anchors, positives = pairs[:, 0], pairs[:, 1]
        with tf.GradientTape() as tape:
            some, others = self(anchors, training=True), self(positives, training=True)
            similarities = ops.einsum("ae,pe->ap", some, others) / 0.2
            loss = self.compute_loss(y=which, y_pred=similarities)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(which, similarities)
        return {m.name: m.result() for m in self.metrics}


@program()
def test_metric_learning_with_compiled_metrics_in_a_step_of_its_own(callbacks):
    inputs = keras.Input((16,))
    outputs = layers.UnitNormalization()(layers.Dense(4, name="embedding")(inputs))
    model = Similar(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    pairs = np.stack([FLAT, FLAT + 0.1], 1)[:12]
    which = np.tile(np.arange(4, dtype=np.int32), 3)
    model.fit(pairs, which, batch_size=4, shuffle=False, epochs=2, verbose=0, callbacks=callbacks)


class Distiller(keras.Model):
    """A frozen teacher; the compiled metrics and two losses of its own in one dictionary.

    What it returns for `loss` is the tracker of compile(), which this step never updates: Keras prints 0.
    """

    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher

    def call(self, x):
        return self.student(x)

    def compile(self, temperature=3.0, **options):
        super().compile(**options)
        self.temperature = temperature

    def train_step(self, data):
        x, y = data
        taught = self.teacher(x, training=False)
        with tf.GradientTape() as tape:
            learned = self.student(x, training=True)
            student_loss = ops.mean(
                keras.losses.sparse_categorical_crossentropy(y, learned, from_logits=True)
            )
            distillation_loss = self.temperature**2 * ops.mean(
                keras.losses.kl_divergence(
                    ops.softmax(taught / self.temperature), ops.softmax(learned / self.temperature)
                )
            )
            loss = 0.1 * student_loss + 0.9 * distillation_loss
        weights = self.student.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        results = self.compute_metrics(x, y, learned, None)
        results.update({"student_loss": student_loss, "distillation_loss": distillation_loss})
        return results


@program(idle=["loss"], missing=[r"\bloss\b"])
def test_distillation_whose_compiled_loss_is_never_updated(callbacks):
    def network(name):
        layer = layers.Dense(3, name=f"{name}_logits")
        return keras.Sequential([keras.Input((16,)), layer], name=name)

    model = Distiller(network("student"), network("teacher"))
    model.teacher.trainable = False
    model.compile(optimizer=keras.optimizers.Adam(1e-3), metrics=["sparse_categorical_accuracy"])
    model.fit(FLAT, LABELS, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class Momentum(keras.Model):
    """A queue of keys and a moving average of the encoder, both assigned in the step."""

    def __init__(self):
        super().__init__()
        self.encoder, self.slow = _encoder("quick"), _encoder("slow")
        self.slow.set_weights(self.encoder.get_weights())
        self.slow.trainable = False
        self.queue = self.add_weight(shape=(6, 4), initializer="random_normal", trainable=False, name="queue")

    def train_step(self, images):
        keys = self.slow(images)
        with tf.GradientTape() as tape:
            queries = self.encoder(images)
            positive = ops.sum(queries * keys, axis=1, keepdims=True)
            logits = ops.concatenate([positive, ops.matmul(queries, ops.transpose(self.queue))], axis=1)
            labels = ops.zeros((ops.shape(images)[0],), "int32")
            loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        weights = self.encoder.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        for quick, slow in zip(self.encoder.weights, self.slow.weights, strict=True):
            slow.assign(0.9 * slow + 0.1 * quick)
        self.queue.assign(ops.concatenate([keys, self.queue], axis=0)[:6])
        return {"contrastive_loss": loss, "positive": ops.mean(positive)}


@program()
def test_momentum_contrast_with_a_queue(callbacks):
    model = Momentum()
    model.compile(optimizer=keras.optimizers.SGD(1e-2, momentum=0.9))
    model.fit(FLAT, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class Barlow(keras.Model):
    """The tracker is called `loss`, is listed by hand, and compile() brings another of that name."""

    def __init__(self):
        super().__init__()
        self.encoder = _encoder()
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def train_step(self, data):
        some, others = data
        with tf.GradientTape() as tape:
            a, b = self.encoder(some, training=True), self.encoder(others, training=True)
            correlation = ops.matmul(ops.transpose(a), b) / 4.0
            loss = ops.sum((correlation - ops.eye(4)) ** 2)
        weights = self.encoder.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


@program()
def test_barlow_twins_with_a_tracker_called_loss(callbacks):
    model = Barlow()
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    pairs = tf.data.Dataset.from_tensor_slices((FLAT, FLAT + 0.1)).batch(BATCH)
    model.fit(pairs, epochs=2, verbose=0, callbacks=callbacks)
