"""Rendering with pvbatch under MPI, and on a pvserver: the same picture as from one process."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tensorview_insitu.cli.main import main
from tensorview_insitu.cli.paraview_process import display

VIEW = ["--view", "network", "--size", "640x360"]


def picture(run) -> np.ndarray:
    with Image.open(run.folder / "paraview/images/network.png") as image:
        return np.asarray(image.convert("RGB"), int)


@pytest.fixture
def alone(pvpython, copied_run, capsys):
    """The picture that one process makes."""
    assert main(["render", str(copied_run.folder), *VIEW]) == 0
    return picture(copied_run)


def assert_same(one, other):
    drawn = (one < 250).any(axis=2) | (other < 250).any(axis=2)
    assert drawn.mean() > 0.03 and np.abs(one - other)[drawn].mean() / 255 < 0.02


def test_two_mpi_processes_make_the_same_picture(alone, copied_run, capsys, monkeypatch):
    if not (shutil.which("pvbatch") and shutil.which("mpiexec")):
        pytest.skip("no pvbatch or no mpiexec")
    # OpenMPI asks root twice.
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    monkeypatch.setenv("OMPI_MCA_rmaps_base_oversubscribe", "1")
    monkeypatch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    assert main(["render", str(copied_run.folder), *VIEW, "--mpi", "2"]) == 0, capsys.readouterr().err
    assert_same(alone, picture(copied_run))


def test_a_pvserver_makes_the_same_picture(alone, copied_run, capsys):
    if not shutil.which("pvserver"):
        pytest.skip("no pvserver")
    with display() as environment:
        server = subprocess.Popen(
            ["pvserver", "--server-port=0"], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            said = ""
            while "Accepting connection" not in said:
                line = server.stdout.readline()
                assert line, said
                said += line
            port = re.search(r":(\d+)\s*$", said.strip().splitlines()[-1])
            assert port is not None, said
            arguments = [*VIEW, "--server", f"localhost:{port[1]}"]
            assert main(["render", str(copied_run.folder), *arguments]) == 0, capsys.readouterr().err
        finally:
            server.kill()
            server.communicate()
    assert_same(alone, picture(copied_run))


@pytest.mark.parametrize("server", ["somewhere", "host:", ":11111", "host:port"])
def test_a_server_that_is_none_is_told(server, copied_run, capsys):
    assert main(["render", str(copied_run.folder), "--server", server]) == 2
    assert "Expected --server as HOST:PORT" in capsys.readouterr().err
