"""One thing that fails is one thing that is missing, told in one line; what is known before raises before."""

import functools
import re
import warnings

import keras
import numpy as np
import pytest
from exhaustive import one_in
from fits import LargestWeights, digits, fit, network
from keras import layers
from tensorview_insitu.callbacks import (
    Activations,
    Biases,
    Explanations,
    FilterGradientNorms,
    GradientNorms,
    Gradients,
    InSituRecorder,
    Kernels,
    Metrics,
    Normalization,
    Statistics,
    UpdateNorms,
)

from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.segment import read_all
from tensorview_insitu.text.one_line import one_line, told

PROBE = digits()[0][:3]


class VAE(keras.Model):
    """As in the examples of Keras: a train step, and no `call`."""

    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([layers.Flatten(), layers.Dense(4, name="codes")], name="encoder")
        self.decoder = keras.Sequential([layers.Dense(64, name="pixels")], name="decoder")
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def train_step(self, data):
        import tensorflow as tf  # noqa: TID251 - as a user's own step does

        x = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape() as tape:
            answer = self.decoder(self.encoder(x))
            loss = keras.ops.mean(keras.ops.square(answer - keras.ops.reshape(x, (-1, 64))))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


def test_a_model_without_call_has_no_activations_and_all_else(tmp_path):
    model = VAE()
    model.compile("adam")
    quantities = [Activations(PROBE), Metrics(), GradientNorms(), Kernels(), Explanations("saliency", PROBE)]
    with pytest.warns(RuntimeWarning, match="no Activations: .*`call\\(\\)` method") as caught:
        model.fit(
            digits()[0][:64],
            epochs=3,
            verbose=0,
            callbacks=[InSituRecorder(tmp_path / "run", [*quantities, LargestWeights()])],
        )
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    run = Run.open(tmp_path / "run")
    assert run.status == "finished"
    assert [re.split(":| called", line)[0] for line in run.identity["missing"]] == [
        "no Activations",
        "no Explanations",
    ]
    assert len(run.scalars("batch")) == len(run.gradient_norms()) == 6 and len(run.scalars("epoch")) == 3
    assert len(run.variable("encoder/codes", "kernel")) >= 3 and len(run.quantity("LargestWeights")) == 3


# ---- what can be known before


def two_inputs(given="list"):
    a, b = keras.Input((4,), name="a"), keras.Input((2, 1), name="b")
    answer = layers.Dense(3, name="answer")(layers.Concatenate()([a, layers.Flatten()(b)]))
    model = keras.Model({"a": a, "b": b} if given == "dict" else [a, b], answer, name="two")
    model.compile("sgd", "mse")
    return model


A, B = np.ones((2, 4), np.float32), np.ones((2, 2, 1), np.float32)
TWO = r"a \(samples, 4\), b \(samples, 2, 1\)"


@pytest.mark.parametrize(
    ("make", "probe", "told"),
    [
        (network, np.zeros((2, 8, 9, 1)), r"\(samples, 8, 8, 1\). Received: \(2, 8, 9, 1\)"),
        (network, np.zeros((2, 64)), r"\(samples, 8, 8, 1\). Received: \(2, 64\)"),
        (network, np.zeros((2, 8, 8, 3)), r"\(samples, 8, 8, 1\). Received: \(2, 8, 8, 3\)"),
        (network, [PROBE, PROBE], r"\(samples, 8, 8, 1\). Received: \(3, 8, 8, 1\), \(3, 8, 8, 1\)"),
        (lambda: network("sequential"), PROBE[:, :4], r"\(samples, 8, 8, 1\). Received: \(3, 4, 8, 1\)"),
        (two_inputs, A, rf"{TWO}. Received: \(2, 4\)"),
        (two_inputs, [B, A], rf"{TWO}. Received: \(2, 2, 1\), \(2, 4\)"),
        (lambda: two_inputs("dict"), {"a": A}, rf"{TWO}. Received: a \(2, 4\)"),
        (lambda: two_inputs("dict"), {"a": B, "b": A}, rf"{TWO}. Received: a \(2, 2, 1\), b \(2, 4\)"),
        (lambda: two_inputs("dict"), {"a": A, "c": B}, rf"{TWO}. Received: a \(2, 4\), c \(2, 2, 1\)"),
    ],
)
def test_a_probe_that_does_not_fit_is_told_before_the_training(make, probe, told, tmp_path):
    model = make()
    for use in (model.fit, model.predict, model.evaluate):
        recorder = InSituRecorder(tmp_path / use.__name__, [Metrics(), Activations(probe)])
        with pytest.raises(ValueError, match=f"Expected a probe that {model.name} can take: .*{told}"):
            use(PROBE, callbacks=[recorder], verbose=0)
        assert not (tmp_path / use.__name__).exists()
    assert not {"train_step", "predict_step"} & set(model.__dict__)


