"""Gradient norms of a large model at some steps: true where they are due, and the training is the same."""

import keras
import numpy as np
import pytest
from fits import digits
from tensorview_insitu.callbacks import GradientNorms, InSituRecorder, Metrics

from tensorview_insitu.run.reader import Run

WAYS = {
    "default": (lambda: keras.optimizers.SGD(0.05), {}),
    "eager": (lambda: keras.optimizers.SGD(0.05), {"run_eagerly": True}),
    "jit": (lambda: keras.optimizers.SGD(0.05), {"jit_compile": True}),
    "four at once": (lambda: keras.optimizers.SGD(0.05), {"steps_per_execution": 4}),
    "scaling optimizer": (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05)), {}),
}


def wide(units, optimizer, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu", name="wide"),
            keras.layers.Dense(units, activation="relu", name="wider"),
            keras.layers.Dense(10, activation="softmax", name="classes"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", **options)
    return model


def fitted(model, callbacks, epochs, batch=8):
    x, y = digits()
    model.fit(
        x[:104], y[:104], batch_size=batch, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks
    )
    return model.get_weights()


@pytest.mark.parametrize("way", WAYS)
def test_norms_that_are_due_now_and_then_are_those_of_every_batch(way, tmp_path):
    optimizer, options = WAYS[way]
    plain = fitted(wide(1024, optimizer(), **options), [], 3)
    every = InSituRecorder(tmp_path / "every", [Metrics(), GradientNorms("batch")])
    fitted(wide(1024, optimizer(), **options), [every], 3)
    some = InSituRecorder(tmp_path / "some", [Metrics(), GradientNorms(every=5)])
    model = wide(1024, optimizer(), **options)
    fitted(model, [some], 2)
    assert all(np.array_equal(a, b) for a, b in zip(plain, fitted(model, [some], 1), strict=True))

    expected, found = (Run.open(tmp_path / name).gradient_norms() for name in ("every", "some"))
    assert list(found["step"]) == [5, 10, 15, 20, 25, 30, 35]
    columns = [c for c in expected.columns if "/" in c]
    due = expected[expected["step"] % 5 == 0]
    np.testing.assert_allclose(found[columns], due[columns], rtol=1e-6)
    assert len(Run.open(tmp_path / "some").scalars("batch")) == 39


def test_of_ten_million_parameters_each_of_the_first_batches_and_then_every_tenth(tmp_path):
    fitted(wide(3200, keras.optimizers.SGD(0.05)), [InSituRecorder(tmp_path / "run")], 6)
    norms = Run.open(tmp_path / "run").gradient_norms()
    assert list(norms["step"]) == [*range(1, 51), 60, 70]
    assert np.isfinite(norms.to_numpy()).all()
