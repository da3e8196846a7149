"""Single files: what VTK reads is what was written."""

import numpy as np
import pandas as pd
import pytest
from reading import read_collection, read_image, read_poly

from tensorview_insitu.export.collection import write_collection
from tensorview_insitu.export.files import Target, every_nth, finite_range, spread
from tensorview_insitu.export.image_data import write_image_data
from tensorview_insitu.export.poly_data import grid_quads, write_poly_data
from tensorview_insitu.export.table import read_table, write_table
from tensorview_insitu.text.array_names import array_name
from tensorview_insitu.text.file_names import safe_names


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_image_data_survives_the_round_trip(tmp_path, shape, order):
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    values.flat[0] = np.nan
    values.flat[-1] = -np.inf
    write_image_data(tmp_path / "a.vti", {"weight": np.asarray(values, order=order)}, spacing=(0.5, 1, 2))
    points, _, data = read_image(tmp_path / "a.vti")
    np.testing.assert_array_equal(points["weight"], values.reshape(*shape, *[1] * (3 - len(shape))))
    assert data.GetSpacing() == (0.5, 1, 2)


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4", "bool", "int32"])
def test_image_data_of_any_number_type_keeps_its_values(tmp_path, dtype):
    values = np.array([[0, 1], [1, 0]]).astype(dtype)
    write_image_data(tmp_path / "a.vti", cell_data={"a": values[::-1]})
    _, cells, _ = read_image(tmp_path / "a.vti")
    np.testing.assert_array_equal(cells["a"][..., 0], values[::-1].astype(float))


def test_image_data_that_no_reader_would_open_is_refused_before_a_file_exists(tmp_path):
    with pytest.raises(ValueError, match="arrays of one shape"):
        write_image_data(tmp_path / "a.vti", {"a": np.zeros(3), "b": np.zeros(4)})
    with pytest.raises(ValueError, match="plain identifier"):
        write_image_data(tmp_path / "a.vti", {'conv/<k&"1"': np.zeros(3)})
    assert list(tmp_path.iterdir()) == []


def test_poly_data_survives_the_round_trip(tmp_path):
    points = np.random.default_rng(0).random((6, 3)).astype(np.float32)
    values = np.array([1, np.nan, 3, -np.inf, 5, 6], np.float32)
    write_poly_data(
        tmp_path / "a.vtp",
        points,
        lines=[np.array([0, 1, 2])],
        quads=grid_quads(3, 2),
        point_data={"weight": values},
    )
    read, arrays, data = read_poly(tmp_path / "a.vtp")
    np.testing.assert_array_equal(read, points)
    np.testing.assert_array_equal(arrays["weight"], values)
    assert data.GetNumberOfLines() == 1 and data.GetNumberOfPolys() == 2


def test_grid_quads_join_neighbours_in_a_ring():
    assert grid_quads(3, 2).tolist() == [[0, 1, 4, 3], [1, 2, 5, 4]]


def test_a_collection_keeps_real_times_and_any_file_name(tmp_path):
    files = [(0.1 + 0.2, 'a <&"é.vti'), (2.5, "b.vti")]
    write_collection(tmp_path / "a.pvd", files)
    assert read_collection(tmp_path / "a.pvd") == [(t, tmp_path / name) for t, name in files]


def test_a_table_keeps_all_digits_and_nan(tmp_path):
    table = pd.DataFrame({"loss": [0.1 + 0.2, np.nan, -1e-300], "layer": ["=1+1", "a,b", "-x"]})
    index = write_table(Target(tmp_path), "t.csv", table)
    back = pd.read_csv(tmp_path / "t.csv")
    pd.testing.assert_series_equal(back["loss"], table["loss"])
    # A spreadsheet must not take a name for a formula.
    assert list(back["layer"]) == ["%3D1+1", "a,b", "%2Dx"]
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table)
    assert index == {"file": "t.csv", "columns": ["loss", "layer"], "rows": 3, "untrusted": {}}


def test_safe_names_differ_on_any_file_system():
    names = ["base/conv", "base.conv", "Conv", "conv", "../../etc", "a" * 300, "é<&>", ""]
    safe = safe_names(names)
    assert len({s.lower() for s in safe.values()}) == len(names)
    for name in safe.values():
        assert name and len(name) <= 80 and name not in (".", "..") and not set(name) & set('/\\:<>&" ')


def test_small_things():
    assert finite_range([1, np.nan, 3], [np.inf, -2]) == (-2.0, 3.0)
    assert finite_range([np.nan]) == (0.0, 1.0)
    assert array_name("top-5 accuracy") == "top_5_accuracy" and array_name("5x") == "_5x"
    assert array_name("loss", ["loss", "loss_2"]) == "loss_3"
    assert list(every_nth(7, 3)) == [0, 3, 6] and list(every_nth(6, 3)) == [0, 3, 5]
    assert list(spread(3)) == [0, 1, 2]
    assert len(spread(10_000)) == 1000 and spread(10_000)[-1] == 9_999