@pytest.mark.parametrize(
    ("make", "probe"),
    [
        (network, PROBE[..., 0]),  # Keras adds the axis
        (network, PROBE[:1].tolist() and PROBE[:1]),
        (two_inputs, [A, B]),
        (two_inputs, (A, B[..., 0])),
        (two_inputs, {"b": B, "a": A}),
        (lambda: two_inputs("dict"), {"b": B, "a": A}),
        (lambda: two_inputs("dict"), [A, B]),
    ],
)
def test_a_probe_that_the_model_takes_is_taken(make, probe, tmp_path):
    model = make()
    x = [A, B] if model.name == "two" else digits()[0][:32]
    x = {"a": A, "b": B} if isinstance(model._inputs_struct, dict) else x
    y = np.ones((2, 3)) if model.name == "two" else digits()[1][:32]
    recorder = InSituRecorder(tmp_path / "run", [Activations(probe)])
    with warnings.catch_warnings():
        # Keras warns of inputs in another structure than the model's; it takes them all the same.
        warnings.filterwarnings("ignore", "The structure of `inputs` doesn't match", UserWarning)
        model.fit(x, y, verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == [] and list(run.dead_filters()["step"]) == [0, 1]


@pytest.mark.parametrize(
    ("quantity", "told"),
    [
        (Explanations("saliency", PROBE[:, :4]), "Expected a probe that digits can take"),
        (Explanations("saliency", np.ones((2, 8, 8))), "Expected a probe that digits can take"),
        (Explanations("grad_cam", PROBE, layer="conv9"), 'No layer "conv9" in this model'),
        (Activations(PROBE, layers=["conv9"]), 'No layer "conv9" in this model'),
        (Gradients(["conv9"]), 'No layer "conv9" in this model'),
    ],
)
def test_what_else_a_model_lacks_is_told_before_the_training(quantity, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        fit(network(), [InSituRecorder(tmp_path / "run", [Metrics(), quantity])])


def test_a_probe_that_proves_wrong_when_the_model_is_built_costs_the_activations(tmp_path):
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Kernels(), Activations(np.zeros((2, 5, 5, 2)))])
    with pytest.warns(RuntimeWarning, match="Activations is lacking at step 13, .*incompatible"):
        fit(network("sequential without input"), [recorder], epochs=4)
    run = Run.open(tmp_path / "run")
    assert len(run.identity["missing"]) == 2 and "asked no more after step 39" in run.identity["missing"][1]
    assert len(run.scalars("batch")) == 52 and len(run.variable("conv1", "kernel")) == 5


# ---- an exception in any part of any quantity


class Boom(Exception):
    """What goes wrong."""


def raising(*args, **kwargs):
    raise Boom("first line\nsecond line\n" + "and so on " * 100)


def derived(kind, **methods):
    return type(f"Bad{kind.__name__}", (kind,), methods)


