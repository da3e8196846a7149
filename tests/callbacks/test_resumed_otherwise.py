"""A run that is gone on with: other weights, other samples than before are said; the same ones are not."""

import keras
import numpy as np
import pytest
from fits import digits, network
from tensorview_insitu.callbacks import (
    Activations,
    Biases,
    Explanations,
    GradientNorms,
    InSituRecorder,
    Kernels,
)

from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.verify import verify


def train(folder, model, *, quantities=None, first=0, epochs=2, resume=True, callbacks=()):
    x, y = digits()
    recorder = InSituRecorder(folder, quantities or [Kernels(), Biases()], resume=resume)
    options = {"verbose": 0, "shuffle": False, "batch_size": 32}
    model.fit(
        x[:96],
        y[:96],
        epochs=first + epochs,
        initial_epoch=first,
        callbacks=[recorder, *callbacks],
        **options,
    )


def said(folder):
    return [line for line in Run.open(folder).identity["missing"] if "gone on with" in line]


def reloaded(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def test_restored_weights_go_on_without_a_word(tmp_path):
    model = network()
    train(tmp_path / "run", model)
    train(tmp_path / "run", reloaded(model, tmp_path), first=2)
    assert Run.open(tmp_path / "run").identity["missing"] == []


@pytest.mark.parametrize("seed", [1, 5])
def test_weights_that_were_not_restored_are_said(seed, tmp_path):
    train(tmp_path / "run", network())
    train(tmp_path / "run", network(seed=seed), first=2)
    assert len(said(tmp_path / "run")) == 1
    assert (
        "after step 6, but not from the weights that it had then: conv1/kernel" in said(tmp_path / "run")[0]
    )


def test_one_variable_that_is_another_is_named_alone(tmp_path):
    model = network()
    train(tmp_path / "run", model)
    model = reloaded(model, tmp_path)
    kernel = model.get_layer("conv1").kernel
    kernel.assign(np.nextafter(keras.ops.convert_to_numpy(kernel), np.float32(9)))
    train(tmp_path / "run", model, first=2)
    assert "then: conv1/kernel were set" in said(tmp_path / "run")[0]


class Dies(keras.callbacks.Callback):
    """In the second batch of an epoch, as a job that is killed."""

    def __init__(self, epoch):
        super().__init__()
        self.dies_in, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.dies_in and batch == 1:
            raise KeyboardInterrupt


def broken_off(folder):
    """A run of four epochs and two steps, whose state at the end of the fourth is kept for the next fit."""
    options = {
        "callbacks": [Dies(4), keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=False)]
    }
    with pytest.raises(KeyboardInterrupt):
        train(folder / "run", network(), epochs=6, **options)


def test_a_training_that_begins_an_epoch_again_leaves_steps_that_led_to_nothing(tmp_path):
    broken_off(tmp_path)
    restore = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    train(tmp_path / "run", network(), epochs=6, callbacks=[restore])
    assert said(tmp_path / "run") == [
        "the run is gone on with from the weights after step 12: step 13 is recorded, "
        "but what follows does not come from there, if they moved any weight"
    ]


def test_of_steps_without_a_snapshot_it_is_said_what_is_not_known(tmp_path):
    broken_off(tmp_path)
    train(tmp_path / "run", network(seed=5), first=4)
    assert "after step 13, of which it holds no weights" in said(tmp_path / "run")[0]
    assert said(tmp_path / "run")[0].endswith("They are not those after step 12")


def test_what_was_recorded_in_half_precision_is_compared_in_it(tmp_path):
    model = network()
    train(tmp_path / "run", model, quantities=[Kernels(precision="float16")])
    train(tmp_path / "run", reloaded(model, tmp_path), first=2, quantities=[Kernels(precision="float16")])
    assert not said(tmp_path / "run")


def probes():
    x, y = digits()
    return {
        "same": Activations(x[:4]),
        "seldom": Activations(x[:4], every=2),
        "others": Activations(x[4:8]),
        "fewer": Activations(x[:3]),
        "reordered": Activations(x[3::-1]),
    }


@pytest.mark.parametrize("name", probes())
def test_activations_of_other_samples_are_said(name, tmp_path):
    model = network()
    train(tmp_path / "run", model, quantities=[probes()["same"]])
    train(tmp_path / "run", model, quantities=[probes()[name]], first=2)
    problems = [m for m in Run.open(tmp_path / "run").identity["missing"] if m.startswith("Activations: ")]
    assert bool(problems) == (name in ("others", "fewer", "reordered"))
    if problems:
        assert "others than before step 6" in problems[0]


def explanations():
    x, y = digits()
    return {
        "same": Explanations("grad_cam", x[:2], target=y[:2]),
        "class": Explanations("grad_cam", x[:2], target=y[2:4]),
        "probe": Explanations("grad_cam", x[2:4], target=y[:2]),
        "mask": Explanations("grad_cam", x[:2], target=y[:2], mask=np.eye(8)),
        "method": Explanations("saliency", x[:2], target=y[:2], name="grad_cam"),
    }


