"""Every quantity, on every kind of layer and model, holds what NumPy gives for it."""

import logging

import keras
import numpy as np
import pytest
from fits import BATCH, SAMPLES, digits, fit, network
from keras import layers
from tensorview_insitu.callbacks import (
    Activations,
    Biases,
    Budget,
    Gradients,
    Histogram,
    InSituRecorder,
    Kernels,
    Metrics,
    Normalization,
    Statistics,
    UpdateNorms,
    every_epochs,
    first_then,
    log_spaced,
)

from tensorview_insitu.run.errors import NotInRunError
from tensorview_insitu.run.reader import Run


def zoo():
    """A layer of every kind, with kernels of odd and even sizes."""
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, (2, 3), padding="same", groups=2, name="grouped")(image)
    x = layers.DepthwiseConv2D((3, 2), depth_multiplier=2, padding="same", name="depthwise")(x)
    x = layers.SeparableConv2D(6, 3, padding="same", name="separable")(x)
    x = layers.Conv2DTranspose(5, 2, name="transposed")(x)
    x = layers.BatchNormalization(name="norm")(x)
    volume = layers.Conv3D(3, (1, 2, 2), name="volume")(layers.Reshape((9, 9, 5, 1))(x))
    line = layers.Conv1D(7, 4, name="line")(layers.Reshape((81, 5))(x))
    line = layers.DepthwiseConv1D(3, name="depthwise_line")(line)
    flat = layers.Concatenate()([layers.Flatten()(volume), layers.Flatten()(line)])
    model = keras.Model(image, layers.Dense(2, name="scores")(flat))
    model.compile("sgd", "mse")
    return model


def fit_zoo(callbacks):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = zoo()
    model.fit(rng.random((12, 8, 8, 2)), rng.random((12, 2)), batch_size=4, verbose=0, callbacks=callbacks)
    return model


KERNELS = {
    ("grouped", "kernel"): (("row", "column", "channel", "filter"), 4),
    ("depthwise", "kernel"): (("row", "column", "channel", "multiplier"), 3),
    ("separable", "depthwise_kernel"): (("row", "column", "channel", "multiplier"), 3),
    ("separable", "pointwise_kernel"): (("row", "column", "channel", "filter"), 4),
    ("transposed", "kernel"): (("row", "column", "filter", "channel"), 3),
    ("volume", "kernel"): (("depth", "row", "column", "channel", "filter"), 5),
    ("line", "kernel"): (("position", "channel", "filter"), 3),
    ("depthwise_line", "kernel"): (("position", "channel", "multiplier"), 2),
    ("scores", "kernel"): (("channel", "filter"), 2),
}


def test_kernels_of_every_kind_have_their_values_and_the_names_of_their_axes(tmp_path):
    model = fit_zoo([InSituRecorder(tmp_path / "run", [Kernels("batch")])])
    run = Run.open(tmp_path / "run")
    assert set(run.variables()) == set(KERNELS)
    for (layer, variable), (dims, filter_axis) in KERNELS.items():
        snapshots = run.variable(layer, variable)
        assert snapshots.dims == ("snapshot", *dims) and snapshots.filter_axis == filter_axis
        weights = {v.name: v.numpy() for v in model.get_layer(layer).weights}
        assert np.array_equal(snapshots.values[-1], weights[variable])


def test_normalization_records_what_it_learns_and_keeps(tmp_path):
    model = fit_zoo([InSituRecorder(tmp_path / "run", [Normalization()])])
    run = Run.open(tmp_path / "run")
    assert run.variables() == [("norm", v) for v in ("gamma", "beta", "moving_mean", "moving_variance")]
    for name in ("gamma", "moving_variance"):
        assert np.array_equal(run.variable("norm", name).values[-1], getattr(model.get_layer("norm"), name))