RAISING = {
    "GradientNorms.begin": lambda: derived(GradientNorms, begin=raising)(),
    "Kernels.wants": lambda: derived(Kernels, wants=raising)(),
    "Kernels.select by batch": lambda: derived(Kernels, select=raising)("batch"),
    "Kernels.begin": lambda: derived(Kernels, begin=raising)(),
    "Biases.wants by batch": lambda: derived(Biases, wants=raising)("batch"),
    "Normalization.of_layers": lambda: derived(Normalization, of_layers=raising)(),
    "Kernels.check": lambda: derived(Kernels, check=raising)(),
    "Biases with a reduction": lambda: Biases(reduction=derived(Statistics, pieces=raising)()),
    "Biases with a reduction by batch": lambda: Biases(4, reduction=derived(Statistics, pieces=raising)()),
    "FilterGradientNorms.wants": lambda: derived(FilterGradientNorms, wants=raising)(),
    "Gradients.select": lambda: derived(Gradients, select=raising)(["conv1"], 5),
    "UpdateNorms.wants": lambda: derived(UpdateNorms, wants=raising)(),
    "UpdateNorms.begin": lambda: derived(UpdateNorms, begin=raising)(),
    "Activations.wants": lambda: derived(Activations, wants=raising)(PROBE),
    "Activations.begin": lambda: derived(Activations, begin=raising)(PROBE),
    "Explanations.begin": lambda: derived(Explanations, begin=raising)("saliency", PROBE, name="bad"),
    "Numbers.begin": lambda: derived(LargestWeights, begin=raising)(),
    "Numbers.numbers": lambda: derived(LargestWeights, numbers=raising)(),
}


WRITES = {
    GradientNorms: "gradient_norms",
    Kernels: "layers/.*kernel",
    Biases: "layers/.*bias",
    Normalization: "layers/norm/",
    FilterGradientNorms: "filter_gradient_norms",
    Gradients: "gradients/",
    UpdateNorms: "update_norms|weight_norms",
    Activations: "activations/|dead_filters",
    Explanations: "explanations/bad",
    LargestWeights: "quantities/",
}


def others(bad):
    """Healthy quantities of all kinds but that one's."""
    mine = [
        Metrics(),
        GradientNorms(),
        Kernels(),
        Biases(),
        Normalization(),
        FilterGradientNorms(4),
        Gradients(["conv2"], 4),
        UpdateNorms(4),
        Activations(PROBE),
        Explanations("saliency", PROBE),
        LargestWeights(),
    ]
    return [one for one in mine if not isinstance(bad, type(one)) or isinstance(bad, Explanations)]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """What healthy quantities record, by the dataset."""

    @functools.cache
    def recorded(kind):
        folder = tmp_path_factory.mktemp("healthy") / "run"
        fit(network(kind), [InSituRecorder(folder, others(None))], epochs=2)
        return read_all(folder / "run.h5")

    return recorded


def turns():
    """Each with a model that is built, and with one that its first batch builds; by default in turn."""
    kinds = ["functional", "sequential without input"]
    return one_in(2, [(part, kind) for i, part in enumerate(RAISING) for kind in kinds[:: 1 - i % 2 * 2]])


@pytest.mark.parametrize(("part", "kind"), turns())
def test_an_exception_in_one_quantity_costs_that_one(part, kind, healthy, tmp_path):
    bad = RAISING[part]()
    recorder = InSituRecorder(tmp_path / "run", [bad, *others(bad)])
    with pytest.warns(RuntimeWarning, match="first line second line and so on") as caught:
        history = fit(network(kind), [recorder], epochs=2)
    ours = [str(w.message) for w in caught if "InSituRecorder" in str(w.message)]
    assert len(ours) == 1 and "\n" not in ours[0] and len(ours[0]) < 600
    assert history.history == fit(network(kind), [], epochs=2).history
    run = Run.open(tmp_path / "run")
    assert run.status == "finished"
    for line in run.identity["missing"]:
        assert "\n" not in line and len(line) < 400 and "batches are not recorded" not in line
    found = read_all(tmp_path / "run/run.h5")
    mine = next((name for kind, name in WRITES.items() if isinstance(bad, kind)), ())
    expected = {name: rows for name, rows in healthy(kind).items() if not re.match(mine, name)}
    assert len(expected) > 15
    for name, rows in expected.items():
        np.testing.assert_array_equal(found[name].steps, rows.steps, err_msg=name)
        if name != "steps":
            np.testing.assert_array_equal(found[name].values, rows.values, err_msg=name)


