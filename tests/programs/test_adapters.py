"""Models of which a part is frozen: adapters, quantized layers, heads on a fixed base."""

import keras
import numpy as np
from data import BATCH, BINARY, LABELS, TABLE, TOKENS
from harness import program
from keras import layers


def _network():
    inputs = keras.Input((5,))
    x = layers.Dense(6, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="out")(x))


@program()
def test_lora_on_dense_layers_and_an_embedding(callbacks):
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, name="words")(inputs)
    x = layers.Dense(4, activation="relu", name="hidden")(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, layers.Dense(3, name="out")(x))
    for name in ("words", "hidden"):
        model.get_layer(name).enable_lora(rank=2)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(TOKENS, LABELS, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_adapters_on_a_quantized_base(callbacks):
    model = _network()
    model.get_layer("hidden").quantize("int8")
    model.get_layer("hidden").enable_lora(rank=2)
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    model.fit(TABLE, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_quantization_aware_training(callbacks):
    class FakeQuantized(layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.quantization.fake_quant_with_min_max_args(x, -4.0, 4.0, num_bits=8)

    inputs = keras.Input((5,))
    x = FakeQuantized()(layers.Dense(4, activation="relu", name="hidden")(inputs))
    model = keras.Model(inputs, FakeQuantized()(layers.Dense(1, name="out")(x)))
    model.compile("sgd", "mse")
    model.fit(TABLE, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_head_on_a_frozen_base(callbacks):
    model = _network()
    model.get_layer("hidden").trainable = False
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(TABLE, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_heads_trained_one_after_the_other(callbacks):
    # Recompiled between the fits, with other things trainable, and another optimizer.
    model = _network()
    for frozen, optimizer in (("hidden", "adam"), ("out", "sgd")):
        for layer in model.layers:
            layer.trainable = layer.name != frozen
        model.compile(optimizer, "binary_crossentropy")
        model.fit(TABLE, BINARY, batch_size=7, epochs=1, verbose=0, callbacks=callbacks)


@program()
def test_weights_shared_by_two_towers(callbacks):
    shared = layers.Dense(3, activation="tanh", name="shared")
    some, others = keras.Input((5,)), keras.Input((5,))
    x = layers.Subtract()([shared(some), shared(others)])
    model = keras.Model([some, others], layers.Dense(1, activation="sigmoid", name="same")(x))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(
        [TABLE, np.roll(TABLE, 1, 0)], BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks
    )


@program()
def test_spectral_normalization_and_a_batch_normalization_that_is_frozen(callbacks):
    x = inputs = keras.Input((5,))
    x = layers.SpectralNormalization(layers.Dense(4, name="dense"), name="spectral")(x)
    frozen = layers.BatchNormalization(name="frozen")
    frozen.trainable = False
    model = keras.Model(inputs, layers.Dense(1, name="out")(frozen(x)))
    model.compile("sgd", "mse")
    model.fit(TABLE, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)
