"""A setting that a view cannot follow costs that view; one that it ignores is said to be ignored."""

import shutil

import pytest
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.states import write_states

from tensorview_insitu.cli.main import main


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "export")
    return tmp_path / "export"


def test_a_layer_that_one_view_does_not_have_costs_that_view(copy):
    report = write_states(copy, settings=Settings(layer="norm"))
    assert 'No layer "norm" with a kernel' in report.impossible["kernel_grids"]
    assert {"kernel_grids", "biases"} - {"biases"} <= set(report.lost)
    assert "distributions" not in report.impossible and "feature_maps" not in report.impossible
    written = {path.stem for path in report.written}
    assert {"training_curves", "network", "distributions"} <= written
    # What it had is left as it was: the data are there.
    assert (copy / "states/kernel_grids.pvsm").exists()


def test_a_layer_that_no_view_has_is_a_mistake_and_nothing_is_written(copy):
    before = (copy / "states/.written.json").read_bytes()
    with pytest.raises(ValueError, match='No layer "conv9"'):
        write_states(copy, settings=Settings(layer="conv9", background="dark"))
    assert (copy / "states/.written.json").read_bytes() == before


@pytest.mark.parametrize(
    ("view", "given", "ignored"),
    [
        (
            "training_curves",
            {"layer": "conv1", "background": "dark", "time": "step"},
            {"layer", "background"},
        ),
        ("training_curve_3d", {"colours": "cividis", "background": "dark"}, {"colours"}),
        ("kernel_grids", {"cells": ((0, 0), (1, 1)), "filters": (0, 2)}, {"cells"}),
        ("kernel_grids", {"between": (0, 1), "colour_range": "all"}, {"colour_range"}),
        ("kernel_propagation", {"between": (0, 1), "weights": (0, 1, 2)}, {"between", "weights"}),
        ("feature_maps", {"filters": (0, 2), "sample": 1}, {"filters", "sample"}),
        ("network", {"layer": "conv1", "colour_by": "change"}, {"layer"}),
        ("explanation_grid", {"method": "grad_cam", "sample": 1}, {"method", "sample"}),
        ("gradient_norms", {"colours": "cividis", "layer": "conv1"}, {"layer"}),
    ],
)
def test_what_a_view_does_not_follow_is_said(copy, view, given, ignored):
    report = write_states(copy, [view], Settings(**given))
    assert report.ignored == {name: [view] for name in ignored}
    assert len([line for line in report.lines() if line.startswith("ignored: ")]) == len(ignored)


def test_what_is_said_to_be_ignored_changes_nothing_and_what_is_not_said_does(copy):
    """The proof of the record: by the scripts that come out."""
    given = {"layer": "conv2", "colours": "cividis", "filters": (1, 2), "sample": 1, "colour_by": "epoch"}
    plain = {
        p.stem: p.read_text() for path in [write_states(copy)] for p in path.written if p.suffix == ".py"
    }
    for name, value in given.items():
        report = write_states(copy, settings=Settings(**{name: value}))
        scripts = {p.stem: p.read_text() for p in report.written if p.suffix == ".py"}
        for view, text in scripts.items():
            assert not (view in report.ignored.get(name, []) and text != plain[view]), (name, view)


def test_filters_that_a_layer_has_not_are_no_empty_picture(copy):
    for view in ("kernel_grids", "kernel_propagation", "biases", "network"):
        with pytest.raises(ValueError, match="No filter 90 here: it shows filters 0 to "):
            write_states(copy, [view], Settings(filters=(90, 99)))


def test_several_views_of_which_one_cannot_be(copy):
    report = write_states(copy, ["kernel_grids", "compare"])
    assert list(report.impossible) == ["compare"] and {p.stem for p in report.written} == {"kernel_grids"}
    with pytest.raises(ValueError, match="No view compare of this run: it takes two runs"):
        write_states(copy, ["compare"])


def test_a_view_that_raises_costs_that_view(copy, monkeypatch):
    def wrong(index, settings):
        raise ZeroDivisionError("float division\nby zero")

    monkeypatch.setitem(
        __import__("tensorview_insitu.paraview_states.views").paraview_states.views.VIEWS, "network", wrong
    )
    report = write_states(copy)
    assert "ZeroDivisionError: float division by zero" in report.impossible["network"]
    assert report.lost == ["network"] and not (copy / "states/network.pvsm").exists()
    assert (copy / "states/kernel_grids.pvsm").exists()


def test_an_edited_state_of_a_view_that_cannot_be_any_more_is_kept(copy, monkeypatch):
    state = copy / "states/network.pvsm"
    state.write_text(state.read_text() + "<!-- mine -->")

    def wrong(index, settings):
        raise ZeroDivisionError

    monkeypatch.setitem(
        __import__("tensorview_insitu.paraview_states.views").paraview_states.views.VIEWS, "network", wrong
    )
    assert write_states(copy).kept == [state] and "mine" in state.read_text()


def test_render_fails_where_a_named_view_cannot_be(copy, capsys, monkeypatch):
    monkeypatch.setattr("tensorview_insitu.cli.render._Job.last_picture", lambda self, jobs: [])
    assert main(["render", str(copy), "--view", "kernel_grids", "compare", "--cells", "0,0:1,1"]) == 1
    told = capsys.readouterr().err
    assert "no picture of compare: it takes two runs" in told
    assert "ignored: cells, by kernel_grids" in told