@pytest.mark.parametrize("every", ["epoch", "batch"])
def test_statistics_and_histograms_are_those_of_numpy(every, tmp_path):
    quantities = [
        Kernels(every),
        Kernels(every, reduction=Statistics()),
        Biases(every, reduction=Histogram(5)),
        Metrics(),
    ]
    fit_zoo([InSituRecorder(tmp_path / "run", quantities)])
    run = Run.open(tmp_path / "run")
    for layer, variable in KERNELS:
        whole, found = run.variable(layer, variable), run.statistics(layer, variable)
        assert list(found.steps) == list(whole.steps)
        assert found.attributes["statistics"] == [
            "mean",
            "standard_deviation",
            "l2_norm",
            "minimum",
            "maximum",
        ]
        others = tuple(a for a in range(1, whole.values.ndim) if a != whole.filter_axis)
        values = whole.values.astype(np.float64)
        expected = [values.mean(others), values.std(others), np.sqrt((values**2).sum(others))]
        expected += [values.min(others), values.max(others)]
        np.testing.assert_allclose(found.values, np.stack(expected, 1), rtol=1e-4, atol=1e-6)
    counts, edges = run.histogram("grouped", "bias")
    assert counts.values.shape == (len(counts), 5) and edges.shape == (len(counts), 6)
    assert np.all(counts.values.sum(axis=1) == 4)


def test_a_histogram_counts_as_numpy_does_and_leaves_out_what_is_not_finite(tmp_path):
    from tensorview_insitu.callbacks.layers import LayerVariable

    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    values[:3] = np.nan, np.inf, -np.inf
    variable = keras.Variable(values)
    counts, limits = Histogram(20).pieces(LayerVariable("layer", "kernel", variable, ("filter",), 0))
    expected, edges = np.histogram(values[3:], 20)
    # A value on an edge may fall to either side of it in float32.
    assert np.abs(np.asarray(counts.value()) - expected).sum() <= 2
    np.testing.assert_allclose(np.asarray(limits.value()), edges[[0, -1]], rtol=1e-6)


def test_whole_gradients_have_the_norms_that_are_recorded_beside_them(tmp_path):
    from tensorview_insitu.callbacks import FilterGradientNorms, GradientNorms

    quantities = [GradientNorms(), Gradients(["conv1"], 5), FilterGradientNorms(first_then(2, 5), ["conv1"])]
    fit(network(), [InSituRecorder(tmp_path / "run", quantities)], epochs=1)
    run = Run.open(tmp_path / "run")
    whole = run.gradients("conv1", "kernel")
    assert list(whole.steps) == [5, 10] and whole.values.shape == (2, 3, 3, 1, 8)
    norms = run.gradient_norms().set_index("step")["conv1/kernel"]
    lengths = np.linalg.norm(whole.values.reshape(2, -1), axis=1)
    np.testing.assert_allclose(lengths, norms[[5, 10]], rtol=1e-5)
    by_filter = run.filter_gradient_norms("conv1")
    assert list(by_filter.steps) == [1, 2, 5, 10]
    np.testing.assert_allclose(
        by_filter.values[2:], np.linalg.norm(whole.values.reshape(2, 9, 8), axis=1), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        (first_then(3, 10), [0, 1, 2, 3, 10, 20]),
        (log_spaced(3), [0, 1, 2, 5, 10, 22]),
        (every_epochs(2), [0, 26]),
        (7, [0, 7, 14, 21]),
    ],
)
def test_schedules_keep_the_steps_they_name_inside_the_step_and_outside(every, steps, tmp_path):
    quantities = [Kernels(every, ["conv1"]), Metrics(every)]
    fit(network(), [InSituRecorder(tmp_path / "run", quantities)])
    run = Run.open(tmp_path / "run")
    assert list(run.variable("conv1", "kernel").steps) == steps
    assert list(run.scalars("batch")["step"]) == steps[1:]


def test_a_schedule_counts_the_steps_of_all_fits_together(tmp_path):
    recorder = InSituRecorder(tmp_path / "run", [Kernels(10, ["conv1"])])
    model = network()
    fit(model, [recorder], epochs=1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    fit(model, [recorder], epochs=1)
    assert list(Run.open(tmp_path / "run").variable("conv1", "kernel").steps) == [0, 10, 20]


def nested():
    """A transfer-learning model, in which a layer is called twice."""
    inner_input = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inner_input)
    base = keras.Model(inner_input, x, name="base")
    inputs = keras.Input((8, 8, 1))
    twice = layers.Conv2D(4, 3, padding="same", activation="relu", name="twice")
    x = twice(twice(base(inputs)))
    x = layers.Flatten(name="flatten")(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="classes")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("kind", ["functional", "sequential without input", "subclassed"])
