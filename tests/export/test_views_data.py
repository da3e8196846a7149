"""What the views draw is what was recorded, computed a second way."""

import keras
import numpy as np
import pandas as pd
import pytest
from fits import digits, fit, network
from reading import read_cells, read_collection, read_image, read_poly
from tensorview_insitu.callbacks import Activations, InSituRecorder, Kernels
from tensorview_insitu.paraview_states.states import write_states

from tensorview_insitu.export.comparison import export_comparison
from tensorview_insitu.export.grids import as_tiles
from tensorview_insitu.export.pieces import cells_by_filter, grid_of, is_matrix
from tensorview_insitu.export.run import export_run
from tensorview_insitu.export.tiles import Tiling
from tensorview_insitu.export.trajectory import movement, principal_components
from tensorview_insitu.index import by_step, read_index
from tensorview_insitu.run.reader import Run, Snapshots


def layer_of(exported, name):
    return next(layer for layer in read_index(exported)["layers"] if layer["name"] == name)


def test_every_tile_holds_its_filters_grid_and_the_change_since_the_first(run, exported):
    tiles = layer_of(exported, "conv1")["grids"]
    kernel = run.variable("conv1", "kernel")
    for number, (time, path) in enumerate(read_collection(exported / tiles["file"])):
        cells = read_cells(path)
        assert time == kernel.epochs[number]
        expected = kernel.values[number, cells["row"], cells["column"], 0, cells["filter"]]
        np.testing.assert_array_equal(cells["weight"], expected)
        first = kernel.values[0, cells["row"], cells["column"], 0, cells["filter"]]
        np.testing.assert_array_equal(cells["change"], expected - first)
    assert len(cells["weight"]) == 9 * 8
    times = [time for time, _ in read_collection(exported / by_step(tiles["file"]))]
    assert times == list(kernel.steps)


def test_tiles_do_not_meet_and_lie_in_reading_order():
    tiling = Tiling(10, 3, 3)
    corners = tiling.corners()
    assert (np.diff(corners[: tiling.across, 0]) > 3).all() and corners[0, 1] > corners[tiling.across, 1]
    points, quads = tiling.faces()
    assert points[:, 0].min() == 0 and np.isclose(points[:, 0].max(), tiling.size[0])
    assert len(quads) == 90 and points[:, 1].max() <= tiling.size[1] and points[:, 1].min() >= -1e-9


@pytest.mark.parametrize(
    ("shape", "dims", "filters", "tiles"),
    [
        ((3, 3, 1, 4), ("row", "column", "channel", "filter"), 3, (4, 3, 3)),
        ((5, 2, 4), ("position", "channel", "filter"), 2, (4, 2, 5)),
        ((2, 3, 3, 1, 4), ("depth", "row", "column", "channel", "filter"), 4, (4, 3, 6)),
        ((7, 4), ("channel", "filter"), 1, (1, 7, 4)),
        ((5, 1, 1), ("position", "channel", "filter"), 2, (1, 1, 5)),
        ((3, 3, 6, 1), ("row", "column", "filter", "multiplier"), 2, (6, 3, 3)),
    ],
)
def test_kernels_of_every_kind_become_tiles(shape, dims, filters, tiles):
    values = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    snapshots = Snapshots(
        "l", "kernel", values, ("snapshot", *dims), 1 + filters, np.arange(2), np.arange(2.0), {}
    )
    made, about = as_tiles(cells_by_filter(snapshots), grid_of(snapshots), matrix=is_matrix(snapshots))
    assert made.shape == (2, *tiles) and about
    assert sorted(made.ravel()) == sorted(values.ravel())


def test_principal_components_are_those_of_the_covariance(run):
    kernel = run.variable("conv2", "kernel").values
    flat = kernel.reshape(len(kernel), -1)
    places, explained = principal_components(flat)
    _, singular, vectors = np.linalg.svd(
        flat.astype(np.float64) - flat.mean(axis=0, dtype=np.float64), full_matrices=False
    )
    np.testing.assert_allclose(explained, (singular**2 / (singular**2).sum())[:3], rtol=1e-6)
    expected = (flat.astype(np.float64) - flat.mean(axis=0, dtype=np.float64)) @ vectors[:3].T
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-6)


