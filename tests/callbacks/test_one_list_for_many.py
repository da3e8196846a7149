"""A list of quantities may be given to any number of recorders: each records what fresh ones would."""

import copy
import pickle

import keras
import numpy as np
import pytest
from fits import LargestWeights, digits, fit, network
from tensorview_insitu.callbacks import (
    Activations,
    Biases,
    Budget,
    Explanations,
    FilterGradientNorms,
    GradientNorms,
    Gradients,
    Histogram,
    InSituRecorder,
    Kernels,
    Metrics,
    Normalization,
    Numbers,
    Statistics,
    UpdateNorms,
)

from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import read_index
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.segment import read_all

PROBE = digits()[0][:3]


class Counted(Numbers):
    """How often it was asked: what a run has to count for itself."""

    def begin(self, model):
        count = iter(range(100))
        return lambda: {"asked": next(count)}


# Each as a function, so that fresh ones can be made.
QUANTITIES = {
    "Metrics": lambda kind=Metrics: kind(),
    "GradientNorms": lambda kind=GradientNorms: kind(),
    "Kernels": lambda kind=Kernels: kind(),
    "Kernels as Statistics": lambda kind=Kernels: kind("batch", ["conv1"], reduction=Statistics()),
    "Biases": lambda kind=Biases: kind(precision="float16"),
    "Biases as Histogram": lambda kind=Biases: kind(13, reduction=Histogram(4)),
    "Normalization": lambda kind=Normalization: kind(),
    "FilterGradientNorms": lambda kind=FilterGradientNorms: kind(13),
    "Gradients": lambda kind=Gradients: kind(["conv2"], 2),
    "UpdateNorms": lambda kind=UpdateNorms: kind(2),
    "Activations": lambda kind=Activations: kind(PROBE, maps=2),
    "Explanations": lambda kind=Explanations: kind("grad_cam", PROBE, mask=np.eye(8), target=[1, 2, 3]),
    "Explanations of its own": lambda kind=Explanations: kind(
        "integrated_gradients", PROBE, 13, name="mine", baseline=np.zeros((8, 8, 1), np.float32), steps=4
    ),
    "LargestWeights": lambda kind=LargestWeights: kind(every=13),
    "Counted": lambda kind=Counted: kind(),
}


def all_of_them():
    return [make() for make in QUANTITIES.values()]


def recorded(folder):
    """Every dataset of a finished run, but the times at which batches began."""
    rows = read_all(folder / "run.h5")
    return {
        name: (one.steps, one.values[:, :3] if name == "steps" else one.values, dict(one.attributes))
        for name, one in rows.items()
    }


def assert_same(some, others):
    assert some.keys() == others.keys()
    for name, (steps, values, about) in some.items():
        np.testing.assert_array_equal(steps, others[name][0], err_msg=name)
        np.testing.assert_array_equal(values, others[name][1], err_msg=name)
        assert {k: np.asarray(v).tolist() for k, v in about.items()} == {
            k: np.asarray(v).tolist() for k, v in others[name][2].items()
        }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """What a list of fresh quantities records of a model."""
    folder = tmp_path_factory.mktemp("fresh") / "run"
    fit(network(), [InSituRecorder(folder, all_of_them())])
    assert Run.open(folder).identity["missing"] == []
    return recorded(folder)


def test_a_list_used_again_records_what_a_fresh_one_does_and_stays_as_it_was(fresh, tmp_path):
    quantities, before = all_of_them(), copy.deepcopy(all_of_them())
    for fold in ("first", "second"):
        fit(network(), [InSituRecorder(tmp_path / fold, quantities)])
        assert_same(recorded(tmp_path / fold), fresh)
    assert quantities == before and quantities == all_of_them()
    assert pickle.loads(pickle.dumps(quantities)) == quantities
    index = read_index(export_run(Run.open(tmp_path / "second")).parent)
    assert {one["name"] for one in index["explanations"]} == {"grad_cam", "mine"}


def test_two_recorders_with_one_list_in_one_fit_both_record_what_a_fresh_one_does(fresh, tmp_path):
    quantities = all_of_them()
    both = [InSituRecorder(tmp_path / name, quantities) for name in ("one", "other")]
    fit(network(), both)
    for recorder in both:
        assert_same(recorded(recorder.path), fresh)
    assert quantities == all_of_them()


def test_folds_that_take_turns_record_what_fresh_ones_do(tmp_path):
    """Two recorders and two models, epoch after epoch in turn: as in cross-validation in lockstep."""

    def folds(make):
        models = [network(), network(seed=3)]
        recorders = [InSituRecorder(tmp_path / f"{make.__name__}{i}", make()) for i in range(2)]
        for _ in range(2):
            for model, recorder in zip(models, recorders, strict=True):
                keras.utils.set_random_seed(1)
                fit(model, [recorder], epochs=1)
        return [recorded(recorder.path) for recorder in recorders]

    shared = all_of_them()

    def one_list():
        return shared

    for some, others in zip(folds(one_list), folds(all_of_them), strict=True):
        assert_same(some, others)


