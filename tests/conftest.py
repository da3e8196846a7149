"""What tests share: a recorded training, its export, the way to a real ParaView."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

try:
    import tensorview_insitu.callbacks  # noqa: F401
except ImportError as error:
    pytest.exit(f"The package is not installed ({error}). Run: bash scripts/setup.sh demo,test", returncode=2)

import keras
import numpy as np
from fits import LargestWeights, digits, fit, network
from tensorview_insitu.callbacks import (
    Activations,
    Biases,
    Explanations,
    GradientNorms,
    InSituRecorder,
    Kernels,
    Metrics,
    Normalization,
    UpdateNorms,
)
from tensorview_insitu.paraview_states.states import write_states

from tensorview_insitu.export.comparison import export_comparison
from tensorview_insitu.export.run import export_run
from tensorview_insitu.run.reader import Run

# Those that take longest, so that no process is left alone with one of them at the end.
_FIRST = (
    "test_views.py",
    "test_readme.py",
    "test_render.py",
    "test_live.py",
    "test_crash_replay.py",
    "test_commands.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: _FIRST.index(item.path.name) if item.path.name in _FIRST else len(_FIRST))


@pytest.fixture(scope="session")
def cxr() -> Path:
    """The folder of chest X-rays; skips where it is not."""
    default = Path(__file__).parent.parent.parent / "shared" / "cxr"
    folder = Path(os.environ.get("TENSORVIEW_INSITU_CXR", default))
    if not folder.is_dir():
        pytest.skip(f"no chest X-rays at {folder} (TENSORVIEW_INSITU_CXR)")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, keras.callbacks.History, Path]:
    """A model, its history, and the run that was recorded of it: four epochs, with validation."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    model = network()
    recorder = InSituRecorder(
        folder,
        [
            Metrics(),
            GradientNorms(),
            Kernels(),
            Biases(),
            Normalization(),
            UpdateNorms(5),
            Activations(digits()[0][:4]),
            Explanations("grad_cam", digits()[0][:3], target=digits()[1][:3], mask=np.eye(8)),
            Explanations("integrated_gradients", digits()[0][:3], target=digits()[1][:3], steps=5),
            LargestWeights(),
        ],
    )
    history = fit(model, [recorder], epochs=4)
    return model, history, folder


@pytest.fixture(scope="session")
def run(trained: tuple[keras.Model, keras.callbacks.History, Path]) -> Run:
    """That run; not to be changed."""
    return Run.open(trained[2])


@pytest.fixture(scope="session")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export of that run, with its states; not to be changed."""
    folder = tmp_path_factory.mktemp("export") / "digits"
    export_run(run, folder)
    write_states(folder)
    return folder


@pytest.fixture(scope="session")
def compared(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison of that run with another, with its state; not to be changed."""
    folder = tmp_path_factory.mktemp("compared")
    fit(network(seed=5), [InSituRecorder(folder / "other")], epochs=4)
    export_comparison([run, Run.open(folder / "other")], folder / "comparison")
    write_states(folder / "comparison", ["compare"])
    return folder / "comparison"


@pytest.fixture
def copied_run(run: Run, tmp_path: Path) -> Run:
    """A copy of that run, to be changed."""
    shutil.copytree(run.folder, tmp_path / "copy")
    return Run.open(tmp_path / "copy")


@pytest.fixture
def small_batch() -> tuple[np.ndarray, np.ndarray]:
    """Few samples."""
    x, y = digits()
    return x[:64], y[:64]
