"""Tables, ratings and graphs: preprocessing layers, several inputs, weights of classes and samples."""

import keras
import numpy as np
import tensorflow as tf
from data import BATCH, BINARY, LABELS, SAMPLES, TABLE, TARGET
from harness import program
from keras import layers, ops

NAMES = np.array(["a", "b", "c"])[LABELS]


@program(running=["auc"])
def test_structured_data_with_preprocessing_layers(callbacks):
    normalization = layers.Normalization(name="scaled")
    normalization.adapt(TABLE)
    lookup = layers.StringLookup(vocabulary=["a", "b", "c"], output_mode="int")
    numbers, kind = keras.Input((5,), name="numbers"), keras.Input((1,), name="kind", dtype="int32")
    x = layers.Concatenate()(
        [normalization(numbers), layers.CategoryEncoding(4, output_mode="one_hot")(kind)]
    )
    x = layers.Dropout(0.5, seed=1)(layers.Dense(6, activation="relu", name="hidden")(x))
    model = keras.Model([numbers, kind], layers.Dense(1, activation="sigmoid", name="answer")(x))
    model.compile(
        "adam", "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(num_thresholds=20, name="auc")]
    )
    model.fit(
        {"numbers": TABLE, "kind": np.asarray(lookup(NAMES))[:, None]},
        BINARY,
        batch_size=BATCH,
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    )


@program(running=["recall", "precision", "fn"])
def test_imbalanced_classes_with_class_weights(callbacks):
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, activation="relu"), layers.Dense(1, activation="sigmoid")]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(1e-2),
        loss="binary_crossentropy",
        metrics=[
            keras.metrics.FalseNegatives(name="fn"),
            keras.metrics.Precision(name="precision"),
            keras.metrics.Recall(name="recall"),
        ],
        weighted_metrics=["accuracy"],
    )
    model.fit(
        TABLE,
        BINARY,
        batch_size=BATCH,
        epochs=2,
        class_weight={0: 0.3, 1: 2.5},
        verbose=0,
        callbacks=callbacks,
    )


@program(running=["r2_score"])
def test_regression_with_root_mean_squared_error(callbacks):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, activation="relu"), layers.Dense(1)])
    model.compile(
        "sgd",
        keras.losses.Huber(),
        metrics=[
            keras.metrics.RootMeanSquaredError(),
            keras.metrics.MeanAbsolutePercentageError(name="mape"),
            keras.metrics.R2Score(),
        ],
    )
    weights = np.linspace(0.0, 2.0, SAMPLES).astype(np.float32)
    model.fit(
        TABLE, TARGET, sample_weight=weights, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks
    )


@program()
def test_wide_and_deep_with_two_optimizers_of_one_model(callbacks):
    class WideDeep(keras.Model):
        def __init__(self):
            super().__init__()
            self.wide = layers.Dense(1, name="wide")
            self.deep = keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(1)], name="deep")
            self.parts = {}

        def build(self, shape):
            self.wide.build(shape)
            self.deep.build(shape)
            self.built = True

        def compile(self, wide, deep, **options):
            super().compile(**options)
            self.by_part = {"wide": wide, "deep": deep}

        def call(self, x):
            return 0.5 * (self.wide(x) + self.deep(x))

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                predicted = self(x, training=True)
                loss = self.compute_loss(x, y, predicted)
            wide, deep = self.wide.trainable_variables, self.deep.trainable_variables
            gradients = tape.gradient(loss, wide + deep)
            self.by_part["wide"].apply_gradients(zip(gradients[: len(wide)], wide, strict=True))
            self.by_part["deep"].apply_gradients(zip(gradients[len(wide) :], deep, strict=True))
            self._loss_tracker.update_state(loss, sample_weight=tf.shape(x)[0])
            return self.compute_metrics(x, y, predicted)

    model = WideDeep()
    model.compile(keras.optimizers.Ftrl(0.1), keras.optimizers.Adam(1e-3), loss="mse", metrics=["mae"])
    model.fit(TABLE, TARGET, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_recommender_of_embeddings_and_their_product(callbacks):
    class Recommender(keras.Model):
        def __init__(self):
            super().__init__()
            self.user = layers.Embedding(6, 3, embeddings_regularizer="l2", name="user")
            self.item = layers.Embedding(9, 3, name="item")
            self.item_bias = layers.Embedding(9, 1, name="item_bias")

        def call(self, pairs):
            users, items = self.user(pairs[:, 0]), self.item(pairs[:, 1])
            return ops.sigmoid(ops.sum(users * items, axis=1, keepdims=True) + self.item_bias(pairs[:, 1]))

    draw = np.random.default_rng(3)
    pairs = np.stack([draw.integers(0, 3, SAMPLES), draw.integers(0, 9, SAMPLES)], 1).astype(np.int32)
    model = Recommender()
    model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(1e-2))
    model.fit(
        pairs,
        BINARY,
        batch_size=BATCH,
        epochs=2,
        validation_data=(pairs, BINARY),
        verbose=0,
        callbacks=callbacks,
    )


class GraphConvolution(layers.Layer):
    """Messages along fixed edges; weights of its own, held by the layer itself."""

    def __init__(self, width, edges, **options):
        super().__init__(**options)
        self.width, self.edges = width, edges

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.width), name="kernel")
        self.self_kernel = self.add_weight(shape=(shape[-1], self.width), name="self_kernel")

    def call(self, x):
        sent = ops.take(x, self.edges[0], axis=1)
        summed = ops.segment_sum(ops.transpose(sent, (1, 0, 2)), self.edges[1], num_segments=5)
        return ops.relu(
            ops.matmul(ops.transpose(summed, (1, 0, 2)), self.kernel) + ops.matmul(x, self.self_kernel)
        )


@program()
def test_graph_network(callbacks):
    edges = np.array([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]], np.int32)
    inputs = keras.Input((5, 1))
    x = GraphConvolution(3, edges, name="graph_2")(GraphConvolution(2, edges, name="graph_1")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="classes")(layers.GlobalAveragePooling1D()(x)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["acc"])
    model.fit(TABLE[:, :, None], LABELS, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)
