"""Several fits of one recorder: what others did between them is not taken for training; epochs go on."""

import keras
import numpy as np
import pytest
from fits import digits, network
from tensorview_insitu.callbacks import InSituRecorder, Kernels, Metrics

from tensorview_insitu.run.reader import Run


def train(model, callbacks, **options):
    x, y = digits()
    settings = {"epochs": 2, "verbose": 0, "shuffle": False, "batch_size": 32} | options
    return model.fit(x[:96], y[:96], callbacks=callbacks, **settings)


def nothing(model):
    return model


def another_model(model):
    return network(seed=5)


def sets_weights(model):
    kernel = model.get_layer("conv1").kernel
    kernel.assign(2.0 * kernel)
    return model


def trains(model):
    train(model, [], epochs=1)
    return model


@pytest.mark.parametrize("between", [nothing, another_model, sets_weights, trains], ids=lambda f: f.__name__)
def test_what_is_set_between_two_fits_is_said(between, tmp_path):
    recorder, model = InSituRecorder(tmp_path / "run"), network()
    train(model, [recorder])
    train(between(model), [recorder])
    missing = [m for m in Run.open(tmp_path / "run").identity["missing"] if "were set by something else" in m]
    assert bool(missing) == (between is not nothing)
    if missing:
        assert missing[0].startswith("between step 6 and the next, of another fit, conv1/kernel")


class Breaks(keras.callbacks.Callback):
    """Ctrl-C in the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("initial", [0, 1])
@pytest.mark.parametrize("same", [True, False])
def test_an_epoch_that_broke_off_is_done_again_under_its_number(same, initial, tmp_path):
    recorder, model = InSituRecorder(tmp_path / "run", [Metrics(), Kernels()]), network()
    with pytest.raises(KeyboardInterrupt):
        train(model, [recorder, Breaks()], epochs=3)
    again = recorder if same else InSituRecorder(tmp_path / "run", [Metrics(), Kernels()], resume=True)
    train(model, [again], epochs=3, initial_epoch=initial)
    run = Run.open(tmp_path / "run")
    epochs = [1, 2, 3] if initial else [1, 2, 3, 4]
    assert list(run.scalars("epoch")["epoch"]) == epochs
    np.testing.assert_array_equal(run.variable("conv1", "kernel").epochs, [0, *epochs])


@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize("steps", [None, 3])
def test_data_that_end_lose_no_batch(steps, tmp_path):
    x, y = digits()

    def batches():
        for at in range(0, 128, 32):
            yield x[at : at + 32], y[at : at + 32]

    ended = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ended.append(batch))
    recorder = InSituRecorder(tmp_path / "run")
    options = {"epochs": 2, "steps_per_epoch": steps} if steps else {"epochs": 1}
    network().fit(batches(), verbose=0, shuffle=False, callbacks=[count, recorder], **options)
    run = Run.open(tmp_path / "run")
    assert len(run.scalars("batch")) == len(ended) == 4 and run.identity["missing"] == []


@pytest.mark.parametrize("eager", [False, True])
def test_a_number_made_of_a_metric_that_the_first_step_builds_runs_on_from_its_first_row(eager, tmp_path):
    class Errors(keras.Model):
        def __init__(self):
            super().__init__()
            self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")

        def call(self, x):
            return self.dense(self.flat(x))

        def train_step(self, data):
            logs = super().train_step(data)
            logs["error"] = 1 - logs["accuracy"]
            return logs

    model = Errors()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
    history = train(model, [InSituRecorder(tmp_path / "run")], epochs=1).history
    run = Run.open(tmp_path / "run")
    batches = run.scalars("batch")
    assert "error" not in batches and batches["running/error"].notna().all()
    np.testing.assert_allclose(batches["running/error"].iloc[-1], history["error"][0], rtol=1e-6)
    assert run.untrusted("scalars/epoch") == {}