def test_a_path_goes_through_the_recorded_weights(run, exported):
    path = layer_of(exported, "conv2")["trajectory"]
    _, arrays, data = read_poly(exported / path["path"])
    kernel = run.variable("conv2", "kernel").values
    for number in path["weights"][:10]:
        np.testing.assert_array_equal(arrays[f"w_{number}"], kernel.reshape(5, -1)[:, number])
    assert data.GetNumberOfCells() == 1
    # Those that move most come first.
    reach = np.ptp(kernel.reshape(5, -1), axis=0)
    assert reach[path["weights"][0]] == reach.max()
    losses = run.scalars("batch").set_index("step")["loss"]
    np.testing.assert_allclose(arrays["loss"][1:], losses.loc[[13, 26, 39, 52]], rtol=1e-6)


def test_a_filter_that_is_turned_and_stretched_is_told_so():
    first = np.array([[1.0, 2.0], [0.0, 0.0]])
    angle = np.radians(30)
    turned = np.array([[np.cos(angle), 0.0], [np.sin(angle), 6.0]])
    found = movement(turned, first, turned)
    np.testing.assert_allclose(found["angle_to_first"], [30, 90])
    np.testing.assert_allclose(found["length_to_first"], [1, 3])
    np.testing.assert_allclose(found["angle_to_previous"], [0, 0], atol=1e-9)
    tiny = movement(first + [[0, 0], [1e-9, 0]], first, first)["angle_to_first"][0]
    np.testing.assert_allclose(tiny, np.degrees(1e-9), rtol=1e-6)  # where arccos would say 0


def test_distributions_are_of_all_values_and_their_quantiles_exact(run, exported):
    one = next(d for d in read_index(exported)["distributions"] if d["layer"] == "conv2")
    kernel = run.variable("conv2", "kernel").values.reshape(5, -1)
    points, arrays, _ = read_poly(exported / one["surface"])
    density = arrays["density"].reshape(5, -1)
    values = points[:, 0].reshape(5, -1)
    width = values[0, 1] - values[0, 0]
    np.testing.assert_allclose(density.sum(axis=1) * width, 1, rtol=1e-4)
    inside = np.abs(kernel[3][:, None] - values[3][None, :]) <= width / 2
    np.testing.assert_allclose(density[3], inside.sum(axis=0) / kernel.shape[1] / width, rtol=0.2, atol=0.3)
    lines, arrays, _ = read_poly(exported / one["lines"])
    for q in one["quantiles"]:
        mine = lines[np.isclose(arrays["quantile"], q), 0]
        np.testing.assert_allclose(mine, np.quantile(kernel, q, axis=1), atol=1e-6)


def test_feature_maps_are_what_the_layers_answered(run, exported):
    maps = next(m for m in read_index(exported)["feature_maps"] if m["layer"] == "conv1")
    held = run.activations("conv1", "maps")
    tiling = Tiling(*np.moveaxis(held.values[-1, 0], -1, 0).shape, whole=True)
    time, path = read_collection(exported / maps["tiles"]["file"])[-1]
    _, cells, image = read_image(path)
    picture = cells["sample_0"][:, :, 0]
    spacing = image.GetSpacing()[0]
    assert time == 4
    for tile, (x, y) in enumerate(tiling.corners()):
        for row in range(held.values.shape[2]):
            for column in range(held.values.shape[3]):
                at = picture[int((x + column + 0.5) / spacing), int((y - row - 0.5) / spacing)]
                assert at == held.values[-1, 0, row, column, tile]
    # Between any two tiles there is a gap.
    columns = np.isnan(picture).all(axis=1)
    assert columns.sum() == (tiling.across - 1) * tiling.gap


