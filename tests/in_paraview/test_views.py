"""State and script of every view give the same in ParaView, with the values of the run."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from exhaustive import one_in
from PIL import Image
from tensorview_insitu.paraview_states.states import write_states
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.index import read_index

TIMES = (2.0, 4.0)
SAME = 0.005


@dataclass
class Held:
    """What ParaView holds after one route, at two times."""

    properties: dict
    arrays: dict
    pictures: list


@pytest.fixture(scope="module")
def routes(pvpython, exported, compared, tmp_path_factory):
    """What ParaView holds of a view, through its state and through its script."""
    found = {}

    def of(view: str) -> tuple[Held, Held]:
        if view not in found:
            both = []
            for ending in (".pvsm", ".py"):
                out = tmp_path_factory.mktemp(view)
                folder = compared if view == "compare" else exported
                pvpython("inspect_scene.py", folder / "states" / (view + ending), out, *TIMES)
                both.append(
                    Held(
                        json.loads((out / "held.json").read_text()),
                        dict(np.load(out / "arrays.npz")),
                        [
                            np.asarray(Image.open(out / f"{i}.png").convert("RGB"), int)
                            for i in range(len(TIMES))
                        ],
                    )
                )
            found[view] = tuple(both)
        return found[view]

    return of


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), int)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of colour (0..1) over the pixels that are not background in either picture."""
    drawn = (one < 250).any(axis=2) | (other < 250).any(axis=2)
    return float(np.abs(one - other)[drawn].mean() / 255)


@pytest.mark.parametrize("view", one_in(2, VIEWS))
def test_both_routes_give_the_same_proxies_and_properties(view, routes):
    by_state, by_script = (route.properties for route in routes(view))
    assert set(by_state) == set(by_script)
    differing = {
        f"{name}: {key}": (value, by_script[name].get(key))
        for name, held in by_state.items()
        for key, value in held.items()
        if by_script[name].get(key) != value
    }
    assert differing == {}


@pytest.mark.parametrize("view", one_in(2, VIEWS))
def test_both_routes_give_the_same_pictures(view, routes):
    by_state, by_script = (route.pictures for route in routes(view))
    for one, other in zip(by_state, by_script, strict=True):
        assert one.shape == (720, 1280, 3)
        assert (one < 250).any(axis=2).mean() > 0.03, "almost nothing was drawn"
        assert difference(one, other) < SAME


@pytest.mark.parametrize("view", one_in(2, VIEWS))
def test_time_moves_something_in_the_picture(view, routes):
    early, late = routes(view)[0].pictures
    assert difference(early, late) > 0


def test_the_comparison_of_pictures_sees_a_thin_line_that_is_missing(routes):
    picture = routes("training_curves")[0].pictures[0]
    without = picture.copy()
    orange = np.abs(picture - np.array([213, 94, 0])).sum(axis=2) < 60
    assert 100 < orange.sum() < 20_000
    without[orange] = 255
    assert difference(picture, without) > 2 * SAME


def test_paraview_shows_the_curves_of_the_run(routes, run):
    epochs = run.scalars("epoch")
    for held in routes("training_curve_3d"):
        np.testing.assert_array_equal(
            held.arrays["1:training.vtp:point:loss"], epochs["loss"].astype(np.float32)
        )
        np.testing.assert_array_equal(
            held.arrays["1:training.vtp:points"], epochs[["epoch", "loss", "accuracy"]].to_numpy(np.float32)
        )
        # The marker is where training was at the time shown.
        for number, time in enumerate(TIMES):
            np.testing.assert_array_equal(held.arrays[f"{number}:now.pvd:point:epoch"], [time])
    for held in routes("training_curves"):
        for column in epochs.columns:
            np.testing.assert_allclose(held.arrays[f"1:epochs.csv:row:{column}"], epochs[column], rtol=1e-12)


def test_paraview_shows_the_weights_of_the_run(routes, run, exported):
    kernel = run.variable("conv1", "kernel").values[:, :, :, 0, :]
    low, high = next(la for la in read_index(exported)["layers"] if la["name"] == "conv1")["sheets"]["range"]
    for held in routes("kernel_propagation"):
        sheet = held.arrays["1:cell (0, 2):point:weight"].reshape(5, 8)
        np.testing.assert_array_equal(sheet, kernel[:, 0, 2, :])
        for number, time in enumerate(TIMES):
            now = held.arrays[f"{number}:cell (1, 1) now:point:weight"]
            np.testing.assert_array_equal(now, kernel[int(time), 1, 1, :])
        points = held.arrays["1:cell (0, 2):points"]
        height = 1.4 / (max(high, 0) - min(low, 0))
        np.testing.assert_allclose(points[:, 2], kernel[:, 0, 2, :].ravel() * height, atol=1e-5)
        np.testing.assert_allclose(points[:, 0].max(), 2.0, rtol=1e-6)
        np.testing.assert_allclose(points[:, 1].max(), 2.0, rtol=1e-6)
        # A chart line is one cell of the profile.
        np.testing.assert_array_equal(
            held.arrays["1:line conv1: at the first and the current epoch (0, 2) now:point:weight"],
            kernel[4, 0, 2, :],
        )
        np.testing.assert_array_equal(
            held.arrays["1:line conv1: at the first and the current epoch (0, 2) first:point:weight"],
            kernel[0, 0, 2, :],
        )


def test_paraview_shows_the_gradient_norms_of_the_run(routes, run):
    norms = run.gradient_norms()
    variables = [c for c in norms.columns if "/" in c]
    for held in routes("gradient_norms"):
        heat = held.arrays["1:log10_norm.vti:cell:log10_norm"].reshape(len(variables), len(norms))[::-1]
        np.testing.assert_array_equal(
            heat.T, np.log10(norms[variables].to_numpy(np.float64)).astype(np.float32)
        )
        np.testing.assert_allclose(held.arrays["1:lines.csv:row:conv1/kernel"], norms["conv1/kernel"])
        # The line stands at the last step of the epoch shown: 13 steps an epoch, drawn from 0 to 1.
        for number, time in enumerate(TIMES):
            np.testing.assert_allclose(
                held.arrays[f"{number}:heat map now:points"][:, 0], time / 4, rtol=1e-6
            )


def test_times_are_the_runs_epochs(routes):
    for view in VIEWS:
        for held in routes(view):
            times = held.properties["animation"]["TimeKeeper"]
            assert times in ([0, 1, 2, 3, 4], [1, 2, 3, 4], [])


def test_nan_reaches_paraview(pvpython, run, tmp_path):
    """A run with NaN in it, through both readers that views use for weights and norms."""
    import shutil

    from tensorview_insitu.export.image_data import write_image_data
    from tensorview_insitu.export.run import export_run

    folder = export_run(run, tmp_path / "export").parent
    index = read_index(folder)["gradient_norms"]
    heat = np.full((index["steps"], len(index["heat_map"]["rows"])), np.nan, np.float32)
    heat[3, 2], heat[4, 2] = 1.5, -np.inf
    write_image_data(folder / index["heat_map"]["file"], cell_data={"log10_norm": heat})
    write_states(folder)
    (tmp_path / "out").mkdir()
    pvpython("inspect_scene.py", folder / "states/gradient_norms.pvsm", tmp_path / "out", 4.0)
    shown = np.load(tmp_path / "out/arrays.npz")["0:log10_norm.vti:cell:log10_norm"]
    np.testing.assert_array_equal(shown, heat.ravel(order="F"))
    shutil.rmtree(folder)
