"""Pictures and volumes: classifiers, segmentation, augmentation, several outputs, fine-tuning."""

import keras
import numpy as np
import tensorflow as tf
from data import BATCH, BINARY, IMAGES, LABELS, ONE_HOT, SAMPLES, VOLUMES
from harness import program
from keras import layers, ops


@program()
def test_convolutional_classifier_with_dropout_and_normalization(callbacks):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.3, seed=2),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer="sgd", loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        IMAGES, ONE_HOT, batch_size=BATCH, epochs=2, validation_split=0.2, verbose=0, callbacks=callbacks
    )


@program()
def test_augmentation_inside_the_model_and_separable_convolutions(callbacks):
    x = inputs = keras.Input((4, 4, 1))
    x = layers.RandomFlip("horizontal", seed=5)(x)
    x = layers.Rescaling(2.0, offset=-1.0)(x)
    x = layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = layers.Activation("swish")(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    outputs = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3),
        loss="binary_crossentropy",
        metrics=[keras.metrics.BinaryAccuracy(name="acc")],
    )
    model.fit(IMAGES, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class Patches(layers.Layer):
    def __init__(self, count, width, **options):
        super().__init__(**options)
        self.count = count
        self.projection = layers.Dense(width, name="projection")
        self.position = layers.Embedding(count, width, name="position")

    def build(self, shape):
        self.projection.build((None, self.count, 4))
        self.position.build((None,))

    def call(self, images):
        patches = ops.reshape(ops.image.extract_patches(images, 2), (-1, self.count, 4))
        return self.projection(patches) + self.position(ops.arange(self.count))


@program()
def test_vision_transformer(callbacks):
    inputs = keras.Input((4, 4, 1))
    x = Patches(4, 4, name="patches")(inputs)
    attended = layers.LayerNormalization()(x)
    attended = layers.MultiHeadAttention(2, 2, dropout=0.1, seed=3)(attended, attended)
    x = layers.Add()([attended, x])
    x = layers.Dense(3)(layers.Flatten()(layers.Dense(6, activation="gelu")(x)))
    model = keras.Model(inputs, x)
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseTopKCategoricalAccuracy(2, name="top-2-accuracy"),
        ],
    )
    model.fit(IMAGES, LABELS, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class Mixer(layers.Layer):
    def __init__(self, count, width, **options):
        super().__init__(**options)
        self.tokens = keras.Sequential(
            [layers.Dense(3, activation="gelu"), layers.Dense(count)], name="tokens"
        )
        self.channels = keras.Sequential(
            [layers.Dense(3, activation="gelu"), layers.Dense(width)], name="channels"
        )
        self.normalize = layers.LayerNormalization(name="normalize")

    def build(self, shape):
        self.tokens.build((None, shape[2], shape[1]))
        self.channels.build(shape)
        self.normalize.build(shape)

    def call(self, x):
        mixed = ops.transpose(self.tokens(ops.transpose(self.normalize(x), (0, 2, 1))), (0, 2, 1))
        return self.channels(x + mixed) + x


@program()
def test_mlp_mixer_with_a_rate_that_falls_on_a_plateau(callbacks):
    inputs = keras.Input((4, 4, 1))
    x = layers.Dense(4, name="stem")(layers.Reshape((4, 4))(inputs))
    x = layers.GlobalAveragePooling1D()(Mixer(4, 4, name="mixer")(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.2, seed=1)(x)))
    model.compile(
        optimizer=keras.optimizers.SGD(1e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["acc"],
    )
    falling = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=10.0)
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=10, restore_best_weights=True)
    model.fit(
        IMAGES,
        LABELS,
        batch_size=BATCH,
        epochs=4,
        validation_split=0.2,
        verbose=0,
        callbacks=[falling, stopping, *callbacks],
    )


