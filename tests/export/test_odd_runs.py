"""Runs that are unlike the usual one: nothing is dropped, nothing made up, nothing fails."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from reading import read_cells, read_collection, read_image, read_poly
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.states import write_states
from tensorview_insitu.paraview_states.views import VIEWS
from vtkmodules.util.numpy_support import vtk_to_numpy

from tensorview_insitu.cli.main import main
from tensorview_insitu.export.comparison import export_comparison
from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import read_index
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter

PER_EPOCH = 3


def clock(epochs: int) -> dict[str, Rows]:
    steps = np.arange(1, epochs * PER_EPOCH + 1)
    columns = [steps, (steps - 1) // PER_EPOCH + 1, (steps - 1) % PER_EPOCH + 1, steps * 0.5]
    return {
        "steps": Rows(steps, np.column_stack(columns), {"columns": ["step", "epoch", "batch", "wall_time"]})
    }


def table(steps, **columns) -> Rows:
    return Rows(
        np.asarray(steps), np.column_stack([*columns.values()]).astype(float), {"columns": [*columns]}
    )


def kernel(steps, seed=0, dtype=np.float32) -> Rows:
    values = np.random.default_rng(seed).normal(size=(len(steps), 3, 3, 1, 4)).astype(dtype)
    dims = ["snapshot", "row", "column", "channel", "filter"]
    return Rows(np.asarray(steps), values, {"dims": dims, "filter_axis": 4})


def ends_of(epochs: int) -> Rows:
    numbers = np.arange(1, epochs + 1)
    return table(numbers * PER_EPOCH, epoch=numbers, loss=1 / numbers)


def written(folder, *blocks) -> Run:
    writer = RunWriter(folder)
    for block in blocks:
        writer.write(block, epoch_end=True)
        writer.flush(30)
    writer.describe(
        layers=[
            {"path": name, "class": "Conv2D", "variables": {"kernel": [3, 3, 1, 4]}} for name in ("a", "b")
        ]
    )
    writer.finish("finished")
    assert not writer.problems
    return Run.open(folder)


def exported(run: Run, folder):
    export_run(run, folder)
    report = write_states(folder)
    index = read_index(folder)
    assert index["failed"] == {} and not report.lost
    return index, report


def test_a_run_without_metrics_shows_the_rest(tmp_path):
    index, report = exported(
        written(tmp_path / "run", {**clock(2), "layers/a/kernel": kernel([0, 3, 6])}), tmp_path / "e"
    )
    assert index["metrics"] == [] and set(index["tables"]) == set()
    assert "kernel_grids" not in report.impossible and "dashboard" not in report.impossible
    assert "training_curves" in report.impossible


def extreme(folder, **about) -> RunWriter:
    """Writes two epochs, whose numbers are as large as numbers get, and not numbers."""
    ends = {
        "epoch": [1, 2],
        "loss": [0.5, np.inf],
        "huge": [1e300, -1e300],
        "down": [1.0, -np.inf],
        "none": [np.nan, np.nan],
    }
    writer = RunWriter(folder)
    writer.write({**clock(2), "scalars/epoch": table([3, 6], **ends), "layers/a/kernel": kernel([0, 3, 6])})
    writer.describe(**about)
    return writer


def test_numbers_that_json_and_float32_do_not_hold_stay_what_they_are(tmp_path, capsys):
    extreme(tmp_path / "run").finish("finished")
    run = Run.open(tmp_path / "run")
    index, _ = exported(run, tmp_path / "export")
    assert any(note.startswith("huge is beyond 3.4e+38 in 2 of 2 epochs") for note in index["notes"])
    told = pd.read_csv(tmp_path / "export/tables/epochs.csv")
    pd.testing.assert_frame_equal(
        told.astype(float), run.scalars("epoch").astype(float), check_exact=True, check_like=True
    )
    ranges = {one["name"]: one["range"] for one in index["metrics"]}
    assert ranges["huge"] == [-1e300, 1e300] and ranges["loss"] == [0.5, 0.5] and ranges["down"] == [1.0, 1.0]
    assert main(["info", str(run.folder), "--json"]) == 0
    last = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["last_epoch"]
    assert (last["loss"], last["down"], last["none"], last["huge"]) == ("Infinity", "-Infinity", None, -1e300)
    assert main(["info", str(run.folder)]) == 0
    assert "loss is inf in the end, and not finite since epoch 2" in capsys.readouterr().out


@pytest.mark.parametrize(("planned", "columns"), [(None, 2), (0, 2), (5, 5), (500, 500), (10**6, 2)])
def test_what_a_run_json_plans_makes_no_map_larger_than_it_may_be(planned, columns, tmp_path):
    writer = extreme(tmp_path / "run", planned_epochs=planned)
    writer.flush(30)
    index, _ = exported(Run.open(tmp_path / "run"), tmp_path / "export")
    writer.finish("finished")
    (heat,) = [one for one in index["health"] if one["array"] == "log10_weight_norm"]
    _, arrays, _ = read_image(tmp_path / "export" / heat["file"])
    values = arrays[heat["array"]].reshape(-1)
    assert len(values) == columns and np.isfinite(values[:2]).all() and np.isnan(values[2:]).all()


@pytest.mark.parametrize("every", [1, 2, 3])
def test_an_epochs_move_is_that_of_one_epoch_whatever_is_exported(every, tmp_path):
    steps = np.arange(13)  # a snapshot at each, of three in an epoch
    run = written(
        tmp_path / "run", {**clock(4), "scalars/epoch": ends_of(4), "layers/a/kernel": kernel(steps)}
    )
    folder = export_run(run, tmp_path / "export", every=every).parent
    maps = {heat["array"]: heat for heat in read_index(folder)["health"]}
    values = run.variable("a", "kernel").values.astype(np.float64)
    kept = {*steps[::every], 12}
    expected = [
        np.log10(np.linalg.norm(values[3 * e] - values[3 * e - 3]) / np.linalg.norm(values[3 * e]))
        if {3 * e, 3 * e - 3} <= kept
        else np.nan
        for e in range(1, 5)
    ]
    if np.isnan(expected).all():
        assert "log10_epoch_to_weight" not in maps
        assert any(
            "how far an epoch moves the weights is not shown" in n for n in read_index(folder)["notes"]
        )
        return
    heat = maps["log10_epoch_to_weight"]
    held = read_image(folder / heat["file"])[1][heat["array"]][:, 0, 0]
    np.testing.assert_allclose(held, expected, rtol=1e-5)


def test_one_epoch_and_a_loss_that_was_never_finite(tmp_path):
    ends = table([3], epoch=[1], loss=[np.nan], accuracy=[0.5])
    rows = {
        **clock(1),
        "scalars/epoch": ends,
        "scalars/batch": table([1, 2, 3], loss=[np.nan] * 3, accuracy=[0, 0.5, 1]),
    }
    index, report = exported(written(tmp_path / "run", rows), tmp_path / "e")
    assert "training_curve_3d" in report.impossible and "training_curves" not in report.impossible
    batches = pd.read_csv(tmp_path / "e/tables/batches.csv")
    assert batches["loss"].isna().all() and list(batches["accuracy"]) == [0, 0.5, 1]
    assert "nan" in (tmp_path / "e/tables/batches.csv").read_text()


def test_running_values_keep_their_name_in_every_table(tmp_path):
    rows = {
        **clock(1),
        "scalars/batch": table(
            [1, 2, 3],
            **{
                "loss": [3, 2, 1],
                "running/auc": [0.1, 0.2, 0.3],
                "learning_rate/a": [1, 1, 1],
                "learning_rate/b": [2, 2, 2],
            },
        ),
    }
    rows["layers/a/kernel"] = kernel([0, 1, 2, 3])
    index, _ = exported(written(tmp_path / "run", rows), tmp_path / "e")
    assert list(pd.read_csv(tmp_path / "e/tables/batches.csv"))[4:] == [
        "loss",
        "running/auc",
        "learning_rate/a",
        "learning_rate/b",
    ]
    assert set(index["layers"][0]["trajectory"]["arrays"]) == {
        "step",
        "epoch",
        "loss",
        "learning_rate_a",
        "learning_rate_b",
    }
    scene = VIEWS["weight_trajectory"](index, Settings(colour_by="learning_rate_b"))
    assert "learning rate b" in [bar.properties["Title"] for view in scene.views for bar in view.colour_bars]


def test_a_layer_that_appears_later_is_nothing_before(tmp_path):
    late = kernel([6, 9], seed=1)
    run = written(
        tmp_path / "run", {**clock(3), "layers/a/kernel": kernel([0, 3, 6, 9]), "layers/b/kernel": late}
    )
    index, _ = exported(run, tmp_path / "e")
    moments = read_collection(tmp_path / "e" / index["network"]["file"])
    assert [time for time, _ in moments] == [0, 1, 2, 3]
    for (epoch, file), expected in zip(moments, [None, None, 0, 1], strict=True):
        _, _, data = read_poly(file)
        cells = {
            data.GetCellData().GetArrayName(i): vtk_to_numpy(data.GetCellData().GetArray(i))
            for i in range(data.GetCellData().GetNumberOfArrays())
        }
        own = cells["layer"] == 1
        assert np.isfinite(cells["weight"][~own]).all()
        if expected is None:
            assert np.isnan(cells["weight"][own]).all() and np.isnan(cells["change"][own]).all(), epoch
        else:
            np.testing.assert_array_equal(
                np.sort(cells["weight"][own]), np.sort(late.values[expected].ravel())
            )
    assert index["network"]["of"] == 2


def test_weights_that_become_float16_keep_their_values(tmp_path):
    first, second = kernel([0, 3]), kernel([6, 9], dtype=np.float16)
    run = written(tmp_path / "run", {**clock(3), "layers/a/kernel": first}, {"layers/a/kernel": second})
    index, _ = exported(run, tmp_path / "e")
    series = read_collection(tmp_path / "e" / index["layers"][0]["variables"][0]["file"])
    assert [time for time, _ in series] == [0, 1, 2, 3]
    for (_, file), values in zip(series, [*first.values, *second.values.astype(np.float32)], strict=True):
        np.testing.assert_array_equal(read_image(file)[0]["weight_0"], values[:, :, 0].transpose(2, 1, 0))


def test_a_resumed_run_with_other_metrics_has_all_columns(tmp_path):
    first = {**clock(1), "scalars/epoch": table([3], epoch=[1], loss=[2.0], accuracy=[0.5])}
    second = {"scalars/epoch": table([6], epoch=[2], loss=[1.0], auc=[0.7])}
    index, _ = exported(written(tmp_path / "run", first, second), tmp_path / "e")
    epochs = pd.read_csv(tmp_path / "e/tables/epochs.csv")
    np.testing.assert_array_equal(epochs["accuracy"], [0.5, np.nan])
    np.testing.assert_array_equal(epochs["auc"], [np.nan, 0.7])
    assert {metric["name"] for metric in index["metrics"]} == {"loss", "accuracy", "auc"}


def test_runs_with_other_columns_and_other_epochs_are_compared(tmp_path):
    one = written(
        tmp_path / "x/run",
        {
            **clock(2),
            "scalars/epoch": table([3, 6], epoch=[1, 2], loss=[4, 3], auc=[0.1, 0.2]),
            "layers/a/kernel": kernel([0, 3]),
        },
    )
    two = written(
        tmp_path / "y/run",
        {
            **clock(3),
            "scalars/epoch": table([4, 6], epoch=[1, 3], loss=[7, 6]),
            "layers/b/kernel": kernel([0, 3]),
        },
    )
    three = written(tmp_path / "z/run (1)", {**clock(1), "scalars/epoch": table([3], epoch=[1], loss=[9])})
    export_comparison([one, two, three], tmp_path / "compared")
    index = read_index(tmp_path / "compared")
    assert len(set(index["comparison"]["runs"])) == 3
    written_table = pd.read_csv(tmp_path / "compared/tables/comparison.csv")
    loss = next(metric for metric in index["comparison"]["metrics"] if metric["name"] == "loss")
    by_run = {column["run"]: written_table[column["column"]].tolist() for column in loss["columns"]}
    assert str(by_run) == str({0: [4.0, 3.0, np.nan], 1: [7.0, np.nan, 6.0], 2: [9.0, np.nan, np.nan]})
    assert index["epochs"] == {"epochs": [1, 2, 3], "steps": [3, 6, 6]}
    notes = " ".join(index["notes"])
    assert (
        "auc is not in" in notes
        and "not compared, because not all runs have them with one shape: a, b" in notes
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_a_long_kernel_table_of_several_pieces_is_cut_where_it_says(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("tensorview_insitu.export.kernel_table._MOST_TABLE_ROWS", 36 * rows + 5)
    pieces = Run.pieces
    monkeypatch.setattr(
        Run, "pieces", lambda self, layer, variable, **given: pieces(self, layer, variable, 4 * 36, **given)
    )
    run = written(tmp_path / "run", {**clock(3), "layers/a/kernel": kernel([0, 3, 6, 9])})
    export_run(run, tmp_path / "e", layers=["a"])
    held = pd.read_csv(tmp_path / "e/tables/a_kernel.csv")
    assert len(held) == 36 * rows + 5
    assert f"was cut at {36 * rows + 5} of 144 rows" in " ".join(read_index(tmp_path / "e")["notes"])


@pytest.mark.parametrize(("space", "said"), [((), None), ((5,), "one"), ((5, 6), None), ((5, 6, 7), "3")])
def test_maps_that_are_no_pictures_are_not_drawn_and_that_is_said(space, said, tmp_path):
    dims = ["snapshot", "sample", "row", "column", "depth"][: 2 + len(space)]
    about = {"dims": [*dims, "filter"], "filter_axis": len(dims), "stride": 1}
    maps = Rows(np.array([3]), np.ones((1, 2, *space, 4), np.float32), about)
    told = {
        "dims": ["snapshot", "statistic", "filter"],
        "filter_axis": 2,
        "statistics": ["minimum", "maximum"],
    }
    statistics = Rows(np.array([3]), np.ones((1, 2, 4), np.float32), told)
    rows = {"activations/a/maps": maps, "activations/a/statistics": statistics}
    run = written(tmp_path / "run", {**clock(1), **rows})
    index, report = exported(run, tmp_path / "e")
    note = f"the maps of a are not drawn: pictures have two axes, and these have {said}"
    assert index["notes"] == ([note] if said else [])
    assert ("feature_maps" in report.impossible) == (len(space) != 2)


def test_every_kernel_of_a_layer_is_in_the_network_and_what_shows_one_says_which(tmp_path):
    rows = {"layers/a/kernel": kernel([0, 3]), "layers/a/recurrent_kernel": kernel([0, 3], seed=1)}
    run = written(tmp_path / "run", {**clock(1), **rows, "layers/b/kernel": kernel([0, 3], seed=2)})
    index, _ = exported(run, tmp_path / "e")
    whole = index["network"]
    assert whole["layers"] == ["a/kernel", "a/recurrent_kernel", "b"]
    assert (whole["of"], whole["drawn"], whole["weights"]) == (3, 108, 108)
    _, last = read_collection(tmp_path / "e" / whole["file"])[-1]
    cells = read_cells(last)
    for place, (layer, name) in enumerate(whole["kernels"]):
        at = tuple(cells[axis][cells["layer"] == place] for axis in ("row", "column", "channel", "filter"))
        expected = run.variable(layer, name).values[(-1, *at)]
        np.testing.assert_array_equal(cells["weight"][cells["layer"] == place], expected)
    assert index["notes"] == [
        "of a, the views of one layer and comparisons show kernel; recurrent_kernel as volumes, "
        "distributions and in the network"
    ]


def test_what_is_not_exported_is_said(tmp_path):
    statistics = Rows(
        np.array([3]),
        np.ones((1, 2, 4), np.float32),
        {"dims": ["snapshot", "statistic", "filter"], "statistics": ["mean", "max"]},
    )
    run = written(
        tmp_path / "run", {**clock(1), "layers/a/kernel": kernel([0, 3]), "statistics/a/kernel": statistics}
    )
    index, _ = exported(run, tmp_path / "e")
    assert index["notes"] == [
        "/statistics of the run are not exported: Run, and any reader of HDF5, reads them"
    ]
