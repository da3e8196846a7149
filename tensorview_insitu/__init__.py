"""Record what happens inside a Keras training, and look at it in ParaView.

Public names: `Run` (one training run on disk) and `export_run` (a run -> VTK, CSV, index.json).
The recorder itself is `tensorview_insitu.callbacks.InSituRecorder`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorview_insitu.export.run import export_run as export_run
    from tensorview_insitu.run.reader import Run as Run

__version__ = "0.1.0"

_HOMES = {
    "Run": "tensorview_insitu.run.reader",
    "export_run": "tensorview_insitu.export.run",
}


# Looked up on first use, so that `tensorview-insitu --version` does not wait for numpy and h5py.
def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