@program(running=["mean_io_u"])
def test_unet_segmentation_with_intersection_over_union(callbacks):
    inputs = keras.Input((4, 4, 1))
    down = layers.Conv2D(4, 3, padding="same", activation="relu", name="down")(inputs)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="bottom")(layers.MaxPooling2D(2)(down))
    x = layers.Concatenate()([layers.UpSampling2D(2)(x), down])
    model = keras.Model(inputs, layers.Conv2D(2, 3, padding="same", activation="softmax", name="mask")(x))
    model.compile(
        optimizer="adam",
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy", keras.metrics.MeanIoU(2, sparse_y_pred=False, name="mean_io_u")],
    )
    masks = (IMAGES > 0.5).astype(np.int32)
    model.fit(IMAGES, masks, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_volumes_with_an_exponential_schedule(callbacks):
    x = inputs = keras.Input((4, 4, 4, 1))
    x = layers.MaxPooling3D(2)(layers.Conv3D(2, 3, padding="same", activation="relu")(x))
    x = layers.BatchNormalization()(x)
    x = layers.Dense(3, activation="relu")(layers.GlobalAveragePooling3D()(x))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="3dcnn")
    schedule = keras.optimizers.schedules.ExponentialDecay(
        1e-2, decay_steps=2, decay_rate=0.9, staircase=True
    )
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.SGD(schedule),
        metrics=["acc"],
        run_eagerly=False,
    )
    data = (
        tf.data.Dataset.from_tensor_slices((VOLUMES, BINARY))
        .shuffle(SAMPLES, seed=4)
        .batch(BATCH)
        .prefetch(2)
    )
    model.fit(data, validation_data=data, epochs=2, shuffle=True, verbose=0, callbacks=callbacks)


@program()
def test_mixup_with_label_smoothing(callbacks):
    def mixed(one, two):
        (images, labels), (other_images, other_labels) = one, two
        share = tf.constant(0.3)
        return share * images + (1 - share) * other_images, share * labels + (1 - share) * other_labels

    ordered = tf.data.Dataset.from_tensor_slices((IMAGES, ONE_HOT)).batch(BATCH)
    turned = tf.data.Dataset.from_tensor_slices((IMAGES[::-1].copy(), ONE_HOT[::-1].copy())).batch(BATCH)
    data = tf.data.Dataset.zip((ordered, turned)).map(mixed)
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    model.compile(
        optimizer="nadam",
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=["accuracy", keras.metrics.CategoricalCrossentropy(from_logits=True, name="unsmoothed")],
    )
    model.fit(data, epochs=2, verbose=0, callbacks=callbacks)


# Keras counts each output's loss once a batch where it compiles, and once a sample where it does not.
@program(eager=False)
def test_losses_and_metrics_of_several_outputs(callbacks):
    inputs = keras.Input((4, 4, 1))
    x = layers.Flatten()(layers.Conv2D(2, 3, name="shared")(inputs))
    outputs = {
        "kind": layers.Dense(3, activation="softmax", name="kind")(x),
        "bright": layers.Dense(1, activation="sigmoid", name="bright")(x),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer="adam",
        loss={"kind": "sparse_categorical_crossentropy", "bright": "binary_crossentropy"},
        loss_weights={"kind": 1.0, "bright": 0.25},
        metrics={"kind": ["accuracy"], "bright": ["accuracy", "mae"]},
        weighted_metrics={"kind": ["accuracy"], "bright": []},
    )
    weights = {"kind": np.linspace(0, 2, SAMPLES).astype(np.float32), "bright": np.ones(SAMPLES, np.float32)}
    model.fit(
        IMAGES,
        {"kind": LABELS, "bright": BINARY},
        sample_weight=weights,
        batch_size=BATCH,
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    )


@program()
def test_activity_and_weight_regularizers_and_a_loss_that_a_layer_adds(callbacks):
    class Sparse(layers.Layer):
        def call(self, x):
            self.add_loss(1e-2 * ops.sum(ops.abs(x)))
            return x

    x = inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 3, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L1(1e-2))(x)
    model = keras.Model(inputs, layers.Dense(1, bias_regularizer="l1")(layers.Flatten()(Sparse()(x))))
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(IMAGES, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_fine_tuning_a_frozen_base_and_then_all_of_it(callbacks):
    base = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(3, 3, name="features"),
            layers.BatchNormalization(name="norm"),
        ],
        name="base",
    )
    base.trainable = False
    inputs = keras.Input((4, 4, 1))
    x = layers.GlobalAveragePooling2D()(base(inputs, training=False))
    model = keras.Model(inputs, layers.Dense(1, name="top")(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=[keras.metrics.BinaryAccuracy()])
    model.fit(IMAGES, BINARY, batch_size=BATCH, epochs=1, verbose=0, callbacks=callbacks)
    base.trainable = True
    model.compile(keras.optimizers.SGD(0.01), loss, metrics=[keras.metrics.BinaryAccuracy()])
    model.fit(IMAGES, BINARY, batch_size=BATCH, epochs=1, verbose=0, callbacks=callbacks)
