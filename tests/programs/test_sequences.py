"""Texts and series: recurrent networks, translation, transformers, a language model with its perplexity."""

import keras
import numpy as np
from data import BATCH, BINARY, LABELS, SAMPLES, SERIES, TARGET, TOKENS
from harness import program
from keras import layers, ops


@program()
def test_stacked_lstm_that_forecasts(callbacks):
    model = keras.Sequential(
        [
            keras.Input((6, 2)),
            layers.LSTM(3, return_sequences=True, name="first"),
            layers.LSTM(2, dropout=0.1, seed=1, name="second"),
            layers.Dense(1, name="forecast"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse", metrics=["mae"])
    model.fit(SERIES, TARGET, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)


@program()
def test_bidirectional_gru_over_masked_tokens(callbacks):
    tokens = TOKENS.copy()
    tokens[::3, 4:] = 0  # padding
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(9, 3, mask_zero=True, name="words"),
            layers.Bidirectional(layers.GRU(2, name="gru"), name="both"),
            layers.Dense(1, activation="sigmoid", name="kind"),
        ]
    )
    model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    model.fit(tokens, BINARY, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_sequence_to_sequence_with_teacher_forcing(callbacks):
    one_hot = np.eye(9, dtype=np.float32)[TOKENS]
    encoder_inputs, decoder_inputs = keras.Input((None, 9)), keras.Input((None, 9))
    _, *states = layers.LSTM(3, return_state=True, name="encoder")(encoder_inputs)
    decoded, *_ = layers.LSTM(3, return_sequences=True, return_state=True, name="decoder")(
        decoder_inputs, initial_state=states
    )
    outputs = layers.Dense(9, activation="softmax", name="letters")(decoded)
    model = keras.Model([encoder_inputs, decoder_inputs], outputs)
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    target = np.roll(one_hot, -1, axis=1)
    weights = np.ones((SAMPLES, 6), np.float32)
    weights[:, -1] = 0  # one weight for every time step
    model.fit(
        [one_hot[:, ::-1].copy(), one_hot],
        target,
        sample_weight=weights,
        batch_size=BATCH,
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    )


class TransformerBlock(layers.Layer):
    def __init__(self, width, causal=False, **options):
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(1, width, name="attention")
        self.forward = layers.Dense(width, activation="relu", name="forward")
        self.first, self.second = layers.LayerNormalization(), layers.LayerNormalization()
        self.causal = causal

    def build(self, shape):
        self.attention.build(shape, shape)
        for layer in (self.forward, self.first, self.second):
            layer.build(shape)

    def call(self, x):
        x = self.first(x + self.attention(x, x, use_causal_mask=self.causal))
        return self.second(x + self.forward(x))


class Positions(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.tokens = layers.Embedding(9, 4, name="tokens")
        self.places = layers.Embedding(6, 4, name="places")

    def build(self, shape):
        self.tokens.build(shape)
        self.places.build((None,))

    def call(self, x):
        return self.tokens(x) + self.places(ops.arange(ops.shape(x)[-1]))


@program()
def test_transformer_classifier(callbacks):
    inputs = keras.Input((6,), dtype="int32")
    x = TransformerBlock(4, name="block")(Positions(name="embedded")(inputs))
    outputs = layers.Dense(3, activation="softmax", name="classes")(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        TOKENS,
        LABELS,
        batch_size=BATCH,
        epochs=2,
        validation_data=(TOKENS, LABELS),
        verbose=0,
        callbacks=callbacks,
    )


class Perplexity(keras.metrics.Mean):
    """exp of the mean loss: a result of its own on top of Mean's sums."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        losses = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        return super().update_state(losses, sample_weight)

    def result(self):
        return ops.exp(super().result())


@program()
def test_language_model_with_its_perplexity(callbacks):
    inputs = keras.Input((5,), dtype="int32")
    x = TransformerBlock(4, causal=True, name="block")(Positions(name="embedded")(inputs))
    model = keras.Model(inputs, layers.Dense(9, name="next")(x))
    warm = keras.optimizers.schedules.CosineDecay(0.0, 6, warmup_target=1e-2, warmup_steps=3)
    model.compile(
        optimizer=keras.optimizers.AdamW(warm, global_clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[Perplexity(name="perplexity"), "accuracy"],
    )
    model.fit(TOKENS[:, :-1], TOKENS[:, 1:], batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_temporal_convolutions_with_a_loss_and_metric_of_the_users(callbacks):
    def log_cosh(y_true, y_pred):
        return ops.mean(ops.log(ops.cosh(y_pred - y_true)), axis=-1)

    def within_one(y_true, y_pred):
        return ops.cast(ops.abs(y_true - y_pred) < 1, "float32")

    x = inputs = keras.Input((6, 2))
    for rate in (1, 2):
        x = layers.Conv1D(3, 2, padding="causal", dilation_rate=rate, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalMaxPooling1D()(x)))
    model.compile(keras.optimizers.Adagrad(0.05), log_cosh, metrics=[within_one, "cosine_similarity"])
    model.fit(SERIES, TARGET, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)