def test_activations_are_what_the_layers_answer(kind, tmp_path):
    x, _ = digits()
    model = network(kind)
    plain = fit(network(kind), [])
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Activations(x[:5], maps=2)])
    history = fit(model, [recorder])
    assert history.history == plain.history
    run = Run.open(tmp_path / "run")
    assert run.activation_layers() == ["conv1", "norm", "conv2", "classes"]
    maps, statistics = run.activations("conv1"), run.activations("conv1", "statistics")
    # What is not built yet has no answers.
    assert list(maps.steps) == ([0, 13, 26] if kind == "functional" else [13, 26])
    assert maps.dims == ("snapshot", "sample", "row", "column", "filter")
    answers = np.asarray(model.get_layer("conv1")(x[:5]))
    np.testing.assert_allclose(maps.values[-1], answers[:2], rtol=1e-5, atol=1e-6)
    expected = [answers.mean((0, 1, 2)), answers.std((0, 1, 2))]
    np.testing.assert_allclose(statistics.values[-1, :2], expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(statistics.values[-1, 4], answers.max((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(
        run.activations("classes").values[-1], model.predict(x[:5], verbose=0)[:2], rtol=1e-5
    )


def test_activations_of_nested_and_shared_layers_have_their_path_and_their_call(tmp_path):
    x, y = digits()
    model = nested()
    model.fit(x[:64], y[:64], verbose=0, callbacks=[InSituRecorder(tmp_path / "run", [Activations(x[:2])])])
    run = Run.open(tmp_path / "run")
    assert run.activation_layers() == ["base/conv", "twice", "twice@2", "classes"]
    assert list(run.activations("twice").steps) == [0, 2]
    twice = model.get_layer("twice")
    once = np.asarray(twice(model.get_layer("base")(x[:2])))
    np.testing.assert_allclose(run.activations("twice").values[-1], once[:1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        run.activations("twice@2").values[-1], np.asarray(twice(once))[:1], rtol=1e-4, atol=1e-6
    )
    assert not any("call" in layer.__dict__ for layer in model._flatten_layers())


RECURRENT = {
    "lstm": (layers.LSTM, (5, 3), {"units": 4}),
    "gru": (layers.GRU, (5, 3), {"units": 4, "return_sequences": True}),
    "states": (layers.LSTM, (5, 3), {"units": 4, "return_state": True}),
    "simple": (layers.SimpleRNN, (5, 3), {"units": 4, "unroll": True}),
    "cells": (layers.RNN, (5, 3), {"cell": [layers.LSTMCell(3), layers.GRUCell(4)]}),
    "convolutional": (layers.ConvLSTM1D, (5, 6, 3), {"filters": 4, "kernel_size": 2}),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_layer_answers_as_one(kind, tmp_path):
    make, shape, settings = RECURRENT[kind]
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    answers = make(**settings, name="recurrent")(inputs)
    answers = answers[0] if kind == "states" else answers
    model = keras.Model(inputs, layers.Dense(1, name="out")(layers.Flatten()(answers)))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    recorder = InSituRecorder(tmp_path / "run", [Activations(x, maps=2)], strict=True)
    model.fit(x, np.zeros(6), verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    assert run.activation_layers() == ["recurrent", "out"]
    answers = np.asarray(keras.Model(inputs, answers)(x))
    np.testing.assert_allclose(run.activations("recurrent").values[-1], answers[:2], rtol=1e-4, atol=1e-6)
    mean = answers.reshape(-1, answers.shape[-1]).mean(axis=0)
    np.testing.assert_allclose(
        run.activations("recurrent", "statistics").values[-1, 0], mean, rtol=1e-4, atol=1e-6
    )
    assert list(run.dead_filters()["recurrent"]) == [0, 0]


def test_a_large_map_is_thinned_by_a_stride_that_is_told(tmp_path):
    inputs = keras.Input((100, 60, 3))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, name="conv")(inputs)))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).random((2, 100, 60, 3)).astype(np.float32)
    recorder = InSituRecorder(tmp_path / "run", [Activations(x, layers=["conv"], map_size=25)])
    model.fit(x, np.zeros((2, 4)), verbose=0, callbacks=[recorder])
    maps = Run.open(tmp_path / "run").activations("conv")
    assert maps.attributes["stride"] == 4 and maps.values.shape == (2, 1, 25, 15, 4)
    whole = np.asarray(model.get_layer("conv")(x[:1]))
    np.testing.assert_allclose(maps.values[-1], whole[:, ::4, ::4], rtol=1e-5, atol=1e-6)


def test_filters_that_are_zero_all_over_the_probe_are_counted_as_dead(tmp_path):
    x, _ = digits()
    model = network(dropout=0.0)
    kernel, bias = model.get_layer("conv1").get_weights()
    bias[:3] = -1e3
    model.get_layer("conv1").set_weights([kernel, bias])
    fit(model, [InSituRecorder(tmp_path / "run", [Activations(x[:8])])], epochs=1)
    dead = Run.open(tmp_path / "run").dead_filters()
    assert list(dead["conv1"]) == [3, 3] and list(dead["classes"]) == [0, 0]


def test_activations_by_batches_are_taken_between_them(tmp_path):
    x, _ = digits()
    recorder = InSituRecorder(
        tmp_path / "run", [Activations(x[:2], 5), Kernels("batch", ["conv1"]), Biases("batch")]
    )
    history = fit(network(), [recorder], epochs=1)
    assert history.history == fit(network(), [], epochs=1).history
    run = Run.open(tmp_path / "run")
    assert list(run.activations("conv1").steps) == [0, 5, 10]
    reference = network()
    for step in (0, 5, 10):
        kernels, biases = run.variable("conv1", "kernel"), run.variable("conv1", "bias")
        row = list(kernels.steps).index(step)
        reference.get_layer("conv1").set_weights([kernels.values[row], biases.values[row]])
        answers = np.asarray(reference.get_layer("conv1")(x[:1]))
        recorded = run.activations("conv1").values[[0, 5, 10].index(step)]
        np.testing.assert_allclose(recorded, answers, rtol=1e-4, atol=1e-6)


def test_predict_records_scores_and_activations_of_every_sample(tmp_path):
    x, _ = digits()
    model = network()
    expected = model.predict(x[:70], verbose=0)
    recorder = InSituRecorder(tmp_path / "run", [Activations(x[:2])])
    scores = model.predict(x[:70], batch_size=32, verbose=0, callbacks=[recorder])
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    assert np.array_equal(run.predictions().values, scores)
    assert list(run.predictions().steps) == list(range(1, 71))
    answers = np.asarray(model.get_layer("conv1")(x[:70]))
    np.testing.assert_allclose(
        run.predicted_activations("conv1").values, answers.mean((1, 2)), rtol=1e-4, atol=1e-6
    )
    assert not {"predict_step", "train_step"} & set(model.__dict__)
    again = model.predict(x[:70], verbose=0)
    np.testing.assert_allclose(again, expected, rtol=1e-6)


def test_predict_and_evaluate_without_activations_record_scores_and_results(tmp_path):
    x, y = digits()
    model = network()
    recorder = InSituRecorder(tmp_path / "run")
    fit(model, [recorder])
    loss, accuracy = model.evaluate(x[SAMPLES:500], y[SAMPLES:500], verbose=0, callbacks=[recorder])
    scores = model.predict(x[:10], verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    table = run.evaluations()
    assert list(table["step"]) == [26] and table["accuracy"][0] == accuracy and table["loss"][0] == loss
    assert np.array_equal(run.predictions().values, scores)
    assert len(run.steps()) == 26 and run.status == "finished"


def test_what_was_not_recorded_is_told_with_what_was(run, tmp_path):
    with pytest.raises(NotInRunError, match="No /gradients/conv1/kernel in this run. It holds: no gradients"):
        run.gradients("conv1", "kernel")
    with pytest.raises(ValueError, match='Expected kind to be "maps" or "statistics"'):
        run.activations("conv1", "pictures")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Activations(np.zeros((0, 8, 8, 1))), "Expected probe to be one or more samples"),
        (lambda: Activations(np.zeros((2, 8)), maps=-1), "Expected maps >= 0"),
        (lambda: Gradients([]), "Expected layers to be a list of names: gradients are"),
        (lambda: UpdateNorms("epoch"), "an update is gone when its step is over"),
        (lambda: Histogram(0), "Expected bins to be a positive int"),
        (lambda: Kernels(reduction="mean"), r"Expected reduction to be Statistics\(\)"),
        (lambda: Kernels(precision="float8"), 'Expected precision to be "float32" or "float16"'),
        (lambda: log_spaced(0), "Expected per_decade to be a positive int"),
        (lambda: Budget(step_overhead=0), "Expected step_overhead to be a positive share"),
        (lambda: Budget(epoch_bytes="64 apples"), "Expected epoch_bytes to be a number of bytes"),
    ],
)
def test_a_wrong_argument_is_told_with_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_half_precision_takes_half_the_room_and_three_digits(tmp_path):
    fit(network(), [InSituRecorder(tmp_path / "run", [Kernels(), Biases(precision="float16")])])
    run = Run.open(tmp_path / "run")
    fit(network(), [InSituRecorder(tmp_path / "whole", [Biases()])])
    whole = Run.open(tmp_path / "whole").variable("conv2", "bias").values
    np.testing.assert_allclose(run.variable("conv2", "bias").values, whole, rtol=1e-3, atol=1e-7)


# ---- budgets


def test_without_need_a_budget_thins_nothing(tmp_path, caplog):
    fit(network(), [InSituRecorder(tmp_path / "run", budget=Budget(step_overhead=10.0))])
    assert "thinned" not in Run.open(tmp_path / "run").identity and not caplog.records


def test_a_budget_reduces_the_largest_layers_first_and_says_so_once(tmp_path, caplog):
    budget = Budget(step_overhead=10.0, epoch_bytes=4000)
    with caplog.at_level(logging.WARNING):
        history = fit(network(), [InSituRecorder(tmp_path / "run", budget=budget)])
    assert history.history == fit(network(), []).history
    run = Run.open(tmp_path / "run")
    assert run.variable("conv1", "kernel").values.shape == (3, 3, 3, 1, 8)
    assert run.statistics("classes", "kernel").values.shape == (3, 5, 10)
    assert ("classes", "kernel") not in run.variables()
    assert len(caplog.records) == 1 and "classes" in caplog.text and "7.15 kB an epoch" in caplog.text
    assert run.identity["thinned"] == [run.identity["thinned"][0]]


def test_a_budget_lengthens_the_rhythm_of_what_is_recorded_at_every_batch(tmp_path):
    budget = Budget(step_overhead=10.0, epoch_bytes=2000)
    quantities = [Metrics(), Kernels("batch", ["conv1"])]
    fit(network(), [InSituRecorder(tmp_path / "run", quantities, budget=budget)])
    run = Run.open(tmp_path / "run")
    kernels = run.variable("conv1", "kernel")
    assert list(kernels.steps) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]
    assert "Kernels 2 times as seldom" in run.identity["thinned"][0]
    assert len(run.scalars("batch")) == 26


