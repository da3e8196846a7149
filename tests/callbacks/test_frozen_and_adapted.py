"""What is trained is recorded; what nobody trains once, and again when it changed; the rest is told."""

import json

import keras
import numpy as np
import pytest
from fits import fit, network
from keras import layers
from tensorview_insitu.callbacks import (
    Biases,
    GradientNorms,
    Histogram,
    InSituRecorder,
    Kernels,
    Metrics,
    Normalization,
    Statistics,
)

from tensorview_insitu.cli.main import main
from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import read_index
from tensorview_insitu.run.reader import Run

KINDS = ["attention/query", "attention/attention_output", "lstm/lstm_cell", "classes"]
FROZEN = "not trained: recorded before training, and again only when it changed"


def transferred(kind="functional"):
    """A network of which only the last layer is trained."""
    model = network(kind)
    for layer in model._flatten_layers(include_self=False):
        layer.trainable = layer.name == "classes"
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


EVERYTHING = [Metrics(), GradientNorms(), Kernels(), Biases(), Normalization()]


@pytest.mark.parametrize("kind", ["functional", "sequential without input", "subclassed"])
def test_a_frozen_base_is_recorded_once_and_the_head_at_every_epoch(kind, tmp_path):
    model = transferred(kind)
    fit(model, [InSituRecorder(tmp_path / "run", EVERYTHING)], epochs=3)
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == []
    for layer, variable in run.variables():
        snapshots = run.variable(layer, variable)
        assert list(snapshots.steps) == ([0, 13, 26, 39] if layer == "classes" else [0]), (layer, variable)
        ours = {v.name: v.numpy() for v in model.get_layer(layer).weights} if kind != "subclassed" else None
        if ours is not None:
            np.testing.assert_array_equal(snapshots.values[-1], ours[variable])
    assert len(run.variables()) == 10
    left = run.identity["left_out"]
    assert {path for path, why in left.items() if why == FROZEN} == {
        f"{layer}/{variable}" for layer, variable in run.variables() if layer != "classes"
    }
    assert left["dropout/seed_generator_state"] == "the state of a random generator"
    index = read_index(export_run(run).parent)
    assert {layer["name"] for layer in index["layers"]} == {"conv1", "norm", "conv2", "classes"}
    assert index["network"] is not None and index["health"]


@pytest.mark.parametrize("reduction", [None, Statistics(), Histogram(4)])
@pytest.mark.parametrize("every", ["epoch", "batch"])
def test_what_nobody_trains_and_still_changes_is_recorded_when_it_did(every, reduction, tmp_path):
    """A teacher: its weights follow those of the student, and no optimizer knows them."""
    model = transferred()
    teacher = model.get_layer("conv1").kernel

    class Follow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch in (1, 2):
                teacher.assign(teacher * 0.5)

    # Before the recorder: the snapshot at the epoch's end has what the teacher then is.
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Kernels(every, reduction=reduction)])
    first = teacher.numpy()
    fit(model, [Follow(), recorder], epochs=4)
    run = Run.open(tmp_path / "run")
    if reduction is None:
        found = run.variable("conv1", "kernel")
        np.testing.assert_array_equal(found.values, np.stack([first, first / 2, first / 4]))
    elif isinstance(reduction, Statistics):
        found = run.statistics("conv1", "kernel")
    else:  # the counts stay; the edges do not
        found, _ = run.histogram("conv1", "kernel")
        assert list(found.steps) == [0]
        return
    assert list(found.steps) == [0, 26, 39]


def test_a_layer_that_is_unfrozen_between_fits_is_recorded_from_where_it_was(tmp_path):
    model = transferred()
    recorder = InSituRecorder(
        tmp_path / "run", [Metrics(), Kernels(), Kernels("batch", reduction=Statistics())]
    )
    fit(model, [recorder])
    before = model.get_layer("conv2").kernel.numpy()
    model.get_layer("conv2").trainable = True
    model.compile("adam", "sparse_categorical_crossentropy")
    fit(model, [recorder], epochs=1)
    model.get_layer("conv2").trainable = False
    model.get_layer("classes").trainable = True
    model.compile("adam", "sparse_categorical_crossentropy")
    fit(model, [recorder], epochs=2)
    run = Run.open(tmp_path / "run")
    snapshots = run.variable("conv2", "kernel")
    # 26: as it was when it was thawed; 39: trained; 52: frozen again, and told once more.
    assert list(snapshots.steps) == [0, 26, 39, 52]
    np.testing.assert_array_equal(snapshots.values[1], before)
    np.testing.assert_array_equal(snapshots.values[0], snapshots.values[1])
    np.testing.assert_array_equal(snapshots.values[2], snapshots.values[3])
    assert np.abs(snapshots.values[2] - before).max() > 0
    assert list(run.variable("conv1", "kernel").steps) == [0]
    by_batch = run.statistics("conv2", "kernel")
    assert list(by_batch.steps)[:3] == [0, 26, 27] and np.all(np.diff(by_batch.steps) >= 0)


