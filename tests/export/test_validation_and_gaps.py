"""What a curve is called is what it is, and every finite value of it can be seen."""

import keras
import numpy as np
import pandas as pd
import pytest
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder, Metrics
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.export.comparison import export_comparison
from tensorview_insitu.export.curves import has_lone, validation_columns
from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import read_index
from tensorview_insitu.run.reader import Run


def two_heads(folder, every, **options):
    """A network as AlphaZero's, one of whose outputs is called `val`."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((4,))
    heads = {"policy": keras.layers.Dense(3, name="policy")(x), "val": keras.layers.Dense(1, name="val")(x)}
    model = keras.Model(inputs, heads)
    model.compile("adam", {"policy": "mse", "val": "mse"}, metrics={"val": ["mae"]})
    y = {"policy": np.zeros((32, 3)), "val": np.zeros((32, 1))}
    recorder = InSituRecorder(folder, [Metrics(every)])
    model.fit(np.ones((32, 4)), y, batch_size=8, epochs=2, verbose=0, callbacks=[recorder], **options)
    return Run.open(folder)


@pytest.mark.parametrize("every", ["batch", "epoch"])
def test_the_loss_of_an_output_called_val_is_no_validation(every, tmp_path):
    run = two_heads(tmp_path / "run", every)
    index = read_index(export_run(run).parent)
    assert run.identity["validation"] == []
    assert {m["name"]: (m["training"], m["validation"]) for m in index["metrics"]} == {
        name: (name, None) for name in ("loss", "policy_loss", "val_loss", "val_mae")
    }
    compared = export_comparison([run, two_heads(tmp_path / "other", every)], tmp_path / "comparison").parent
    kinds = {one["kind"] for m in read_index(compared)["comparison"]["metrics"] for one in m["columns"]}
    assert kinds == {"training"}


def test_its_validation_is_one(tmp_path):
    run = two_heads(tmp_path / "run", "batch", validation_split=0.25)
    assert {"val_loss", "val_policy_loss", "val_val_loss", "val_val_mae"} == set(run.identity["validation"])
    found = {m["name"]: m["validation"] for m in read_index(export_run(run).parent)["metrics"]}
    assert found["val_mae"] == "val_val_mae" and found["policy_loss"] == "val_policy_loss"


def test_what_a_callback_computed_of_a_validation_is_one():
    epochs = pd.DataFrame({"epoch": [1], "loss": [1.0], "val_f1": [0.5], "val_loss": [1.0]})
    assert validation_columns(epochs, ["loss", "val_loss"], []) == {"val_f1"}
    assert validation_columns(epochs, [], []) == set()
    assert validation_columns(epochs) == {"val_f1", "val_loss"}  # of a run that does not tell


def test_a_validation_of_every_second_epoch_is_drawn_with_dots(tmp_path):
    fit(network(), [InSituRecorder(tmp_path / "run", [Metrics()])], epochs=4, validation_freq=2)
    index = read_index(export_run(Run.open(tmp_path / "run")).parent)
    assert index["metrics"][0]["lone"] == ["validation"]
    scene = VIEWS["training_curves"](index, Settings())
    styles = [d.properties["SeriesMarkerStyle"] for v in scene.views for d in v.displays]
    marked = [name for series in styles for name, style in series.by_array.items() if style]
    assert {"val_loss", "val_accuracy"} <= set(marked) and "loss" not in marked
    # In 3-D no tube reaches them: they are points.
    (view,) = VIEWS["training_curve_3d"](index, Settings()).views
    points = [
        d.properties["Input"].name for d in view.displays if d.properties.get("Representation") == "Points"
    ]
    assert points == ["validation scaled", "marker"]


@pytest.mark.parametrize(
    ("values", "lone"), [([1.0], True), ([1, 2], False), ([1, np.nan, 3, 4], True), ([np.nan, 1, 2], False)]
)
def test_a_value_is_lone_where_none_is_beside_it(values, lone):
    assert has_lone(pd.Series(values, dtype=float)) == lone
