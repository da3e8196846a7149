"""Settings of a view end up in its scene, and wrong ones are told."""

import pytest
from tensorview_insitu.paraview_states import colour_maps
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.states import write_states
from tensorview_insitu.paraview_states.theme import DARK
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.cli.main import main
from tensorview_insitu.index import read_index


def nodes(scene, kind):
    held = [*scene.sources, *scene.colour_maps, *scene.views, *(d for v in scene.views for d in v.displays)]
    return [node for node in held if node.kind == kind]


def scene_of(exported, view, **given):
    return VIEWS[view](read_index(exported), Settings(**given))


def text_of(scene):
    return " ".join(str(node.properties["Text"]) for node in nodes(scene, "TextSource"))


ONE_RUN = [view for view in VIEWS if view != "compare"]


@pytest.mark.parametrize("view", ONE_RUN)
def test_a_dark_view_is_dark_and_its_text_light(view, exported):
    scene = scene_of(exported, view, background="dark")
    for one in nodes(scene, "RenderView"):
        assert one.properties["Background"] == list(DARK.paper)
    for shown in nodes(scene, "TextSourceRepresentation"):
        assert shown.properties["Color"] == list(DARK.ink)


@pytest.mark.parametrize("view", ONE_RUN)
def test_time_counts_epochs_or_steps(view, exported):
    epochs, steps = scene_of(exported, view), scene_of(exported, view, time="step")
    assert epochs.times[-1] == 4 and steps.times[-1] == 52
    for reader in nodes(steps, "PVDReader"):
        assert reader.properties["FileName"].path.endswith("_by_step.pvd")
        assert (exported / reader.properties["FileName"].path).is_file()
    formats = {node.properties["Format"] for node in nodes(steps, "TimeToTextConvertor")}
    assert formats <= {"digits, step {time:g}"}


@pytest.mark.parametrize(
    "view",
    ["kernel_propagation", "kernel_grids", "biases", "weight_trajectory", "feature_maps", "distributions"],
)
def test_a_layer_can_be_chosen_and_an_unknown_one_is_told(view, exported):
    assert "conv2" in text_of(scene_of(exported, view, layer="conv2"))
    with pytest.raises(ValueError, match='No layer "conv9".* in this export. It holds: '):
        scene_of(exported, view, layer="conv9")


@pytest.mark.parametrize("view", ["kernel_propagation", "kernel_grids", "biases", "network"])
def test_filters_are_cut_to_those_chosen(view, exported):
    found = [
        node
        for node in nodes(scene_of(exported, view, filters=(2, 5)), "Threshold")
        if node.properties["SelectInputScalars"].name == "filter"
    ]
    assert found
    assert all((n.properties["LowerThreshold"], n.properties["UpperThreshold"]) == (2, 5) for n in found)


def test_the_difference_of_two_epochs_reads_their_two_files(exported):
    scene = scene_of(exported, "kernel_grids", between=(1, 3))
    (both,) = nodes(scene, "AppendAttributes")
    files = [node.properties["FileName"][0].path for node in both.properties["Input"]]
    assert files == ["layers/conv1/grids_0000039.vtp", "layers/conv1/grids_0000013.vtp"]
    assert scene.times == [3]
    with pytest.raises(ValueError, match=r"No kernels of epoch 9 .* from epoch 0 to 4"):
        scene_of(exported, "kernel_grids", between=(1, 9))


def test_three_weights_can_be_chosen(exported):
    scene = scene_of(exported, "weight_trajectory", layer="conv1")
    functions = {node.properties["Function"] for node in nodes(scene, "Calculator")}
    index = next(la for la in read_index(exported)["layers"] if la["name"] == "conv1")["trajectory"]
    wanted = tuple(index["weights"][3:6])
    chosen = scene_of(exported, "weight_trajectory", layer="conv1", weights=wanted)
    expected = f"iHat*w_{wanted[0]} + jHat*w_{wanted[1]} + kHat*w_{wanted[2]}"
    assert {node.properties["Function"] for node in nodes(chosen, "Calculator")} == {expected} != functions
    with pytest.raises(ValueError, match="No weight 100000 in this path"):
        scene_of(exported, "weight_trajectory", weights=(100000, 0, 1))


@pytest.mark.parametrize(
    ("view", "array"),
    [("weight_trajectory", "loss"), ("network", "log10_gradient_norm"), ("network", "filter")],
)
def test_what_colours_a_view_can_be_chosen(view, array, exported):
    scene = scene_of(exported, view, colour_by=array)
    assert [node.name for node in scene.colour_maps] == [array]
    with pytest.raises(ValueError, match=f'No "beauty" to colour .* by. There are: .*{array}'):
        scene_of(exported, view, colour_by="beauty")


def test_colour_maps_and_their_range_can_be_chosen(exported):
    points = (
        scene_of(exported, "kernel_grids", colours="purple_orange").colour_maps[0].properties["RGBPoints"]
    )
    assert points[0] == -points[-4] and points[1:4] == colour_maps.rgb("542788")
    index = read_index(exported)
    highest = max(abs(x) for la in index["layers"] if la["sheets"] for x in la["sheets"]["range"])
    shared = scene_of(exported, "kernel_grids", colour_range="all").colour_maps[0].properties["RGBPoints"]
    assert shared[-4] == highest
    assert colour_maps.chosen("cividis", 0, 1, is_signed=True)["RGBPoints"][0] == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"time": "hour"}, "Expected time to be one of epoch, step. Received: time='hour'"),
        ({"colours": "jet"}, "Expected colours to be one of default, viridis"),
        ({"background": "pink"}, "Expected background to be one of white, dark"),
        ({"filters": (5, 2)}, r"Expected filters as \(first, last\)"),
        ({"cells": ((0, 0),)}, "Expected two cells"),
        ({"weights": (1, 2)}, "Expected three weights"),
    ],
)
def test_wrong_settings_are_told(given, told):
    with pytest.raises(ValueError, match=told):
        Settings(**given)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--cells", "0"], "Expected --cells as 0,2:1,1. Received: 0"),
        (["--filters", "a-b"], "Expected --filters as 0-15. Received: a-b"),
        (["--weights", "1,2"], "Expected --weights as 0,5,17. Received: 1,2"),
        (["--between", "1"], "Expected --between as 10,20. Received: 1"),
        (["--colours", "jet"], "Expected colours to be one of"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, told, copied_run, capsys):
    assert main(["render", str(copied_run.folder), "--view", "kernel_grids", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_settings_are_written_into_the_state(copied_run, capsys):
    assert main(["export", str(copied_run.folder)]) == 0
    folder = copied_run.folder / "paraview"
    before = (folder / "states/network.pvsm").read_text()
    write_states(folder, ["network"], Settings(colour_by="change", background="dark"))
    after = (folder / "states/network.pvsm").read_text()
    assert "change.PVLookupTable" in after and "change.PVLookupTable" not in before
    assert "change" in (folder / "states/network.py").read_text()


def test_settings_for_a_state_that_was_edited_are_refused(copied_run, tmp_path):
    from tensorview_insitu.cli.exported import ready_state

    assert main(["export", str(copied_run.folder)]) == 0
    folder = copied_run.folder / "paraview"
    state = folder / "states/network.pvsm"
    state.write_text(state.read_text() + "<!-- mine -->")
    assert ready_state(folder, "network", tmp_path)
    with pytest.raises(ValueError, match="was edited since it was written"):
        ready_state(folder, "network", tmp_path, settings=Settings(background="dark"))
