"""Explanations in training: right at every moment, and nothing of the training changes."""

import keras
import numpy as np
import pytest
from fits import digits, fit, network
from tensorview_insitu.callbacks import Activations, Explanations, InSituRecorder, Kernels, Metrics

from tensorview_insitu.explain import KerasNetwork, grad_cam, rank_correlation, saliency
from tensorview_insitu.run.reader import Run

PROBE = digits()[0][:3]
LABELS = [int(n) for n in digits()[1][:3]]


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained") / "run"
    model = network()
    mask = np.zeros(PROBE.shape[1:-1])
    mask[:, :4] = 1
    recorder = InSituRecorder(
        folder,
        [
            Metrics(),
            Kernels(),
            Explanations("grad_cam", PROBE, target=LABELS, mask=mask),
            Explanations("saliency", PROBE, 7),
            Explanations("occlusion", PROBE, name="hidden", patch=4, map_size=4),
        ],
    )
    history = fit(model, [recorder], epochs=3)
    return model, history, Run.open(folder), mask


def test_a_training_with_explanations_is_the_training_without(explained):
    model, history, _, _ = explained
    plain = network()
    assert fit(plain, [], epochs=3).history == history.history
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_maps_are_those_of_the_model_at_that_moment(explained):
    model, _, run, mask = explained
    assert sorted(run.explanations()) == ["grad_cam", "hidden", "saliency"]
    maps = run.explanation("grad_cam")
    assert maps.dims == ("snapshot", "sample", "row", "column") and list(maps.epochs) == [0, 1, 2, 3]
    now = grad_cam(KerasNetwork(model), PROBE, LABELS)
    np.testing.assert_allclose(maps.values[-1], now.maps, atol=1e-6 * now.maps.max())
    assert maps.attributes["method"] == "grad_cam"
    assert maps.attributes["layer"] == [now.about["layer"], now.about["layer_why"]]
    np.testing.assert_array_equal(run.explanation("grad_cam", "images").values[0], PROBE)
    focus = run.focus("grad_cam")
    for sample, label in enumerate(LABELS):
        assert (focus[f"class_{sample}"] == label).all()
        drift = [rank_correlation(a[sample], b[sample]) for a, b in zip(maps.values, maps.values[1:])]  # noqa: B905
        assert np.isnan(focus[f"drift_{sample}"][0])
        np.testing.assert_allclose(focus[f"drift_{sample}"][1:], drift, atol=1e-6)
        values = maps.values[:, sample].astype(float)
        with np.errstate(invalid="ignore"):  # a map that is zero everywhere has no share of itself
            expected = (values * mask).sum(axis=(1, 2)) / values.sum(axis=(1, 2))
        np.testing.assert_allclose(focus[f"inside_{sample}"], expected, atol=1e-6)
    probabilities = model.predict(PROBE, verbose=0)
    assert focus["probability_1"].iloc[-1] == pytest.approx(probabilities[1, LABELS[1]], abs=1e-5)


def test_a_score_is_not_called_a_probability(tmp_path):
    inputs = keras.Input(PROBE.shape[1:])
    outputs = keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    quantity = Explanations("saliency", PROBE, target=LABELS)
    model.fit(PROBE, np.asarray(LABELS), verbose=0, callbacks=[InSituRecorder(tmp_path / "run", [quantity])])
    focus = Run.open(tmp_path / "run").focus("saliency")
    logits = model.predict(PROBE, verbose=0)
    for sample, label in enumerate(LABELS):
        assert f"probability_{sample}" not in focus
        assert focus[f"score_{sample}"].iloc[-1] == pytest.approx(logits[sample, label], abs=1e-5)


def test_by_batches_and_thinned(explained):
    model, _, run, _ = explained
    steps = list(run.explanation("saliency").steps)
    assert steps[:3] == [0, 7, 14] and len(steps) > 5
    hidden = run.explanation("hidden")
    assert hidden.values.shape[2:] == (4, 4) and hidden.attributes["stride"] == PROBE.shape[1] // 4
    assert "inside_0" not in run.focus("hidden")
    last = saliency(KerasNetwork(model), PROBE).maps
    assert run.explanation("saliency").values.shape[1:] == last.shape


def test_a_model_in_a_model_is_explained_while_it_learns(tmp_path):
    inside = keras.Input(PROBE.shape[1:])
    base = keras.Model(inside, keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inside), name="base")
    image = keras.Input(PROBE.shape[1:])
    x = keras.layers.GlobalAveragePooling2D()(base(image))
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    explanations = Explanations("grad_cam", PROBE, "epoch", target=LABELS)
    fit(model, [InSituRecorder(tmp_path / "run", [explanations])], epochs=2)
    maps = Run.open(tmp_path / "run").explanation("grad_cam")
    assert maps.attributes["layer"][0] == "base/conv" and len(maps.values) == 3


def test_what_a_model_cannot_have_is_noted_and_all_else_recorded(tmp_path):
    image = keras.Input(PROBE.shape[1:])
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="tanh")(image))
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    quantities = [Metrics(), Explanations("guided_backpropagation", PROBE), Explanations("saliency", PROBE)]
    with pytest.warns(RuntimeWarning, match="no Explanations called guided_backpropagation: The guided rule"):
        fit(model, [InSituRecorder(tmp_path / "run", quantities)], epochs=2)
    run = Run.open(tmp_path / "run")
    assert run.explanations() == ["saliency"] and len(run.scalars("epoch")) == 2
    assert len([line for line in run.identity["missing"] if "guided_backpropagation" in line]) == 1


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["gradcam", PROBE], {}, 'No method "gradcam". There are: grad_cam'),
        (
            ["grad_cam", PROBE[0, ..., 0]],
            {},
            r"\(samples, \*spatial, channels\). Received: an array of shape",
        ),
        (["grad_cam", PROBE], {"mask": np.ones((2, 2))}, "Expected a mask of shape"),
        (["grad_cam", PROBE], {"map_size": 0}, "map_size >= 1"),
    ],
)
def test_mistakes_are_told_before_the_training(arguments, settings, said):
    with pytest.raises(ValueError, match=said):
        Explanations(*arguments, **settings)


def test_two_of_one_name_are_refused(tmp_path):
    pair = [Explanations("grad_cam", PROBE), Explanations("grad_cam", PROBE)]
    with pytest.raises(ValueError, match="Explanations called grad_cam 2 times"):
        InSituRecorder(tmp_path / "run", pair)


def test_a_moment_in_the_middle_of_an_epoch_is_a_part_of_it(tmp_path):
    x, _ = digits()
    quantities = [Metrics(), Explanations("grad_cam", x[:2], 3, target=1), Activations(x[:2], every=3)]
    fit(network(), [InSituRecorder(tmp_path / "run", quantities)], epochs=2)
    run = Run.open(tmp_path / "run")
    for table in (run.focus("grad_cam"), run.dead_filters()):
        steps = table["step"].to_numpy()
        assert steps[0] == 0 and list(steps[1:]) == list(range(3, 27, 3))
        np.testing.assert_allclose(table["epoch"], steps / 13)
