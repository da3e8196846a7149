"""What tests share: a recorded training, its export, the way to a real ParaView."""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from tensorflow.python.data.ops import iterator_ops  # noqa: TID251 - see no_old_iterators
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
# Then what starts children, before a process has traced so much that to fork it takes long.
_THEN = ("run", "text", "loading")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--exhaustive`."""
    parser.addoption(
        "--exhaustive", action="store_true", help="all of the many samples that some tests draw (an hour)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker that goes with it."""
    config.addinivalue_line("markers", "exhaustive: one of many samples, of which some are tried by default")


@pytest.fixture(scope="session")
def exhaustive(pytestconfig: pytest.Config) -> bool:
    """Whether all samples are asked for."""
    return bool(pytestconfig.getoption("exhaustive"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `--exhaustive` asks for, and begin with the files that take longest."""
    if not config.getoption("exhaustive"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.path.name in _FIRST:
        return _FIRST.index(item.path.name)
    folder = item.path.parent.name
    return len(_FIRST) + (_THEN.index(folder) if folder in _THEN else len(_THEN))


_ITERATORS: weakref.WeakSet[Any] = weakref.WeakSet()
_make_iterator = iterator_ops.OwnedIterator.__init__


def _noted(self: Any, *args: Any, **kwargs: Any) -> None:
    _make_iterator(self, *args, **kwargs)
    _ITERATORS.add(self)


iterator_ops.OwnedIterator.__init__ = _noted


@pytest.fixture(autouse=True)
def no_old_iterators() -> Iterator[None]:
    """Take away the iterators over data that an exception left in a cycle.

    TensorFlow waits for an iterator's thread when it goes, up to as long as it has been there (tf.data may
    miss that the thread is to end): one that is left to a garbage collection stops a later test for minutes.
    """
    yield
    if len(_ITERATORS):
        gc.collect()


@pytest.fixture(autouse=True)
def a_process_as_it_was() -> Iterator[None]:
    """A test that makes its process the least important one, or moves it, does so to all that follow."""
    importance = getattr(os, "sched_getscheduler", lambda process: None)
    before = os.getcwd(), importance(0)
    yield
    assert (os.getcwd(), importance(0)) == before


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
    model = network(optimizer="adam")
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
    fit(network(optimizer="adam", seed=5), [InSituRecorder(folder / "other")], epochs=4)
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