def test_a_recorder_used_for_a_second_model_records_it_as_it_did_the_first(fresh, tmp_path):
    recorder = InSituRecorder(tmp_path / "run", all_of_them())
    fit(network(), [recorder])
    fit(network(), [recorder])
    both = recorded(tmp_path / "run")
    for name, (steps, values, _) in fresh.items():
        if name.endswith(("steps", "scalars/epoch", "images", "Counted")):  # these count on, or are below
            continue
        # Steps count on: what goes by every n-th is due at others, some of which are the same.
        later = both[name][0][len(steps) :] - 26
        rows = [(list(later).index(step), i) for i, step in enumerate(steps) if step in later]
        assert rows, name
        again, first = (np.array(numbers) for numbers in zip(*rows, strict=True))
        found, expected = both[name][1][len(steps) :][again], values[first]
        # The first map of the second model has no map before it.
        columns = np.array(both[name][2].get("columns", [""]))
        known = np.isfinite(found) | ~np.char.startswith(columns, "drift")
        np.testing.assert_array_equal(found[known], expected[known], err_msg=name)
    assert len(both["explanations/grad_cam/images"][1]) == 2
    assert [row.tolist() for row in both["quantities/Counted"][1]] == [[0], [1], [2], [0], [1]]


def test_a_budget_thins_one_run_and_not_the_next_with_the_same_list(tmp_path):
    quantities = [Metrics(), Kernels(), Kernels("batch", ["conv1"], reduction=Statistics())]
    small = Budget(step_overhead=10.0, epoch_bytes=1000)
    fit(network(), [InSituRecorder(tmp_path / "thinned", quantities, budget=small)])
    assert Run.open(tmp_path / "thinned").identity["thinned"]
    assert quantities == [Metrics(), Kernels(), Kernels("batch", ["conv1"], reduction=Statistics())]
    fit(network(), [InSituRecorder(tmp_path / "next", quantities)])
    run = Run.open(tmp_path / "next")
    assert "thinned" not in run.identity
    assert list(run.variable("classes", "kernel").steps) == [0, 13, 26]
    assert list(run.statistics("conv1", "kernel").steps) == list(range(27))


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_quantity_cannot_be_changed_and_is_equal_to_another_of_its_kind(quantity):
    one, other = QUANTITIES[quantity](), QUANTITIES[quantity]()
    assert one == other and hash(one) == hash(other) and one is not other
    assert copy.deepcopy(one) == one
    if type(one) not in (LargestWeights, Counted):  # those of a user are their own
        with pytest.raises(AttributeError):
            one.every = 17
    unlike = [make() for name, make in QUANTITIES.items() if name != quantity]
    assert one not in unlike


def test_a_probe_that_is_changed_afterwards_changes_nothing():
    x = PROBE.copy()
    quantities = [Activations(x), Explanations("saliency", x)]
    x[:] = 0
    assert quantities == [Activations(PROBE), Explanations("saliency", PROBE)]
    with pytest.raises(ValueError, match="read-only"):
        quantities[0].probe[:] = 0


@pytest.fixture(scope="module")
def of_subclasses(tmp_path_factory):
    """What subclasses of all quantities record."""
    folder = tmp_path_factory.mktemp("subclasses") / "run"
    derived = [make(type(f"My{type(make()).__name__}", (type(make()),), {})) for make in QUANTITIES.values()]
    fit(network(), [InSituRecorder(folder, derived)])
    return recorded(folder)


def test_a_subclass_of_a_quantity_records_what_the_quantity_does(fresh, of_subclasses):
    named = {"quantities/MyLargestWeights": "LargestWeights", "quantities/MyCounted": "Counted"}
    renamed = {
        f"quantities/{named[name]}" if name in named else name: rows for name, rows in of_subclasses.items()
    }
    assert_same(renamed, fresh)


@pytest.mark.parametrize(
    "quantity", [name for name in QUANTITIES if name not in ("LargestWeights", "Counted")]
)
def test_a_quantity_and_a_subclass_of_it_would_write_the_same_and_are_refused(quantity, tmp_path):
    make = QUANTITIES[quantity]
    derived = make(type("Mine", (type(make()),), {}))
    with pytest.raises(ValueError, match="Expected each quantity once"):
        InSituRecorder(tmp_path / "run", [make(), derived])
    assert not (tmp_path / "run").exists()