def adapted():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(200, activation="relu", name="wide")(x)
    x = layers.EinsumDense("ab,bc->ac", 20, name="einsum")(x)
    model = keras.Model(image, layers.Dense(10, activation="softmax", name="classes")(x))
    for name in ("conv", "wide", "einsum"):
        model.get_layer(name).enable_lora(2)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_of_adapted_layers_what_is_trained_is_recorded_and_the_kernel_as_it_is_stored(tmp_path):
    model = adapted()
    fit(model, [InSituRecorder(tmp_path / "run")], epochs=2)
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == []
    for name in ("conv", "wide", "einsum"):
        weights = {v.name: v.numpy() for v in model.get_layer(name).weights}
        for part, dims in (("a", ("channel", "rank")), ("b", ("rank", "filter"))):
            found = run.variable(name, f"lora_kernel_{part}")
            assert list(found.steps) == [0, 13, 26] and found.dims[-2:] == dims
            np.testing.assert_array_equal(found.values[-1], weights[f"lora_kernel_{part}"])
        assert np.abs(run.variable(name, "lora_kernel_b").values[0]).max() == 0
    for name in ("conv", "einsum"):
        kernel = run.variable(name, "kernel")
        stored = next(v for v in model.get_layer(name).weights if v.name == "kernel").numpy()
        assert list(kernel.steps) == [0]
        np.testing.assert_array_equal(kernel.values[0], stored)
        # Not what Keras calls `kernel`, in which the adapter is: that was never a variable.
        assert np.abs(np.asarray(keras.ops.convert_to_numpy(model.get_layer(name).kernel)) - stored).max() > 0
    left = run.identity["left_out"]
    assert left["wide/kernel"] == "a kernel of more than 16,384 weights: Kernels(layers=[...]) records it"
    assert left["conv/kernel"] == FROZEN
    export_run(run)


def test_a_quantized_kernel_is_told_as_left_out_and_its_adapter_recorded(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16, name="eight"),
            layers.Dense(10, name="last"),
        ]
    )
    model.get_layer("eight").quantize("int8")
    model.get_layer("eight").enable_lora(2)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit(model, [InSituRecorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == []
    assert ("eight", "kernel") not in run.variables()
    assert run.identity["left_out"]["eight/kernel"].startswith("quantized: its integers are no weights")
    assert list(run.variable("eight", "lora_kernel_a").steps) == [0, 13, 26]


def test_info_tells_which_variables_were_left_out_and_why(tmp_path, capsys):
    fit(network(), [InSituRecorder(tmp_path / "run", [Metrics(), Kernels(layers=["conv1"])])], epochs=1)
    assert main(["info", str(tmp_path / "run")]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert told[0] == ("  left out    conv1/bias: no quantity that was given records it")
    assert any("and 5 more: of a layer that was not named" in line for line in told)
    assert main(["info", str(tmp_path / "run"), "--json"]) == 0
    left = json.loads(capsys.readouterr().out)["left_out"]
    assert left["classes/kernel"] == "of a layer that was not named" and "conv1/kernel" not in left


def test_every_variable_of_a_model_is_recorded_or_told_as_left_out(tmp_path):
    image = keras.Input((8, 8, 1))
    x = layers.Reshape((8, 8))(image)
    x = layers.LSTM(6, name="lstm")(x)
    x = layers.Dropout(0.1)(layers.LayerNormalization(name="norm")(x))
    model = keras.Model(image, layers.Dense(10, activation="softmax", name="classes")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    fit(model, [InSituRecorder(tmp_path / "run")], epochs=1)
    run = Run.open(tmp_path / "run")
    named = {
        f"{layer['path']}/{variable}" for layer in run.identity["layers"] for variable in layer["variables"]
    }
    recorded = {f"{layer}/{variable}" for layer, variable in run.variables()}
    left = run.identity["left_out"]
    assert recorded | set(left) >= named and not recorded & set(left)
    assert "Kernels(layers=[...]) records it" in left["lstm/lstm_cell/kernel"]


def test_kernels_of_layers_of_any_kind_are_recorded_when_named_and_exported(tmp_path):
    """Of recurrent layers, and of attention: a kernel of three axes."""
    image = keras.Input((8, 8, 1))
    x = layers.Reshape((8, 8))(image)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.LSTM(6, name="lstm")(x)
    model = keras.Model(image, layers.Dense(10, activation="softmax", name="classes")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    fit(model, [InSituRecorder(tmp_path / "run", [Metrics(), Kernels(layers=KINDS)])], epochs=1)
    run = Run.open(tmp_path / "run")
    assert run.variable("attention/query", "kernel").dims == ("snapshot", "channel", "axis_1", "filter")
    index = read_index(export_run(run).parent)
    assert {layer["name"]: bool(layer["grids"]) for layer in index["layers"]} == dict.fromkeys(KINDS, True)
