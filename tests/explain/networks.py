"""Keras models of every kind, with random weights and no ReLU that is always shut."""

import keras
import numpy as np
from keras import layers

CLASSES = 3


def images(shape, count=4, seed=0):
    return np.random.default_rng(seed).random((count, *shape)).astype(np.float32)


def small(shape=(20, 24, 3), *, fused=True, pool=layers.MaxPooling2D, kernel=3, strides=1):
    """Two convolutions, the usual way."""
    keras.utils.set_random_seed(1)
    image = keras.Input(shape, name="image")
    x = layers.Conv2D(6, kernel, activation="relu", name="conv1", bias_initializer="random_normal")(image)
    x = pool(2, name="pool1")(x)
    x = layers.Conv2D(8, kernel, strides=strides, activation="relu", padding="same", name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(CLASSES, activation="softmax" if fused else None, name="answer")(x)
    return keras.Model(image, x if fused else layers.Softmax(name="softmax")(x))


def flat_and_nested(shape=(20, 24, 3)):
    """The same layers as one model, and as a model in a model in a model."""
    keras.utils.set_random_seed(2)
    conv1 = layers.Conv2D(6, 3, activation="relu", name="conv1")
    norm = layers.BatchNormalization(
        name="norm", moving_variance_initializer=keras.initializers.Constant(0.7)
    )
    branches = [layers.Conv2D(5, n, padding="same", activation="relu", name=f"branch{n}") for n in (1, 3)]
    mixed = layers.Concatenate(name="mixed")
    head = layers.Dense(CLASSES, activation="softmax", name="answer")

    def inner(x):
        return norm(conv1(x))

    def outer(x):
        return mixed([branch(x) for branch in branches])

    image = keras.Input(shape)
    flat = keras.Model(image, head(layers.GlobalAveragePooling2D()(outer(inner(image)))))
    inside = keras.Input(shape)
    stem = keras.Model(inside, inner(inside), name="stem")
    inside = keras.Input(shape)
    base = keras.Model(inside, outer(stem(inside)), name="base")
    image = keras.Input(shape)
    nested = keras.Model(image, head(layers.GlobalAveragePooling2D()(base(image))))
    return flat, nested


class Subclassed(keras.Model):
    """Layers in a list, one of them used twice, a softmax from `keras.ops`."""

    def __init__(self):
        super().__init__()
        self.stem = layers.Conv2D(8, 3, activation="relu", name="stem")
        self.blocks = [
            layers.Conv2D(8, 3, padding="same", activation="relu", name=f"block{i}") for i in (0, 1)
        ]
        self.answer = layers.Dense(CLASSES, name="answer")

    def call(self, images, training=False):
        x = self.stem(images)
        for block in self.blocks:
            x = block(block(x))
        return keras.ops.softmax(self.answer(keras.ops.mean(x, (1, 2))))


def sequential(shape=(20, 24, 3)):
    """A Sequential model around another one, with a single sigmoid unit."""
    keras.utils.set_random_seed(3)
    base = keras.Sequential(
        [keras.Input(shape), layers.Conv2D(6, 4, strides=2, activation="relu", name="conv")], name="base"
    )
    return keras.Sequential([base, layers.Flatten(), layers.Dense(1, activation="sigmoid", name="answer")])


def volume(shape=(8, 10, 12, 1)):
    """3-D convolutions."""
    keras.utils.set_random_seed(4)
    image = keras.Input(shape)
    x = layers.Conv3D(4, 3, activation="relu", name="conv1")(image)
    x = layers.Conv3D(5, 2, activation="relu", name="conv2")(x)
    return keras.Model(image, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling3D()(x)))


def segmenting(shape=(16, 16, 1)):
    """A picture as answer, by way of smaller maps."""
    keras.utils.set_random_seed(5)
    image = keras.Input(shape)
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="down")(image)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="middle")(x)
    x = layers.Conv2DTranspose(6, 2, strides=2, activation="relu", name="up")(x)
    return keras.Model(image, layers.Conv2D(2, 1, activation="softmax", name="answer")(x))


def siamese(shape=(20, 24, 1)):
    """One sub-model called for two images."""
    keras.utils.set_random_seed(6)
    inside = keras.Input(shape)
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(inside)
    base = keras.Model(inside, layers.GlobalAveragePooling2D()(x), name="base")
    one, other = keras.Input(shape, name="one"), keras.Input(shape, name="other")
    both = layers.Concatenate()([base(one), base(other)])
    return keras.Model([one, other], layers.Dense(2, activation="softmax")(both))