def test_dead_filters_are_outlined_and_counted(tmp_path):
    model = network()
    kernel, bias = model.get_layer("conv1").get_weights()
    kernel[..., 2] = 0
    bias[2] = -1
    model.get_layer("conv1").set_weights([kernel, bias])
    model.get_layer("conv1").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    fit(model, [InSituRecorder(tmp_path / "run", [Kernels(), Activations(digits()[0][:3])])], epochs=1)
    folder = export_run(Run.open(tmp_path / "run")).parent
    maps = next(m for m in read_index(folder)["feature_maps"] if m["layer"] == "conv1")
    _, path = read_collection(folder / maps["tiles"]["outlines"])[-1]
    assert maps["dead"] >= 1 and read_poly(path)[2].GetNumberOfLines() == maps["dead"]
    dead = pd.read_csv(folder / "tables/dead_filters.csv")
    assert dead["conv1"].iloc[-1] == maps["dead"]


def test_what_is_zero_for_one_sample_only_is_not_outlined_as_dead(tmp_path):
    x = np.ones((8, 8, 8, 1), np.float32)
    x[4:] = -1  # of two filters each answers to one half of the probe; a third never does
    inputs = keras.Input((8, 8, 1))
    conv = keras.layers.Conv2D(3, 1, activation="relu", name="conv")
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(conv(inputs))))
    conv.set_weights([np.array([1, -1, 0], np.float32).reshape(1, 1, 1, 3), np.zeros(3)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, np.zeros(8), verbose=0, callbacks=[InSituRecorder(tmp_path / "run", [Activations(x)])])
    run = Run.open(tmp_path / "run")
    assert list(run.dead_filters()["conv"]) == [1, 1] and run.activations("conv").values.shape[1] == 1
    folder = export_run(run).parent
    (maps,) = read_index(folder)["feature_maps"]
    assert maps["dead"] == 1
    for _, path in read_collection(folder / maps["tiles"]["outlines"]):
        points, _, outlines = read_poly(path)
        assert outlines.GetNumberOfLines() == 1 and points[:, 1].max() < maps["tiles"]["size"][1] / 2


def test_layer_health_agrees_with_pandas(run, exported):
    maps = {heat["array"]: heat for heat in read_index(exported)["health"]}
    assert set(maps) == {
        "log10_gradient_norm",
        "log10_update_to_weight",
        "log10_weight_norm",
        "dead_share",
        "log10_moving",
    }

    def row(array, name):
        heat = maps[array]
        cells = read_image(exported / heat["file"])[1][array][:, ::-1, 0]
        return cells[:, heat["rows"].index(name)]

    norms = run.gradient_norms()
    expected = np.log10(norms["conv2/kernel"]).groupby(norms["epoch"]).mean()
    np.testing.assert_allclose(row("log10_gradient_norm", "conv2/kernel"), expected, rtol=1e-6)
    kernel = run.variable("conv2", "kernel").values
    expected = [np.log10(np.linalg.norm(kernel[i])) for i in range(1, 5)]
    np.testing.assert_allclose(row("log10_weight_norm", "conv2/kernel"), expected, rtol=1e-5)
    moved, weights = run.update_norms(), run.weight_norms()
    shares = np.log10(moved["conv1/kernel"] / weights["conv1/kernel"])
    np.testing.assert_allclose(
        row("log10_update_to_weight", "conv1/kernel"), shares.groupby(moved["epoch"]).mean(), rtol=1e-6
    )
    dead = run.dead_filters()
    last = dead[dead["step"] > 0].groupby("step")["conv1"].last() / 8
    np.testing.assert_allclose(row("dead_share", "conv1"), last, rtol=1e-6)


def test_every_cell_of_the_network_tells_which_weight_it_is(run, exported):
    whole = read_index(exported)["network"]
    assert whole["layers"] == ["conv1", "conv2", "classes"]
    # Of the Dense layer's 150 inputs the first 75 are drawn, and the view says so.
    assert (whole["drawn"], whole["weights"]) == (72 + 192 + 750, 72 + 192 + 1500)
    time, path = read_collection(exported / whole["file"])[3]
    cells = read_cells(path)
    assert time == 3
    second = cells["layer"] == 1
    kernel = run.variable("conv2", "kernel").values
    at = tuple(cells[name][second] for name in ("row", "column", "channel", "filter"))
    np.testing.assert_array_equal(cells["weight"][second], kernel[(3, *at)])
    np.testing.assert_array_equal(cells["change"][second], kernel[(3, *at)] - kernel[(0, *at)])
    norm = run.gradient_norms().set_index("step").loc[39, "conv2/kernel"]
    np.testing.assert_allclose(cells["log10_gradient_norm"][second], np.log10(norm), rtol=1e-6)
    dense = cells["layer"] == 2
    matrix = run.variable("classes", "kernel").values[3]
    np.testing.assert_array_equal(
        cells["weight"][dense], matrix[cells["channel"][dense], cells["filter"][dense]]
    )


def test_a_comparison_holds_both_runs_and_their_difference(run, tmp_path):
    fit(network(seed=3), [InSituRecorder(tmp_path / "other")], epochs=3)
    other = Run.open(tmp_path / "other")
    folder = export_comparison([run, other], tmp_path / "compared").parent
    comparison = read_index(folder)["comparison"]
    assert comparison["runs"] == ["digits", "other"]
    table = pd.read_csv(folder / "tables/comparison.csv").set_index("epoch")
    np.testing.assert_array_equal(table["digits_val_loss"], run.scalars("epoch")["val_loss"])
    assert list(table["other_loss"].dropna()) == list(other.scalars("epoch")["loss"])
    layer = next(one for one in comparison["layers"] if one["layer"] == "conv1")
    moments = read_collection(folder / layer["tiles"]["file"])
    assert [time for time, _ in moments] == [0, 1, 2, 3]
    cells = read_cells(moments[2][1])
    at = (cells["row"], cells["column"], 0, cells["filter"])
    a, b = (one.variable("conv1", "kernel").values[(2, *at)] for one in (run, other))
    np.testing.assert_array_equal(cells["weight_0"], a)
    np.testing.assert_array_equal(cells["difference_1"], b - a)


def test_axes_of_a_training_that_runs_reach_to_its_planned_end(tmp_path):
    class Export(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                recorder._writer.flush(10)
                export_run(Run.open(tmp_path / "run"), tmp_path / "during")

    recorder = InSituRecorder(tmp_path / "run")
    fit(network(), [recorder, Export()], epochs=4)
    export_run(Run.open(tmp_path / "run"), tmp_path / "after")
    during, after = (read_index(tmp_path / name) for name in ("during", "after"))
    assert during["epochs"]["epochs"] == [1, 2] and after["epochs"]["epochs"] == [1, 2, 3, 4]
    for index in (during, after):
        sheets = index["layers"][0]["sheets"]
        assert sheets["epoch_range"] == [0, 4] and index["curve"]["epoch_range"] == [1, 4]
        assert index["gradient_norms"]["heat_map"]["extent"] == [0, 52]
        assert index["health"][0]["extent"] == [0.5, 4.5]
    heat = during["health"][0]
    cells = read_image(tmp_path / "during" / heat["file"])[1][heat["array"]]
    assert np.isfinite(cells[:2]).all() and np.isnan(cells[2:]).all()
    assert not during["gradient_norms"]["gaps"]


def test_a_thinned_export_says_so_in_every_caption(run, tmp_path):
    export_run(run, tmp_path, every=2)
    write_states(tmp_path, ["kernel_grids"])
    assert read_index(tmp_path)["every"] == 2
    assert (
        "digits (one of 2 snapshots), epoch {time:g}" in (tmp_path / "states/kernel_grids.pvsm").read_text()
    )


def test_mistakes_of_a_comparison_are_told(run, tmp_path):
    with pytest.raises(ValueError, match="Expected two runs or more. Received: 1"):
        export_comparison([run], tmp_path / "c")
    with pytest.raises(ValueError, match="Received one of them twice"):
        export_comparison([run, run], tmp_path / "c")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit(model, [InSituRecorder(tmp_path / "other")], epochs=1)
    with pytest.raises(ValueError, match='No layer "conv1" with a kernel of one shape in all runs'):
        export_comparison([run, Run.open(tmp_path / "other")], tmp_path / "c", layers=["conv1"])