@pytest.mark.parametrize("name", explanations())
def test_explanations_of_something_else_are_said(name, tmp_path):
    model = network()
    train(tmp_path / "run", model, quantities=[explanations()["same"]])
    train(tmp_path / "run", model, quantities=[explanations()[name]], first=2)
    problems = [m for m in Run.open(tmp_path / "run").identity["missing"] if "samples or settings" in m]
    assert bool(problems) == (name != "same")


def unnamed(seed=0, built=True):
    keras.utils.set_random_seed(seed)
    inputs = [keras.Input((8, 8, 1))] if built else []
    layers = [keras.layers.Conv2D(3, 3), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential([*inputs, *layers])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_another_model_whose_layers_have_other_names_is_said(tmp_path):
    train(tmp_path / "run", unnamed())
    train(tmp_path / "run", unnamed(), first=2)
    assert "by another model, or other variables are recorded: none of conv2d" in said(tmp_path / "run")[0]


def test_of_a_model_that_its_first_batch_builds_nothing_is_known(tmp_path):
    train(tmp_path / "run", unnamed(built=False))
    train(tmp_path / "run", unnamed(built=False), first=2)
    assert "by a model that its first batch builds" in said(tmp_path / "run")[0]


def frozen_base(seed=0):
    model = network(seed=seed)
    model.get_layer("conv1").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_a_frozen_kernel_that_was_not_restored_is_said(tmp_path):
    model = frozen_base()
    train(tmp_path / "run", model)
    model = reloaded(model, tmp_path)
    model.get_layer("conv1").kernel.assign(np.ones((3, 3, 1, 8)))
    train(tmp_path / "run", model, first=2)
    assert "then: conv1/kernel were set" in said(tmp_path / "run")[0]


def test_a_frozen_kernel_alone_raises_no_doubt(tmp_path):
    model = frozen_base()
    train(tmp_path / "run", model, quantities=[Kernels(layers=["conv1"])])
    train(tmp_path / "run", reloaded(model, tmp_path), first=2, quantities=[Kernels(layers=["conv1"])])
    assert not said(tmp_path / "run")


def test_fewer_digits_than_before_are_no_other_weights(tmp_path):
    model = network()
    train(tmp_path / "run", model, quantities=[Kernels()])
    train(tmp_path / "run", reloaded(model, tmp_path), first=2, quantities=[Kernels(precision="float16")])
    assert not said(tmp_path / "run")


def test_the_same_numbers_in_another_type_are_the_same_samples(tmp_path):
    x, y = digits()
    model = network()
    one = [Activations(x[:2]), Explanations("grad_cam", x[:2], target=[1, 2])]
    other = [Activations(x[:2].astype(np.float64)), Explanations("grad_cam", x[:2], target=np.array([1, 2]))]
    train(tmp_path / "run", model, quantities=one)
    train(tmp_path / "run", model, first=2, quantities=other)
    assert not [m for m in Run.open(tmp_path / "run").identity["missing"] if "samples or settings" in m]


def test_epochs_go_on_in_a_run_without_metrics(tmp_path):
    model = network()
    train(tmp_path / "run", model, quantities=[GradientNorms(), Kernels()])
    train(tmp_path / "run", model, quantities=[GradientNorms(), Kernels()])
    run = Run.open(tmp_path / "run")
    assert list(run.steps()["epoch"]) == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert list(run.variable("conv1", "kernel").epochs) == [0, 1, 2, 3, 4]


def test_predictions_go_on_where_they_ended(tmp_path):
    x, _ = digits()
    model = network()
    for part in (x[:5], x[5:12]):
        recorder = InSituRecorder(tmp_path / "run", [Activations(x[:1])], resume=True)
        model.predict(part, verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    assert list(run.predictions().steps) == list(range(1, 13))
    np.testing.assert_allclose(run.predictions().values, model.predict(x[:12], verbose=0), rtol=1e-5)
    assert verify(tmp_path / "run").problems == []


def test_what_is_evaluated_afterwards_does_not_change_what_is_said_of_the_training(tmp_path):
    x, y = digits()
    model, recorder = network(), InSituRecorder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        model.fit(x[:96], y[:96], epochs=2, verbose=0, batch_size=32, callbacks=[recorder, Dies(1)])
    before = Run.open(tmp_path / "run").identity
    model.evaluate(x[:32], y[:32], verbose=0, callbacks=[recorder])
    after = Run.open(tmp_path / "run").identity
    assert after["status"] == "interrupted"
    for key, value in {"steps_per_epoch": 3, "planned_epochs": 2}.items():
        assert after[key] == before[key] == value