def test_a_budget_ends_arrays_when_the_run_has_its_bytes_and_never_tables(tmp_path):
    budget = Budget(step_overhead=10.0, total_bytes=30_000)
    quantities = [Metrics(), Kernels("batch", ["conv1"])]
    fit(network(), [InSituRecorder(tmp_path / "run", quantities, budget=budget)], epochs=1)
    first = Run.open(tmp_path / "run")
    assert len(first.scalars("batch")) == 13 and len(first.variable("conv1", "kernel")) == 14
    assert "thinned" not in first.identity

    recorder = InSituRecorder(tmp_path / "more", [Metrics(), Kernels("batch", ["conv1"])], budget=budget)
    model = network()
    for _ in range(12):  # more epochs than were planned
        fit(model, [recorder], epochs=1)
    more = Run.open(tmp_path / "more")
    assert len(more.scalars("batch")) == 12 * 13
    assert len(more.variable("conv1", "kernel")) < 120
    assert "no more arrays" in more.identity["thinned"][-1]


def test_a_budget_of_time_takes_activations_less_often(tmp_path):
    x, _ = digits()
    budget = Budget(step_overhead=1e-4)
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Activations(x[:500])], budget=budget)
    fit(network(), [recorder], epochs=6, batch_size=BATCH)
    run = Run.open(tmp_path / "run")
    assert len(run.activations("conv1")) < 7
    assert (
        "Activations" in run.identity["thinned"][0] and "of an epoch, more than" in run.identity["thinned"][0]
    )


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}]
)
def test_predictions_are_recorded_in_every_mode(options, tmp_path):
    x, _ = digits()
    model = network(**options)
    recorder = InSituRecorder(tmp_path / "run", [Activations(x[:1])])
    scores = model.predict(x[:50], batch_size=16, verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    assert not run.identity["missing"]
    assert np.array_equal(run.predictions().values, scores)
    answers = np.asarray(model.get_layer("conv1")(x[:50])).mean((1, 2))
    np.testing.assert_allclose(run.predicted_activations("conv1").values, answers, rtol=1e-3, atol=1e-5)


def test_what_was_recorded_on_request_is_exported_as_tables(tmp_path):
    from tensorview_insitu.cli.main import main

    x, y = digits()
    model = network()
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), UpdateNorms(5), Activations(x[:2])])
    fit(model, [recorder], epochs=1)
    model.evaluate(x[:10], y[:10], verbose=0, callbacks=[recorder])
    assert main(["export", str(tmp_path / "run")]) == 0
    tables = {file.stem for file in (tmp_path / "run/paraview/tables").iterdir()}
    assert tables >= {"update_norms", "weight_norms", "dead_filters", "evaluations"}

    alone = InSituRecorder(tmp_path / "predicted")
    model.predict(x[:5], verbose=0, callbacks=[alone])
    assert main(["export", str(tmp_path / "predicted")]) == 0
    assert main(["info", str(tmp_path / "predicted")]) == 0


