"""A whole export: equal to the run, written once, of any run."""

import json
import shutil
from xml.etree import ElementTree

import keras
import numpy as np
import pandas as pd
import pytest
from fits import fit, network
from reading import read_collection, read_image, read_poly
from tensorview_insitu.callbacks import InSituRecorder
from tensorview_insitu.paraview_states.states import write_states

from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import NoExportError, read_index
from tensorview_insitu.run.errors import NotInRunError
from tensorview_insitu.run.reader import Run


def times_of_files(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_every_vtk_file_is_well_formed_xml(exported):
    """Raw bytes after the XML are what VTK 9.2 fails on with an expat that has its security updates."""
    files = [p for p in exported.rglob("*") if p.suffix in (".vti", ".vtp", ".pvd", ".pvsm")]
    assert len(files) > 40
    for file in files:
        ElementTree.parse(file)


def test_kernels_are_image_data_over_time_equal_to_the_run(run, exported):
    for layer in ("conv1", "conv2"):
        kernel = run.variable(layer, "kernel")
        series = read_collection(exported / f"layers/{layer}/kernel.pvd")
        assert [t for t, _ in series] == list(kernel.epochs)
        for (_, file), values in zip(series, kernel.values, strict=True):
            points, _, _ = read_image(file)
            for channel in range(values.shape[2]):
                np.testing.assert_array_equal(
                    points[f"weight_{channel}"], values[:, :, channel, :].transpose(2, 1, 0)
                )


def test_biases_are_image_data_too(run, exported):
    bias = run.variable("classes", "bias")
    for (_, file), values in zip(
        read_collection(exported / "layers/classes/bias.pvd"), bias.values, strict=True
    ):
        np.testing.assert_array_equal(read_image(file)[0]["bias"][:, 0, 0], values)


def test_sheets_hold_every_cells_weight_at_its_filter_and_epoch(run, exported):
    kernel = run.variable("conv1", "kernel")
    sheets = next(la for la in read_index(exported)["layers"] if la["name"] == "conv1")["sheets"]
    points, arrays, data = read_poly(exported / sheets["file"])
    assert len(points) == 9 * 5 * 8 and data.GetNumberOfPolys() == 9 * 4 * 7
    for i in range(0, len(points), 7):
        row, column = sheets["cells"][arrays["cell"][i]]
        snapshot = list(kernel.epochs).index(arrays["epoch"][i])
        assert arrays["weight"][i] == kernel.values[snapshot, row, column, 0, arrays["filter"][i]]
        assert tuple(points[i]) == (arrays["filter"][i], arrays["epoch"][i], arrays["cell"][i])
    for (time, file), values in zip(
        read_collection(exported / sheets["now"]), kernel.values[:, :, :, 0], strict=True
    ):
        _, now, _ = read_poly(file)
        np.testing.assert_array_equal(now["weight"], values.reshape(-1))
        assert set(now["epoch"]) == {time}


def test_the_curve_goes_through_the_epochs_losses_and_accuracies(run, exported):
    epochs = run.scalars("epoch")
    for file, loss, accuracy in (
        ("training", "loss", "accuracy"),
        ("validation", "val_loss", "val_accuracy"),
    ):
        points, arrays, data = read_poly(exported / f"curves/{file}.vtp")
        expected = epochs[["epoch", loss, accuracy]].to_numpy(np.float32)
        np.testing.assert_array_equal(points, expected)
        np.testing.assert_array_equal(arrays["loss"], expected[:, 1])
        assert data.GetNumberOfLines() == 1
    now = read_collection(exported / "curves/now.pvd")
    assert [t for t, _ in now] == [1, 2, 3, 4]
    assert tuple(read_poly(now[2][1])[0][0]) == tuple(
        epochs.loc[2, ["epoch", "loss", "accuracy"]].to_numpy(np.float32)
    )


def test_the_heat_map_holds_the_logarithm_of_every_norm(run, exported):
    norms = run.gradient_norms()
    index = read_index(exported)["gradient_norms"]
    _, cells, data = read_image(exported / index["heat_map"]["file"])
    expected = np.log10(norms[index["heat_map"]["rows"]].to_numpy(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(cells["log10_norm"][:, ::-1, 0], expected)
    assert data.GetSpacing()[0] == 1.0
    low, high = index["heat_map"]["range"]
    assert low == expected.min() and high == expected.max()
    lines = pd.read_csv(exported / index["lines"])
    np.testing.assert_array_equal(lines[index["heat_map"]["rows"]], norms[index["heat_map"]["rows"]])


def test_tables_are_tidy_and_equal_to_the_run(run, exported):
    pd.testing.assert_frame_equal(
        pd.read_csv(exported / "tables/epochs.csv"), run.scalars("epoch"), check_exact=True
    )
    batches = pd.read_csv(exported / "tables/batches.csv")
    pd.testing.assert_frame_equal(batches, run.scalars("batch"), check_exact=True)
    long = pd.read_csv(exported / "tables/gradient_norms.csv")
    assert list(long.columns) == ["step", "epoch", "batch", "layer", "variable", "norm"]
    one = long[(long.step == 20) & (long.layer == "conv2") & (long.variable == "kernel")]
    assert one["norm"].item() == np.float32(run.gradient_norms().loc[19, "conv2/kernel"])
    normalised = pd.read_csv(exported / "tables/epochs_normalised.csv")
    for column in ("loss", "val_accuracy"):
        assert (normalised[column].min(), normalised[column].max()) == (0, 1)


def test_a_layers_kernel_as_a_long_table_when_asked_for(run, tmp_path):
    export_run(run, tmp_path, layers=["conv2"])
    table = pd.read_csv(tmp_path / "tables/conv2_kernel.csv")
    kernel = run.variable("conv2", "kernel")
    assert len(table) == kernel.values.size
    some = table.sample(50, random_state=0)
    for _, row in some.iterrows():
        snapshot = list(kernel.steps).index(row["step"])
        place = tuple(int(row[name]) for name in ("row", "column", "channel", "filter"))
        assert np.float32(row["weight"]) == kernel.values[(snapshot, *place)]
    assert {layer["name"] for layer in read_index(tmp_path)["layers"]} == {"conv2"}


def test_a_long_table_is_cut_and_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tensorview_insitu.export.kernel_table._MOST_TABLE_ROWS", 100)
    export_run(run, tmp_path, layers=["conv1"])
    assert len(pd.read_csv(tmp_path / "tables/conv1_kernel.csv")) == 100
    assert "was cut at 100 of 360 rows" in read_index(tmp_path)["notes"][0]


def test_every_nth_snapshot_and_the_last(run, tmp_path):
    export_run(run, tmp_path, every=3)
    assert [t for t, _ in read_collection(tmp_path / "layers/conv1/kernel.pvd")] == [0, 3, 4]


def test_exporting_again_writes_only_what_is_new(tmp_path):
    model, recorder = network(), InSituRecorder(tmp_path / "run")
    fit(model, [recorder], epochs=2)
    run = Run.open(tmp_path / "run")
    folder = export_run(run).parent
    before = times_of_files(folder)
    fit(model, [recorder], epochs=1)
    export_run(run)
    after = times_of_files(folder)
    new = {p.relative_to(folder).as_posix() for p in after if p not in before}
    assert {"layers/conv1/kernel_0000039.vti", "layers/conv1/sheets_0000039.vtp"} <= new
    # A path's principal components and a distribution's bins are those of all epochs.
    unchanged = [
        p
        for p in before
        if "_00" in p.name
        and p.parent.parent.name == "layers"
        and not p.name.startswith(("path", "distribution"))
    ]
    assert len(unchanged) > 20 and all(after[p] == before[p] for p in unchanged)
    assert [t for t, _ in read_collection(folder / "layers/conv1/kernel.pvd")] == [0, 1, 2, 3]
    index = read_index(folder)
    assert index["epochs"]["epochs"] == [1, 2, 3]
    assert index["layers"][0]["sheets"]["times"] == {"epochs": [0, 1, 2, 3], "steps": [0, 13, 26, 39]}


def test_an_export_of_another_run_is_written_anew(run, tmp_path):
    export_run(run, tmp_path / "export")
    fit(network(seed=7), [InSituRecorder(tmp_path / "other")], epochs=1)
    other = Run.open(tmp_path / "other")
    export_run(other, tmp_path / "export")
    _, first = read_collection(tmp_path / "export/layers/conv1/kernel.pvd")[0]
    expected = other.variable("conv1", "kernel").values[0, :, :, 0].transpose(2, 1, 0)
    np.testing.assert_array_equal(read_image(first)[0]["weight_0"], expected)


def test_a_training_that_diverged_keeps_its_nan(tmp_path):
    model = network(optimizer=keras.optimizers.SGD(1e20))
    fit(model, [InSituRecorder(tmp_path / "run")], epochs=2)
    run = Run.open(tmp_path / "run")
    kernel = run.variable("conv1", "kernel").values
    assert np.isnan(kernel[-1]).any()
    folder = export_run(run).parent
    _, last = read_collection(folder / "layers/conv1/kernel.pvd")[-1]
    np.testing.assert_array_equal(read_image(last)[0]["weight_0"], kernel[-1, :, :, 0].transpose(2, 1, 0))
    points, arrays, _ = read_poly(folder / "layers/conv1/sheets.vtp")
    assert np.isfinite(points).all() and np.isfinite(arrays["height"]).all()
    assert np.isnan(arrays["weight"]).any()
    json.loads((folder / "index.json").read_text(), parse_constant=pytest.fail)


class Diverge(keras.callbacks.Callback):
    """Raises the learning rate beyond all reason when the third epoch begins."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            self.model.optimizer.learning_rate.assign(1e18)


class Stop(keras.callbacks.Callback):
    """Ends the training in its first epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 7:
            raise KeyboardInterrupt


def test_a_curve_ends_where_the_training_diverged(tmp_path):
    model = network(optimizer=keras.optimizers.SGD(0.05))
    fit(model, [InSituRecorder(tmp_path / "run"), Diverge()], epochs=4)
    run = Run.open(tmp_path / "run")
    assert list(np.isfinite(run.scalars("epoch")["loss"])) == [True, True, False, False]
    folder = export_run(run).parent
    curve = read_index(folder)["curve"]
    assert curve["epoch_range"] == [1, 2]
    assert len(read_poly(folder / curve["training"])[0]) == 2
    now = read_collection(folder / curve["now"])
    assert [time for time, _ in now] == [1, 2, 3, 4]
    assert [float(read_poly(file)[0][0, 0]) for _, file in now] == [1, 2, 2, 2]


def test_an_export_before_the_first_epoch_ended(tmp_path):
    with pytest.raises(KeyboardInterrupt), InSituRecorder(tmp_path / "run") as recorder:
        fit(network(), [recorder, Stop()])
    run = Run.open(tmp_path / "run")
    folder = export_run(run).parent
    index = read_index(folder)
    assert (
        index["epochs"] == {"epochs": [], "steps": []} and index["curve"] is None and index["metrics"] == []
    )
    report = write_states(folder)
    impossible = {
        "training_curve_3d",
        "training_curves",
        "weight_trajectory",
        "feature_maps",
        "explanation",
        "explanation_grid",
        "layer_health",
        "quantities",
        "compare",
    }
    assert set(report.impossible) == impossible
    assert len(read_collection(folder / index["gradient_norms"]["now"])) == 1


def test_a_long_run_is_drawn_in_at_most_a_thousand_columns(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorview_insitu.export.gradient_norms._MOST_COLUMNS", 10)
    fit(network(), [InSituRecorder(tmp_path / "run")], epochs=2)
    run = Run.open(tmp_path / "run")
    folder = export_run(run).parent
    index = read_index(folder)["gradient_norms"]
    assert index["steps_per_column"] == 3
    _, cells, _ = read_image(folder / index["heat_map"]["file"])
    norms = run.gradient_norms()["classes/kernel"].to_numpy(np.float64)
    row = len(index["heat_map"]["rows"]) - 1 - index["heat_map"]["rows"].index("classes/kernel")
    np.testing.assert_allclose(cells["log10_norm"][1, row, 0], np.log10(norms[3:6]).mean(), rtol=1e-5)


def test_mistakes_are_told(run, tmp_path):
    with pytest.raises(
        NotInRunError, match='No layer "conv9" in this run. It holds: conv1, norm, conv2, classes'
    ):
        export_run(run, tmp_path, layers=["conv9"])
    with pytest.raises(ValueError, match="Expected every to be a positive int. Received: every=0"):
        export_run(run, tmp_path, every=0)
    with pytest.raises(NoExportError, match="Export the run first: tensorview-insitu export RUN"):
        read_index(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(NoExportError, match="Export the run again"):
        read_index(tmp_path)


def test_the_default_place_is_inside_the_run(copied_run):
    assert export_run(copied_run) == copied_run.folder / "paraview/index.json"
    shutil.rmtree(copied_run.folder / "paraview")
