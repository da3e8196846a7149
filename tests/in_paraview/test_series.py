"""ParaView's own readers give back every recorded weight, at its time."""

import keras
import numpy as np
import pytest
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder

from tensorview_insitu.export.run import export_run
from tensorview_insitu.run.reader import Run


@pytest.mark.parametrize(
    ("layer", "variable"), [("conv1", "kernel"), ("conv2", "kernel"), ("classes", "bias")]
)
def test_paraview_reads_every_snapshot_equal_to_the_run(layer, variable, pvpython, run, exported, tmp_path):
    pvpython("read_series.py", exported / f"layers/{layer}/{variable}.pvd", tmp_path / "read.npz")
    assert_equal(np.load(tmp_path / "read.npz"), run.variable(layer, variable))


def test_paraview_reads_nan_weights_as_nan(pvpython, tmp_path):
    fit(network(optimizer=keras.optimizers.SGD(1e20)), [InSituRecorder(tmp_path / "run")], epochs=1)
    run = Run.open(tmp_path / "run")
    snapshots = run.variable("conv2", "kernel")
    assert np.isnan(snapshots.values[-1]).any()
    folder = export_run(run).parent
    pvpython("read_series.py", folder / "layers/conv2/kernel.pvd", tmp_path / "read.npz")
    assert_equal(np.load(tmp_path / "read.npz"), snapshots)


def assert_equal(read, snapshots):
    assert list(read["times"]) == list(snapshots.epochs)
    for number, values in enumerate(snapshots.values):
        if snapshots.variable == "bias":
            np.testing.assert_array_equal(read[f"{number}:bias"][:, 0, 0], values)
            continue
        for channel in range(values.shape[2]):
            expected = values[:, :, channel, :].transpose(2, 1, 0)  # x is the filter, y the column, z the row
            np.testing.assert_array_equal(read[f"{number}:weight_{channel}"], expected)