def test_predictions_of_several_outputs_are_kept_apart(tmp_path):
    x, _ = digits()
    inputs = keras.Input((8, 8, 1))
    flat = layers.Flatten()(inputs)
    model = keras.Model(inputs, [layers.Dense(3, name="one")(flat), layers.Dense(1, name="two")(flat)])
    one, two = model.predict(x[:20], verbose=0, callbacks=[InSituRecorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert np.array_equal(run.predictions().values, one)
    assert np.array_equal(run.predictions(1).values, two)


@pytest.mark.parametrize(("mean", "spread"), [(293.15, 0.02), (-1e4, 0.1), (0.0, 1e-6), (3.0, 0.0)])
def test_statistics_of_values_that_hardly_differ_are_those_of_float64(mean, spread, tmp_path):
    rng = np.random.default_rng(0)
    values = (mean + spread * rng.normal(size=(3, 3, 1, 4))).astype(np.float32)
    x = (mean + spread * rng.normal(size=(8, 6, 6, 1))).astype(np.float32)
    conv = keras.layers.Conv2D(4, 3, name="conv")
    same = keras.layers.Conv2D(2, 1, kernel_initializer="ones", name="same")
    inputs = keras.Input((6, 6, 1))
    outputs = [keras.layers.GlobalAveragePooling2D()(layer(inputs)) for layer in (conv, same)]
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(outputs)))
    conv.set_weights([values, np.zeros(4)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    quantities = [Kernels(reduction=Statistics()), Activations(x, layers=["same"])]
    model.fit(x, np.zeros(8), verbose=0, callbacks=[InSituRecorder(tmp_path / "run", quantities)])
    run = Run.open(tmp_path / "run")
    answers = np.repeat(x.astype(np.float64), 2, axis=-1)
    for held, of in (
        (run.statistics("conv", "kernel").values[0], values.astype(np.float64)),
        (run.activations("same", "statistics").values[0], answers),
    ):
        axes = (0, 1, 2)
        close = 1e-6 * abs(mean) * 0.02 + 1e-3 * spread  # of what float32 has of such values
        np.testing.assert_allclose(held[0], of.mean(axes), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(held[1], of.std(axes), atol=max(close, 1e-12))
        np.testing.assert_allclose(held[2], np.sqrt((of**2).sum(axes)), rtol=1e-5)
        np.testing.assert_array_equal(held[3:], [of.min(axes), of.max(axes)])


class OwnKernel(layers.Layer):
    """Has a size of its kernel, and says nothing of where its channels are."""

    kernel_size = (1,)

    def call(self, x):
        return x


def test_filters_are_found_where_a_layer_has_its_channels_in_front(tmp_path):
    keras.utils.set_random_seed(0)
    first = {"data_format": "channels_first"}
    inputs = keras.Input((1, 8, 8))
    maps = layers.ReLU(name="relu")(layers.Conv2D(4, 3, name="conv", **first)(inputs))
    units = layers.Dense(5, name="units")(layers.Reshape((4, 36))(maps))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(OwnKernel(name="own")(units))))
    bias = np.array([-100, 0, -100, 0], np.float32)
    model.get_layer("conv").set_weights([model.get_layer("conv").get_weights()[0], bias])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.random.default_rng(0).random((4, 1, 8, 8)).astype(np.float32)
    model.fit(x, np.zeros((4, 2)), verbose=0, callbacks=[InSituRecorder(tmp_path / "run", [Activations(x)])])
    run = Run.open(tmp_path / "run")
    answers = np.maximum(np.asarray(model.get_layer("conv")(x)), 0)
    assert list(run.dead_filters()["relu"]) == [2, 2]
    assert run.activations("relu").values.shape[-1] == 4
    assert run.activations("units").values.shape[-1] == 5
    mean = run.activations("relu", "statistics").values[-1, 0]
    np.testing.assert_allclose(mean, answers.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-6)
