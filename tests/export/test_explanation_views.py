"""What the views of explanations draw, against the run."""

import numpy as np
import pytest
from reading import read_image, read_poly
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.export.explanations import shares
from tensorview_insitu.index import read_index


def of(index, name):
    return next(one for one in index["explanations"] if one["name"] == name)


@pytest.mark.parametrize("name", ["grad_cam", "integrated_gradients"])
def test_maps_and_images_stand_upright_as_they_were_recorded(run, exported, name):
    one = of(read_index(exported), name)
    maps, images = run.explanation(name), run.explanation(name, "images").values[0]
    assert one["times"]["steps"] == list(maps.steps) and one["size"] == [8, 8]
    for number, step in enumerate(maps.steps):
        file = one["file"].replace("maps.pvd", f"maps_{step:07d}.vti")
        _, arrays, _ = read_image(exported / file)
        for sample in range(3):
            upright = arrays[f"map_{sample}"][:, :, 0].T[::-1]
            np.testing.assert_array_equal(upright, maps.values[number, sample])
    _, held, _ = read_image(exported / one["image"])
    np.testing.assert_allclose(held["image_1"][:, :, 0].T[::-1], images[1, ..., 0], atol=1e-6)
    assert one["ranges"][2] == pytest.approx((maps.values[:, 2].min(), maps.values[:, 2].max()))


def test_a_volume_is_all_maps_of_a_sample_in_shares_of_their_largest(run, exported):
    one = of(read_index(exported), "integrated_gradients")
    maps = run.explanation("integrated_gradients")
    arrays, _, _ = read_image(exported / one["volumes"][1])
    for number in range(len(maps.epochs)):
        expected = shares(maps.values[number, 1])
        np.testing.assert_allclose(arrays["share"][number].T[::-1], expected, atol=1e-5)
        assert np.all(arrays["epoch"][number] == maps.epochs[number])
    _, _, frame = read_poly(exported / one["now"].replace("now.pvd", f"now_{maps.steps[2]:07d}.vtp"))
    assert frame.GetBounds() == (maps.epochs[2], maps.epochs[2], 0, 8, 0, 8)


def test_the_grid_has_a_row_for_each_sample_and_a_column_for_each_method(run, exported):
    grid = read_index(exported)["explanation_grid"]
    assert grid["methods"] == sorted(run.explanations()) and grid["samples"] == 3
    width, height = 3 * 9 - 1, 3 * 9 - 1
    last = int(grid["times"]["steps"][-1])
    _, arrays, _ = read_image(exported / grid["file"].replace("grid.pvd", f"grid_{last:07d}.vti"))
    picture = arrays["share"][:, :, 0].T[::-1]
    assert picture.shape == (height, width)
    assert np.isnan(picture[:, :9]).all()
    for m, name in enumerate(grid["methods"], start=1):
        maps = run.explanation(name).values[-1]
        for sample in range(3):
            tile = picture[sample * 9 : sample * 9 + 8, m * 9 : m * 9 + 8]
            np.testing.assert_allclose(tile, shares(maps[sample]), atol=1e-6)
    images = read_image(exported / grid["images"])[1]["image"][:, :, 0].T[::-1]
    first = run.explanation(grid["methods"][0], "images").values[0, 0, ..., 0]
    np.testing.assert_allclose(images[:8, 9:17], first / first.max(), atol=1e-6)


def test_a_method_and_a_sample_can_be_chosen_and_mistakes_are_told(exported):
    index = read_index(exported)
    scene = VIEWS["explanation"](index, Settings(method="integrated_gradients", sample=2))
    assert any(
        display.properties.get("ColorArrayName").name == "map_2"
        for display in scene.views[0].displays
        if "ColorArrayName" in display.properties
    )
    with pytest.raises(ValueError, match='No explanation "lime" in this export. It holds: grad_cam'):
        VIEWS["explanation"](index, Settings(method="lime"))
    with pytest.raises(ValueError, match="a sample from 0 to 2. Received: sample=3"):
        VIEWS["explanation"](index, Settings(sample=3))
