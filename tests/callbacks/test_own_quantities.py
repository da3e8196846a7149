"""A quantity of the user's own: recorded, read, exported; and whatever it does, all else is recorded."""

import dataclasses
import json

import keras
import numpy as np
import pandas as pd
import pytest
from fits import LargestWeights, digits, fit, network
from tensorview_insitu.callbacks import (
    Budget,
    InSituRecorder,
    Kernels,
    Metrics,
    Numbers,
    every_epochs,
    first_then,
)
from tensorview_insitu.paraview_states.states import write_states

from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import read_index
from tensorview_insitu.run.errors import NotInRunError
from tensorview_insitu.run.reader import Run

KERNELS = ["conv1", "conv2", "classes"]


def test_its_numbers_are_those_of_the_model_at_that_moment(tmp_path):
    model = network()
    recorder = InSituRecorder(tmp_path / "run", [LargestWeights(), Kernels("batch")])
    history = fit(model, [recorder])
    assert history.history == fit(network(), []).history
    run = Run.open(tmp_path / "run")
    assert run.quantity_names() == ["LargestWeights"] and run.identity["missing"] == []
    table = run.quantity("LargestWeights")
    assert list(table.columns) == ["step", "epoch", *KERNELS]
    assert list(table["step"]) == [0, 13, 26] and list(table["epoch"]) == [0, 1, 2]
    for name in KERNELS:
        kernels = run.variable(name, "kernel")
        expected = [np.abs(kernels.values[list(kernels.steps).index(step)]).max() for step in (0, 13, 26)]
        np.testing.assert_array_equal(table[name], np.asarray(expected, np.float64))


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        ("batch", range(27)),
        (10, [0, 10, 20]),
        (every_epochs(2), [0, 26]),
        (first_then(2, 12), [0, 1, 2, 12, 24]),
    ],
)
def test_it_is_asked_when_its_rhythm_says(every, steps, tmp_path):
    fit(network(), [InSituRecorder(tmp_path / "run", [LargestWeights(every=every)])])
    table = Run.open(tmp_path / "run").quantity("LargestWeights")
    assert list(table["step"]) == list(steps)
    np.testing.assert_allclose(table["epoch"], np.array(steps) / 13)


def test_of_a_model_that_its_first_batch_builds_it_begins_after_that(tmp_path):
    model = network("sequential without input")
    fit(model, [InSituRecorder(tmp_path / "run", [LargestWeights()])])
    assert list(Run.open(tmp_path / "run").quantity("LargestWeights")["step"]) == [13, 26]


@dataclasses.dataclass(frozen=True)
class Moved(Numbers):
    """How far a layer has moved since the beginning: it has to remember that, for each run."""

    layer: str
    every: int = 13

    def begin(self, model):
        kernel = model.get_layer(self.layer).kernel
        beginning = kernel.numpy()
        return lambda: {"distance": np.linalg.norm(kernel.numpy() - beginning)}


def test_what_it_remembers_belongs_to_one_run(tmp_path):
    moved = Moved("conv1")
    for fold in range(2):
        model = network(seed=fold)
        before = model.get_layer("conv1").kernel.numpy()
        fit(model, [InSituRecorder(tmp_path / str(fold), [moved])])
        table = Run.open(tmp_path / str(fold)).quantity("Moved")
        expected = np.linalg.norm(model.get_layer("conv1").kernel.numpy() - before)
        assert table["distance"].iloc[0] == 0 and table["distance"].iloc[-1] == pytest.approx(expected)


class Own(Numbers):
    """Gives what it is told to."""

    def __init__(self, name, give, every="epoch"):
        self.name, self.give = name, give
        super().__init__(every=every)

    def numbers(self, model):
        return self.give(model)


def recorded(folder, *own, epochs=4):
    """The run of a training with these; all else of it is there."""
    x, y = digits()
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    quantities = [Metrics(), Kernels(), *own]
    recorder = InSituRecorder(folder, quantities)
    with pytest.warns() as caught:
        model.fit(x[:32], y[:32], epochs=epochs, verbose=0, callbacks=[recorder])
    ours = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]
    assert len(ours) == 1 and len(ours[0].splitlines()) == 1 and len(ours[0]) < 500
    run = Run.open(folder)
    assert len(run.scalars("batch")) == len(run.scalars("epoch")) == epochs
    assert len(run.variable(*run.variables()[0])) == epochs + 1
    return run


def failing_at(*times):
    count = iter(range(100))

    def give(model):
        number = next(count)
        if number in times:
            raise ZeroDivisionError("nothing\nto divide by\n" + "here " * 200)
        return {"number": number}

    return give