def test_an_exception_in_the_reason_for_what_is_left_out_costs_the_reason(tmp_path):
    with pytest.warns(RuntimeWarning, match="Kernels .BadKernels. is lacking at step 0"):
        fit(network(), [InSituRecorder(tmp_path / "run", [Metrics(), derived(Kernels, why_not=raising)()])])
    run = Run.open(tmp_path / "run")
    assert len(run.variable("conv1", "kernel")) == 3
    assert run.identity["left_out"]["conv1/bias"] == "no quantity that was given records it"


# ---- predict and evaluate


class Folds(layers.Layer):
    """A row for each row of an image, and not for each image."""

    def call(self, x):
        return keras.ops.reshape(x, (-1, 8, 1))


class Unfolds(layers.Layer):
    def call(self, x):
        return keras.ops.reshape(x, (-1, 8 * 2))


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_a_layer_that_answers_not_once_for_each_sample_costs_its_own_rows(options, tmp_path):
    image = keras.Input((8, 8, 1))
    x = layers.Conv1D(2, 3, name="inside")(Folds(name="folds")(image))
    x = Unfolds(name="unfolds")(layers.GlobalMaxPooling1D(name="pooled")(x))
    model = keras.Model(image, layers.Dense(3, name="answer")(x))
    model.compile("sgd", "mse", **options)
    recorder = InSituRecorder(tmp_path / "run", [Activations(PROBE)])
    with pytest.warns(RuntimeWarning, match="folds answers not once for each sample"):
        scores = model.predict(digits()[0][:10], batch_size=4, verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    assert np.isnan(run.predicted_activations("inside").values).all()
    np.testing.assert_allclose(run.predicted_activations("answer").values, scores, rtol=1e-5)
    np.testing.assert_array_equal(run.predictions().values, scores)


class Says(keras.Model):
    """Predicts and reports what is no number."""

    def __init__(self):
        super().__init__()
        self.inside = layers.Dense(2, name="inside")
        self.flatten = layers.Flatten()

    def call(self, x):
        return self.inside(self.flatten(x))

    def predict_step(self, data):
        import tensorflow as tf  # noqa: TID251 - as a user's own step does

        answer = self(data[0] if isinstance(data, tuple) else data)
        return {"a_text": tf.strings.as_string(answer), "numbers": answer}

    def test_step(self, data):
        return {"loss": keras.ops.sum(self(data[0])), "matrix": keras.ops.ones((2, 2))}


def test_an_answer_that_is_no_number_costs_that_answer(tmp_path):
    model = Says()
    model.compile("sgd", "mse")
    x, y = digits()
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Activations(PROBE)])
    with pytest.warns(RuntimeWarning, match='"matrix" is not in scalars/evaluate: an array of shape'):
        reported = model.evaluate(x[:20], y[:20], verbose=0, callbacks=[recorder], return_dict=True)
    answers = model.predict(x[:20], verbose=0, callbacks=[recorder], batch_size=20)
    run = Run.open(tmp_path / "run")
    assert run.evaluations()["loss"][0] == float(reported["loss"])
    assert any(line.startswith("output 0 of predict is not recorded") for line in run.identity["missing"])
    np.testing.assert_array_equal(run.predictions(1).values, answers["numbers"])
    np.testing.assert_allclose(run.predicted_activations("inside").values, answers["numbers"], rtol=1e-6)


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("kind", ["flat", "matrix", "dict", "subclassed"])
def test_every_sample_is_recorded_also_where_the_last_batch_is_a_single_one(kind, units, tmp_path):
    """Keras hands a lone number to callbacks as a float, and a dict of outputs as the logs themselves."""
    image = keras.Input((8, 8, 1))
    answer = layers.Dense(units, name="answer")(layers.Flatten()(image))
    if kind == "flat":
        answer = answer[:, 0]
    model = keras.Model(image, {"one": answer, "two": 2 * answer} if kind == "dict" else answer)
    if kind == "subclassed":
        model = keras.Sequential([layers.Flatten(), layers.Dense(units)])
    recorder = InSituRecorder(tmp_path / "run")
    scores = model.predict(digits()[0][:9], batch_size=4, verbose=0, callbacks=[recorder])
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == []
    for number, one in enumerate(scores.values() if kind == "dict" else [scores]):
        np.testing.assert_array_equal(run.predictions(number).values, one)
        assert list(run.predictions(number).steps) == list(range(1, 10))


