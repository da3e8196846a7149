"""What is not to be trusted says so: in tables, in index.json, in titles, legends and the style of lines."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from fits import fit, network
from reading import read_poly
from tensorview_insitu.callbacks import InSituRecorder
from tensorview_insitu.paraview_states import look
from tensorview_insitu.paraview_states.pvpython import pvpython
from tensorview_insitu.paraview_states.pvsm import pvsm
from tensorview_insitu.paraview_states.scene import rounded
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.states import write_raw_states
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.cli.main import main
from tensorview_insitu.export.comparison import export_comparison
from tensorview_insitu.export.curves import is_metric, metrics_of
from tensorview_insitu.export.dashes import unbroken, write_dashes
from tensorview_insitu.export.layer import Norms
from tensorview_insitu.export.layer_health import _norms_at
from tensorview_insitu.export.run import export_run
from tensorview_insitu.export.trajectory import is_drawn
from tensorview_insitu.export.xdmf import export_xdmf
from tensorview_insitu.index import read_index
from tensorview_insitu.run.identity import read_identity, write_identity
from tensorview_insitu.run.reader import Run

DOUBTS = {
    "scalars/batch": {"loss": "the batches give 1, but Keras reported 2"},
    "scalars/epoch": {"loss": "it runs on over all epochs", "val_accuracy": "another reason"},
    "gradient_norms": {"conv1/kernel": "the norms do not fit"},
    "layers/conv1/kernel": {"kernel": "something else than the training set the weights"},
    "layers/conv1/bias": {"bias": "the same"},
    "dead_filters": {"conv1": "counted twice"},
}


@pytest.fixture(scope="module")
def doubtful(run, tmp_path_factory) -> tuple[Run, object]:
    """The run that all tests share, with doubts in its run.json, and its export."""
    folder = tmp_path_factory.mktemp("doubtful")
    shutil.copytree(run.folder, folder / "run")
    write_identity(folder / "run", {**read_identity(folder / "run"), "untrusted": DOUBTS})
    opened = Run.open(folder / "run")
    export_run(opened, folder / "export", layers=["conv1", "conv2"])
    return opened, folder / "export"


def scene(doubtful, view, **given):
    return VIEWS[view](read_index(doubtful[1]), Settings(**given))


def told(scene):
    """Everything that a scene writes: titles, captions, legends, bars."""
    texts = [str(node.properties.get("Text", "")) for node in scene.sources]
    for view in scene.views:
        texts += [
            str(view.properties.get("ChartTitle", "")),
            *(bar.properties["Title"] for bar in view.colour_bars),
        ]
        for shown in view.displays:
            texts += (
                shown.properties["SeriesLabel"].by_array.values() if "SeriesLabel" in shown.properties else []
            )
    return "\n".join(texts)


def styles(scene):
    return {
        array: style
        for view in scene.views
        for shown in view.displays
        if "SeriesLineStyle" in shown.properties
        for array, style in shown.properties["SeriesLineStyle"].by_array.items()
    }


def test_a_column_in_doubt_has_another_header_and_the_same_numbers(doubtful):
    run, exported = doubtful
    for name, dataset, column in (
        ("batches", run.scalars("batch"), "loss"),
        ("epochs", run.scalars("epoch"), "val_accuracy"),
        ("dead_filters", run.dead_filters(), "conv1"),
    ):
        table = pd.read_csv(exported / f"tables/{name}.csv")
        assert column not in table and "accuracy" in table or name == "dead_filters"
        np.testing.assert_array_equal(table[f"{column} (not trusted)"], dataset[column])
        assert f"{column} (not trusted)" in read_index(exported)["tables"][name]["untrusted"]
    reasons = pd.read_csv(exported / "tables/not_trusted.csv")
    assert list(reasons.columns) == ["dataset", "column", "reason"]
    expected = [(d, c, r) for d, columns in DOUBTS.items() for c, r in columns.items()]
    assert [tuple(row) for row in reasons.to_numpy()] == expected


def test_norms_in_doubt_are_in_a_column_of_their_own(doubtful):
    run, exported = doubtful
    table = pd.read_csv(exported / "tables/gradient_norms.csv")
    own = (table["layer"] == "conv1") & (table["variable"] == "kernel")
    assert table.loc[own, "norm"].isna().all() and table.loc[~own, "norm (not trusted)"].isna().all()
    norms = run.gradient_norms()["conv1/kernel"].to_numpy(np.float32)
    np.testing.assert_array_equal(table.loc[own, "norm (not trusted)"].to_numpy(np.float32), norms)


def test_weights_in_doubt_say_so_in_their_table(doubtful):
    _, exported = doubtful
    assert "weight (not trusted)" in pd.read_csv(exported / "tables/conv1_kernel.csv", nrows=1)
    assert "weight" in pd.read_csv(exported / "tables/conv2_kernel.csv", nrows=1)


@pytest.mark.parametrize(
    ("view", "given"),
    [
        ("training_curves", {}),
        ("kernel_propagation", {"layer": "conv1"}),
        ("biases", {"layer": "conv1"}),
        ("weight_trajectory", {"layer": "conv1"}),
        ("gradient_norms", {}),
        ("feature_maps", {"layer": "conv1"}),
        ("dashboard", {}),
    ],
)
def test_lines_in_doubt_are_dashes_and_dots_and_their_label_says_so(doubtful, view, given):
    drawn = scene(doubtful, view, **given)
    assert "(not trusted)" in told(drawn)
    assert look._DASH_DOT in styles(drawn).values()
    for text in (pvsm(drawn, doubtful[1]), pvpython(drawn)):
        assert "(not trusted)" in text


def test_only_lines_in_doubt_are_drawn_so(doubtful, exported):
    found = styles(scene(doubtful, "training_curves"))
    doubted = {look._DASH_DOT, look._DASH_DOT_DOT}
    assert {found["loss (not trusted)"], found["val_accuracy (not trusted)"]} <= doubted
    assert doubted.isdisjoint((found["val_loss"], found["accuracy"]))
    healthy = VIEWS["training_curves"](read_index(exported), Settings())
    assert doubted.isdisjoint(styles(healthy).values()) and "trusted" not in told(healthy)
    assert "trusted" not in told(scene(doubtful, "kernel_grids", layer="conv2"))


@pytest.mark.parametrize(
    "view", ["kernel_grids", "distributions", "network", "training_curve_3d", "layer_health"]
)
def test_titles_of_other_views_say_it(doubtful, view):
    given = {"layer": "conv1"} if view in ("kernel_grids", "distributions") else {}
    assert "not trusted" in told(scene(doubtful, view, **given))


def test_a_path_coloured_by_a_loss_in_doubt_says_so(doubtful):
    with pytest.raises(ValueError, match='No "loss" to colour a path by. There are: .*loss_not_trusted'):
        scene(doubtful, "weight_trajectory", colour_by="loss")
    assert "loss not trusted" in told(scene(doubtful, "weight_trajectory", colour_by="loss_not_trusted"))


def test_the_curve_in_doubt_is_dashed_through_the_same_points(doubtful):
    run, exported = doubtful
    curve = read_index(exported)["curve"]
    assert curve["untrusted"] == ["loss", "val_accuracy"] and set(curve["dashes"]) == {
        "training",
        "validation",
    }
    files = [
        node.properties["FileName"]
        for node in scene(doubtful, "training_curve_3d").sources
        if "FileName" in node.properties
    ]
    assert curve["dashes"]["training"] in str(files) and f"'{curve['training']}'" not in str(files)
    points, arrays, data = read_poly(exported / curve["dashes"]["training"])
    assert data.GetNumberOfLines() == 12  # four in each of three intervals
    epochs = run.scalars("epoch")
    for axis, name in ((1, "loss"), (2, "accuracy")):
        expected = np.interp(points[:, 0], epochs["epoch"], epochs[name])
        np.testing.assert_allclose(points[:, axis], expected, rtol=1e-5)
        np.testing.assert_array_equal(arrays[name], points[:, axis])


def test_dashes_keep_to_what_is_finite(tmp_path):
    points = np.array([[1, 1, 1], [2, np.nan, 2], [3, 3, 3], [4, 4, 4], [5, np.inf, 5]], float)
    assert unbroken(points) == [slice(2, 4)]
    write_dashes(tmp_path / "some.vtp", points, "abc")
    drawn, _, data = read_poly(tmp_path / "some.vtp")
    assert data.GetNumberOfLines() == 4 and drawn[:, 0].min() == 3 and drawn[:, 0].max() < 4
    write_dashes(tmp_path / "one.vtp", points[:2], "abc")
    assert read_poly(tmp_path / "one.vtp")[2].GetNumberOfVerts() == 1


def test_a_row_in_doubt_is_hatched_and_no_other(doubtful):
    _, exported = doubtful
    heat = read_index(exported)["gradient_norms"]["heat_map"]
    points, _, data = read_poly(exported / heat["hatching"])
    row = len(heat["rows"]) - 1 - heat["rows"].index("conv1/kernel")
    height = heat["height"] / len(heat["rows"])
    assert data.GetNumberOfLines() > 10
    np.testing.assert_allclose(
        [points[:, 1].min(), points[:, 1].max()], [row * height, (row + 1) * height], rtol=1e-5
    )
    assert points[:, 0].min() >= heat["extent"][0] and points[:, 0].max() <= heat["extent"][1] * (1 + 1e-6)
    assert heat["untrusted"] == ["conv1/kernel"]


@pytest.mark.parametrize("view", ["gradient_norms", "layer_health", "network"])
def test_only_a_zero_is_drawn_as_zero(exported, view):
    """The least value of a range, written with seven digits, was below it and so black: a zero."""
    index = read_index(exported)
    colour_by = "log10_gradient_norm" if view == "network" else None
    drawn = VIEWS[view](index, Settings(colour_by=colour_by))
    heats = [index["gradient_norms"]["heat_map"], *index["health"]]
    lows = {heat["array"]: heat["range"][0] for heat in heats}
    if view == "network":
        lows = {name: low for name, (low, _) in index["network"]["arrays"].items()}
    black = [node for node in drawn.colour_maps if node.properties.get("UseBelowRangeColor")]
    assert black
    for node in black:
        assert rounded(node.properties["RGBPoints"][0]) < np.float32(lows[node.name])


def test_a_norm_of_zero_is_minus_infinity_and_none_is_nan():
    epochs = np.array([1, 2, 3])
    norms = Norms([1.0, 2.0], [0.0, 10.0], [np.nan, 10.0])
    np.testing.assert_array_equal(_norms_at({"a/kernel": norms}, epochs)["a/kernel"], [-np.inf, 1, np.nan])


def test_a_comparison_says_which_run_is_in_doubt(doubtful, tmp_path):
    fit(network(seed=5), [InSituRecorder(tmp_path / "other")], epochs=2)
    export_comparison([doubtful[0], Run.open(tmp_path / "other")], tmp_path / "compared")
    index = read_index(tmp_path / "compared")
    loss = index["comparison"]["metrics"][0]
    assert [(one["run"], one["kind"]) for one in loss["columns"] if one["untrusted"]] == [(0, "training")]
    assert "run_loss_not_trusted" in pd.read_csv(tmp_path / "compared/tables/comparison.csv")
    text = told(VIEWS["compare"](index, Settings(layer="conv1")))
    assert "run (not trusted)" in text and "conv1: other less run (not trusted)" in text
    assert "conv1" not in [one["layer"] for one in index["comparison"]["layers"] if not one["untrusted"]]


def test_a_sidecar_in_doubt_says_so(doubtful):
    run, exported = doubtful
    sidecars = export_xdmf(run, exported / "xdmf", layers=["conv1"])
    states = write_raw_states(exported / "xdmf", sidecars.files, Settings())
    assert any("conv1/kernel (not trusted)" in path.read_text() for path in states)


def test_info_tells_each_doubt_once(doubtful, capsys):
    assert main(["info", str(doubtful[0].folder)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "the batches give 1" in line]
    assert lines == ["  not trusted scalars/batch: loss: the batches give 1, but Keras reported 2"]


def test_running_values_and_learning_rates_are_no_metrics_of_a_batch():
    assert not any(is_drawn(name) for name in ("running/loss", "running/learning_rate", "accuracy", "loss_1"))
    assert all(is_drawn(name) for name in ("loss", "learning_rate", "learning_rate/adam"))
    assert not is_metric("learning_rate/adam") and not is_metric("learning_rate") and is_metric("auc")
    epochs = pd.DataFrame(
        {"step": [1.0], "epoch": [1], "loss": [2.0], "learning_rate/a": [1.0], "val_auc": [0.5]}
    )
    assert [(m["name"], m["training"], m["validation"]) for m in metrics_of(epochs)] == [
        ("loss", "loss", None),
        ("auc", None, "val_auc"),
    ]
