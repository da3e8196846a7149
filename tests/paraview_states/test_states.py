"""States and scripts without ParaView: what is written, what is kept, what is refused."""

import ast
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tensorview_insitu.paraview_states import colour_maps
from tensorview_insitu.paraview_states.foreign_state import checked_state
from tensorview_insitu.paraview_states.look import ticks
from tensorview_insitu.paraview_states.pvpython import pvpython
from tensorview_insitu.paraview_states.pvsm import pvsm
from tensorview_insitu.paraview_states.scene import Node, Scene, Split, sizes, tree
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.states import write_states
from tensorview_insitu.paraview_states.views import VIEWS, ImpossibleViewError
from tensorview_insitu.paraview_states.views.kernel_propagation import kernel_propagation

from tensorview_insitu.index import read_index


@pytest.fixture
def copy(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "moved"))


def files_of(state: Path) -> list[str]:
    root = ElementTree.parse(state).getroot()
    values = root.iterfind(".//Property[@name='FileName']/Element")
    return [element.get("value") for element in values]


def test_every_view_has_a_state_and_a_script_that_name_files_that_exist(exported, compared):
    for view in VIEWS:
        folder = compared if view == "compare" else exported
        files = files_of(folder / f"states/{view}.pvsm")
        assert files and all(Path(file).is_absolute() and Path(file).is_file() for file in files)
        script = (folder / f"states/{view}.py").read_text()
        assert str(folder) not in script
        named = [
            call.args[0].value
            for call in ast.walk(ast.parse(script))
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "data"
        ]
        assert named and all((folder / file).is_file() for file in named)


def test_states_hold_no_proxy_that_runs_code(exported, compared):
    for view in VIEWS:
        folder = compared if view == "compare" else exported
        kinds = [p.get("type") for p in ElementTree.parse(folder / f"states/{view}.pvsm").iter("Proxy")]
        assert not [k for k in kinds if k and ("Programmable" in k or "Python" in k)]


def test_a_property_that_is_not_in_the_closed_list_is_refused():
    with pytest.raises(KeyError, match="TubeFilter has no property 'Radiuss' in proxies.py"):
        Node("TubeFilter", "tube", {"Radiuss": 1.0})


def test_text_with_markup_survives_both_emitters(tmp_path):
    scene = Scene('a <b> & "c"', [0.0, 1.0])
    text = scene.source("TextSource", "it's", Text="conv/<k&\"1\"> 'é'\nnext")
    view = scene.view("RenderView", "v", {})
    view.show(text, "TextSourceRepresentation", Visibility=1)
    scene.layout = view
    root = ElementTree.fromstring(pvsm(scene, tmp_path))
    assert root.find(".//Property[@name='Text']/Element").get("value") == "conv/<k&\"1\"> 'é'\nnext"
    strings = [n.value for n in ast.walk(ast.parse(pvpython(scene))) if isinstance(n, ast.Constant)]
    assert "conv/<k&\"1\"> 'é'\nnext" in strings


def test_writing_again_changes_nothing(exported, copy):
    first = write_states(copy)
    texts = {p: p.read_text() for p in first.written}
    second = write_states(copy)
    assert second.written == first.written and not second.kept
    assert {p: p.read_text() for p in second.written} == texts


def test_what_a_user_has_edited_is_never_overwritten(copy):
    edited = copy / "states/training_curves.py"
    edited.write_text(edited.read_text() + "\n# mine\n")
    report = write_states(copy)
    assert report.kept == [edited] and edited.read_text().endswith("# mine\n")
    assert copy / "states/training_curves.pvsm" in report.written


def test_a_moved_export_gets_states_with_its_new_paths(copy):
    written = [path for path in write_states(copy).written if path.suffix == ".pvsm"]
    assert len(written) == len(VIEWS) - 1  # all but that of several runs
    for state in written:
        assert all(file.startswith(str(copy)) for file in files_of(state))


def test_an_edited_state_of_a_moved_export_is_read_with_its_new_paths(exported, copy):
    state = copy / "states/training_curve_3d.pvsm"
    assert all(file.startswith(str(exported)) for file in files_of(state))
    checked = checked_state(state, copy)
    assert checked.moved
    state.write_text(checked.text)
    files = files_of(state)
    assert files and all(file.startswith(str(copy)) and Path(file).is_file() for file in files)
    assert not checked_state(state, copy).moved


def test_an_unknown_view_is_told_with_those_there_are(copy):
    with pytest.raises(ValueError, match='No view "loss". There are: dashboard, training_curve_3d, '):
        write_states(copy, ["loss"])


def test_a_view_without_data_says_what_it_lacks(exported):
    index = read_index(exported)
    index |= {"curve": None, "metrics": [], "gradient_norms": None, "layers": [], "feature_maps": []}
    index |= {"network": None, "health": [], "distributions": []}
    index |= {"explanations": [], "explanation_grid": None, "quantities": []}
    for view in VIEWS.values():
        with pytest.raises(ImpossibleViewError):
            view(index, Settings())


def test_kernel_propagation_takes_a_layer_and_cells(exported):
    index = read_index(exported)
    scene = kernel_propagation(index, Settings("conv2", ((0, 0), (1, 1))))
    names = [source.name for source in scene.sources]
    assert "cell (0, 0)" in names and "cell (1, 1)" in names
    assert any("input channel 0 of 8" in str(s.properties.get("Text")) for s in scene.sources)
    with pytest.raises(
        ValueError, match='No layer "flatten" with a kernel in this export. It holds: conv1, conv2, classes'
    ):
        kernel_propagation(index, Settings("flatten"))
    with pytest.raises(ValueError, match=r"No cell \(5, 5\) in this kernel. Its last is \(1, 1\)"):
        kernel_propagation(index, Settings("conv2", ((5, 5), (0, 0))))


def test_a_layout_is_a_tree_in_heap_order_that_fills_the_window():
    scene = Scene("t", [0.0])
    a, b, c = (scene.view("RenderView", name, {}) for name in "abc")
    layout = Split("horizontal", a, Split("vertical", b, c, 0.25), 0.6)
    assert tree(layout)[1:3] == [a, layout.second] and tree(layout)[5:7] == [b, c]
    assert sizes(layout, (1000, 400)) == {id(a): [600, 400], id(b): [400, 100], id(c): [400, 300]}


def test_signed_colours_are_centred_on_zero():
    points = colour_maps.signed(-0.1, 0.4)["RGBPoints"]
    assert points[0] == -0.4 and points[4] == 0.0 and points[8] == 0.4
    assert colour_maps.magnitude(2.0, 2.0)["RGBPoints"][0] < 2.0


@pytest.mark.parametrize("extent", [(0, 1), (-0.41, 0.29), (1, 20), (0, 63), (1e-6, 3e-6), (0, 15.79)])
def test_ticks_are_round_few_and_inside(extent):
    labels = ticks("X", extent)["XAxisLabels"]
    assert 2 <= len(labels) <= 7
    assert all(extent[0] <= label <= extent[1] for label in labels)
    assert all(len(f"{label:.6g}") <= 7 for label in labels)