def test_an_exception_while_it_predicts_costs_the_activations_and_no_score(tmp_path):
    bad = derived(Activations, wants=raising)(PROBE)
    model = network()
    expected = model.predict(PROBE, verbose=0)
    recorder = InSituRecorder(tmp_path / "run", [bad])
    with pytest.warns(RuntimeWarning, match="while it predicts: Boom: first line second line"):
        scores = model.predict(PROBE, verbose=0, callbacks=[recorder])
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(Run.open(tmp_path / "run").predictions().values, expected)


# ---- warnings that are errors


def test_warnings_turned_into_errors_change_nothing(tmp_path):
    """Pytest here raises every warning; so does this, whatever pytest is told."""
    quantities = [
        *others(None),
        Kernels("batch", reduction=Statistics()),
        Biases("batch", precision="float16", reduction=Statistics()),
    ]
    quantities[2] = Kernels(precision="float16")
    x, y = digits()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = network()
        model.get_layer("conv1").bias.assign(np.full(8, 1e6))  # too large for float16
        recorder = InSituRecorder(tmp_path / "run", quantities)
        fit(model, [recorder])
        model.evaluate(x[:10], y[:10], verbose=0, callbacks=[InSituRecorder(tmp_path / "tested", quantities)])
        model.predict(x[:10], verbose=0, callbacks=[InSituRecorder(tmp_path / "predicted", quantities)])
    run, tested, predicted = (Run.open(tmp_path / name) for name in ("run", "tested", "predicted"))
    for one in (run, tested, predicted):
        assert one.identity["missing"] == [] and one.status == "finished"
    assert len(run.variable("conv1", "kernel")) == 3 and len(run.scalars("batch")) == 26
    assert len(run.activations("conv1")) == 3 and len(tested.activations("conv1")) == 1
    assert len(tested.evaluations()) == 1 and len(predicted.predictions()) == 10


# ---- one line


KERAS = (
    'Exception encountered when calling Functional.call().\n\n\x1b[1mInput 0 of layer "conv" is '
    "incompatible\x1b[0m\n\nArguments received by Functional.call():\n  • inputs=tf.Tensor(shape=(2, 5))"
)
AUTOGRAPH = (
    'in user code:\n\n    File "/somewhere/a.py", line 12, in f  *\n        model(x)\n    File "/b.py", '
    "line 1, in g\n        raise ValueError(\n\n    ValueError: the true\n    reason\n"
)
GRAPH = (
    "Graph execution error:\n\nDetected at node mul defined at (most recent call last):\n<stack traces "
    "unavailable>\nOOM when allocating tensor\n\t [[{{node mul}}]] [Op:__inference_one_step_12]"
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a\n\n  b\tc\r\n", "a b c"),
        (KERAS, 'Input 0 of layer "conv" is incompatible'),
        (AUTOGRAPH, "ValueError: the true reason"),
        (GRAPH, "OOM when allocating tensor"),
        ("no Activations: " + KERAS, 'no Activations: Input 0 of layer "conv" is incompatible'),
        ("\x1b[31mred\x1b[0m", "red"),
    ],
)
def test_an_error_of_many_lines_is_told_in_one(text, line):
    assert one_line(text) == line


def test_a_long_error_is_cut_and_its_kind_is_told():
    line = told(ValueError("x" * 5000))
    assert line.startswith("ValueError: xxx") and line.endswith("…") and len(line) < 320
    assert told(ValueError(AUTOGRAPH)) == "ValueError: the true reason"
    assert told(KeyError()) == "KeyError" and "\n" not in told(RuntimeError("a\nb\u2028c\x00"))