@pytest.mark.parametrize(
    ("times", "rows"),
    [
        ((0,), {1: 1, 2: 2, 3: 3, 4: 4}),  # no name of a number is known yet: no row
        ((2,), {0: 0, 1: 1, 2: np.nan, 3: 3, 4: 4}),
        ((1, 3), {0: 0, 1: np.nan, 2: 2, 3: np.nan, 4: 4}),
        ((1, 2), {0: 0, 1: np.nan, 2: np.nan, 3: 3, 4: 4}),
        ((1, 2, 3), {0: 0, 1: np.nan, 2: np.nan}),  # three in a row: asked no more
    ],
)
def test_a_time_at_which_it_raises_is_a_row_of_nan_and_is_told(times, rows, tmp_path):
    run = recorded(tmp_path / "run", Own("mine", failing_at(*times)), LargestWeights())
    table = run.quantity("mine").set_index("step")["number"]
    pd.testing.assert_series_equal(
        table, pd.Series(rows, dtype=float, name="number"), check_index=False, check_dtype=False
    )
    assert list(table.index) == list(rows)
    first, *more = run.identity["missing"]
    assert first.startswith(f"quantity mine is lacking at step {times[0]}, and maybe later: ")
    assert "ZeroDivisionError: nothing to divide by here here" in first and len(first) < 350
    assert more == (
        ["quantity mine is asked no more after step 3: it failed 3 times in a row"] if len(times) == 3 else []
    )
    assert len(run.quantity("LargestWeights")) == 5


def test_one_that_raises_when_it_begins_is_told_and_all_else_recorded(tmp_path):
    class Never(Numbers):
        def begin(self, model):
            raise OSError("no such file")

    class Unwritten(Numbers):
        pass

    run = recorded(tmp_path / "run", Never(), Unwritten())
    assert run.identity["missing"] == [
        "quantity Never is lacking at step 0, and maybe later: OSError: no such file",
        "no quantity Unwritten: Unwritten lacks numbers(self, model)",
        "quantity Never is asked no more after step 2: it failed 3 times in a row",
    ]
    assert run.quantity_names() == []


def test_strict_raises_in_place_of_a_warning(tmp_path):
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Own("mine", failing_at(1))], strict=True)
    with pytest.raises(RuntimeError, match="quantity mine is lacking at step 13"):
        fit(network(), [recorder])


NUMBERS = {
    "an int": (3, 3.0),
    "true": (True, 1.0),
    "nan": (np.nan, np.nan),
    "infinity": (float("-inf"), -np.inf),
    "half": (np.float16(0.5), 0.5),
    "an array of no axes": (np.array(2, np.int8), 2.0),
    "a tensor": (keras.ops.sum(keras.ops.ones(4)), 4.0),
    "a variable": (keras.Variable(7.0), 7.0),
    "bfloat16": (keras.ops.cast(1.5, "bfloat16"), 1.5),
    5: (1, 1.0),
    "=SUM(A1)": (1, 1.0),
    "a\tb\n": (1, 1.0),
    "a/b": (1, 1.0),
}
NO_NUMBERS = {
    "text": ("3", "a str is no number"),
    "none": (None, "a NoneType is no number"),
    "complex": (1j, "a complex is no number"),
    "an array": (np.zeros(1), r"an array of shape (1,) and type float64 is no number"),
    "a tensor of many": (keras.ops.ones((2, 3)), "an array of shape (2, 3) and type float32 is no number"),
    "too large": (10**400, "it is too large for a float"),
    "step": (1, "the run's tables have a column of that name"),
    "wall_time": (1, "the run's tables have a column of that name"),
    "5": (1, "two have this name"),
    "\ud800": (1, "its name is no text that a file can hold"),
}


def test_numbers_of_every_kind_are_recorded_and_what_is_none_is_told_by_its_name(tmp_path):
    given = {name: value for name, (value, _) in (NUMBERS | NO_NUMBERS).items()}
    run = recorded(tmp_path / "run", Own("mixed", lambda model: given))
    table = run.quantity("mixed")
    assert list(table.columns) == ["step", "epoch", *map(str, NUMBERS)]
    for name, (_, expected) in NUMBERS.items():
        np.testing.assert_array_equal(table[str(name)], [expected] * 5)
    told = [f'quantity mixed: "{name}" is not recorded: {why}' for name, (_, why) in NO_NUMBERS.items()]
    assert run.identity["missing"] == [line.replace("\ud800", " ").replace('" "', '""') for line in told]
    export_run(run)


