"""ParaView reads run.h5 itself: through XDMF, through VTKHDF, and through the plugin."""

import os
import re
import subprocess
from importlib import resources

import h5py
import numpy as np
import pytest
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOHDF import vtkHDFReader

from tensorview_insitu.cli.main import main
from tensorview_insitu.cli.paraview_process import find
from tensorview_insitu.export.xdmf import export_xdmf
from tensorview_insitu.run.errors import NotInRunError

SCRIPTS = resources.files("tensorview_insitu.scripts")


def version() -> tuple[int, int]:
    """Of the ParaView that is used."""
    said = subprocess.run([find("pvpython"), "--version"], capture_output=True, text=True, check=True)
    numbers = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    assert numbers is not None
    return int(numbers[1]), int(numbers[2])


def shown(pvpython, state, out):
    """The arrays of the reader at epochs 0 and 3."""
    out.mkdir()
    pvpython("inspect_scene.py", state, out, 0.0, 3.0)
    return dict(np.load(out / "arrays.npz"))


@pytest.mark.parametrize("route", [".pvsm", ".py"])
def test_paraview_reads_run_h5_through_xdmf(route, pvpython, copied_run, tmp_path, capsys):
    assert main(["export", str(copied_run.folder), "--format", "xdmf"]) == 0
    folder = copied_run.folder / "paraview/xdmf"
    arrays = shown(pvpython, folder / f"states/conv2.kernel{route}", tmp_path / "out")
    kernel = copied_run.variable("conv2", "kernel").values
    for channel in (0, 5):
        for number, epoch in ((0, 0), (1, 3)):
            read = arrays[f"{number}:conv2.kernel.xmf:point:weight_{channel}"]
            np.testing.assert_array_equal(read, kernel[epoch][:, :, channel, :].ravel())


def test_paraview_5_13_reads_run_h5_through_vtkhdf(pvpython, copied_run, tmp_path, capsys):
    if version() < (5, 13):
        pytest.skip("temporal VTKHDF needs ParaView 5.13")
    assert main(["export", str(copied_run.folder), "--format", "vtkhdf", "--layer", "conv2"]) == 0
    folder = copied_run.folder / "paraview/vtkhdf"
    arrays = shown(pvpython, folder / "states/conv2.kernel.pvsm", tmp_path / "out")
    kernel = copied_run.variable("conv2", "kernel").values
    read = arrays["1:conv2.kernel.vtkhdf:point:weight_5"]
    np.testing.assert_array_equal(read, kernel[3][:, :, 5, :].ravel())


def test_vtk_reads_every_snapshot_through_vtkhdf_and_nothing_is_copied(copied_run, capsys):
    assert main(["export", str(copied_run.folder), "--format", "vtkhdf"]) == 0
    folder = copied_run.folder / "paraview/vtkhdf"
    for layer, variable in [("conv2", "kernel"), ("conv1", "bias"), ("classes", "kernel")]:
        path = folder / f"{layer}.{variable}.vtkhdf"
        reader = vtkHDFReader()
        reader.SetFileName(str(path))
        reader.UpdateInformation()
        snapshots = copied_run.variable(layer, variable)
        assert reader.GetNumberOfSteps() == len(snapshots.steps)
        for number, values in enumerate(snapshots.values):
            reader.SetStep(number)
            reader.Update()
            points = reader.GetOutput().GetPointData()
            middle = values.shape[2] if values.ndim == 4 else 1
            for channel in range(middle):
                name = {"bias": "bias", "kernel": "weight"}[variable]
                name += f"_{channel}" if values.ndim == 4 else ""
                expected = values[:, :, channel] if values.ndim == 4 else values
                read = vtk_to_numpy(points.GetArray(name))
                # Axes of length one, and those that are missing, are there twice.
                copies = 2 ** (3 - min(3, values.ndim))
                np.testing.assert_array_equal(read.reshape(copies, -1)[copies - 1], expected.ravel())
        with h5py.File(path) as file:
            assert all(dataset.is_virtual for dataset in file["VTKHDF/PointData"].values())


def test_a_run_in_segments_is_told_to_be_packed(copied_run):
    (copied_run.folder / "segments").mkdir(exist_ok=True)
    (copied_run.folder / "run.h5").rename(copied_run.folder / "segments" / "000000-000001.h5")
    with pytest.raises(NotInRunError, match="is not packed into one run.h5 yet: tensorview-insitu pack"):
        export_xdmf(copied_run, copied_run.folder / "x")


def test_the_plugin_reads_every_quantity_of_run_h5(pvpython, run, tmp_path, monkeypatch):
    if subprocess.run([find("pvpython"), "-c", "import h5py"], capture_output=True, check=False).returncode:
        pytest.skip("this ParaView's Python has no h5py (apt install python3-h5py)")
    plugin = SCRIPTS / "plugin" / "tensorview_reader.py"
    out = tmp_path / "read.npz"
    pvpython("read_plugin.py", plugin, run.folder / "run.h5", out, "conv2", "kernel", shim=True)
    read = np.load(out)
    kernel = run.variable("conv2", "kernel")
    assert list(read["times"]) == list(kernel.epochs)
    assert {"conv1", "conv2", "classes"} <= set(read["layers"])
    assert {"kernel", "bias", "activation maps"} <= set(read["quantities"])
    for number in range(5):
        for channel in range(8):
            np.testing.assert_array_equal(
                read[f"{number}:weight_{channel}"], kernel.values[number][:, :, channel]
            )
    pvpython("read_plugin.py", plugin, run.folder / "run.h5", out, "conv1", "activation maps", shim=True)
    maps = run.activations("conv1").values
    np.testing.assert_array_equal(np.load(out)["4:maps_0"], maps[4, 0])


def test_the_plugin_tells_what_it_cannot_read(pvpython, tmp_path):
    if subprocess.run([find("pvpython"), "-c", "import h5py"], capture_output=True, check=False).returncode:
        pytest.skip("this ParaView's Python has no h5py (apt install python3-h5py)")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    program = tmp_path / "open.py"
    program.write_text(
        f"from paraview.simple import *\nLoadPlugin({str(SCRIPTS / 'plugin' / 'tensorview_reader.py')!r}, "
        f"ns=globals())\nTensorViewReader(FileName={str(tmp_path / 'other.h5')!r}).UpdatePipeline()\n"
    )
    said = pvpython(program, shim=True)
    assert f"TensorViewReader: {tmp_path / 'other.h5'} is no run of tensorview-insitu" in said


def test_plugin_says_where_it_is(capsys):
    assert main(["plugin"]) == 0
    first = capsys.readouterr().out.split("\n")[0]
    assert os.path.isfile(first) and first.endswith("plugin/tensorview_reader.py")