@pytest.mark.parametrize("given", [3.0, None, [("a", 1)], np.zeros(3), {1, 2}])
def test_what_is_no_dict_is_told_in_a_sentence(given, tmp_path):
    run = recorded(tmp_path / "run", Own("mine", lambda model: given))
    kind = type(given).__name__
    assert run.identity["missing"][0].endswith(
        f"expected a dict of numbers by their names, received a {kind}"
    )


def test_a_number_may_come_later_or_not_always(tmp_path):
    count = iter(range(100))

    def give(model):
        number = next(count)
        return {} if number == 3 else {"always": number} | ({"later": number} if number > 1 else {})

    fit(network(), [InSituRecorder(tmp_path / "run", [Own("mine", give, 5)])])
    table = Run.open(tmp_path / "run").quantity("mine")
    assert list(table["step"]) == [0, 5, 10, 20, 25] and list(table["always"]) == [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(table["later"], [np.nan, np.nan, 2, 4, 5])


NAMES = [
    "plain",
    "Plain",
    "a/b",
    "a",
    "a//b",
    "/",
    "..",
    ".",
    "50%",
    "%2F",
    "my_steps",
    "my",
    "\0",
    "line\nbreak",
    "x" * 300,
    "µ ≥ 0",
    "epochs",
    "gradient_norms",
    "quantity epochs",
    "=1+1",
    "CON",
]


def test_quantities_of_any_name_are_kept_apart(tmp_path):
    own = [Own(name, lambda model, i=i: {"value": i}) for i, name in enumerate(NAMES)]
    fit(network(), [InSituRecorder(tmp_path / "run", own)], epochs=1)
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == [] and set(run.quantity_names()) == set(NAMES)
    for i, name in enumerate(NAMES):
        assert list(run.quantity(name)["value"]) == [i, i]
    folder = export_run(run).parent
    index = read_index(folder)
    files = {one["name"]: one["table"]["file"] for one in index["quantities"]}
    assert set(files) == set(NAMES) and len({file.lower() for file in files.values()}) == len(NAMES)
    taken = {table["file"] for table in index["tables"].values()}
    assert not taken & set(files.values())
    for i, name in enumerate(NAMES):
        assert list(pd.read_csv(folder / files[name])["value"]) == [i, i]
    assert "quantities" not in write_states(folder).impossible


def test_two_of_one_name_are_refused(tmp_path):
    for pair in ([LargestWeights(), LargestWeights(every=3)], [Own("a", dict), Own("a", dict)]):
        with pytest.raises(ValueError, match="Expected each quantity once. Received quantity"):
            InSituRecorder(tmp_path / "run", pair)


@pytest.mark.parametrize("name", ["\ud800", 3, ["a"]])
def test_a_name_that_no_file_can_have_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="Expected the name of a quantity to be text"):
        InSituRecorder(tmp_path / "run", [Own(name, dict)])


def test_what_is_no_kind_of_quantity_is_refused(tmp_path):
    from tensorview_insitu.callbacks.quantities import Quantity

    class Bare(Quantity):
        every = "epoch"

    for wrong in (Bare(), LargestWeights, "Metrics", None):
        with pytest.raises(ValueError, match="one of your own derived from Numbers"):
            InSituRecorder(tmp_path / "run", [wrong])
    with pytest.raises(ValueError, match="Expected every to be"):
        LargestWeights(every=0)


def test_one_that_is_not_in_the_run_is_told_with_those_that_are(run):
    with pytest.raises(NotInRunError, match='No quantity "other" in this run. It holds: LargestWeights.'):
        run.quantity("other")


def test_a_budget_of_bytes_never_ends_it(tmp_path):
    budget = Budget(step_overhead=100.0, total_bytes=1000)
    quantities = [Metrics(), Kernels(), LargestWeights()]
    fit(network(), [InSituRecorder(tmp_path / "run", quantities, budget=budget)], epochs=4)
    assert len(Run.open(tmp_path / "run").quantity("LargestWeights")) == 5


def test_its_table_and_its_chart_hold_its_numbers(run, exported):
    index = read_index(exported)
    (one,) = index["quantities"]
    table = run.quantity("LargestWeights")
    written = pd.read_csv(exported / one["table"]["file"])
    pd.testing.assert_frame_equal(written, table)
    assert one["table"]["file"] == "tables/LargestWeights.csv"
    assert one["range"] == [table[KERNELS].min().min(), table[KERNELS].max().max()]
    script = (exported / "states/quantities.py").read_text()
    assert all(f"'{name}'" in script or f'"{name}"' in script for name in KERNELS)
    assert json.dumps(one["table"]["file"]) in script or one["table"]["file"] in script
