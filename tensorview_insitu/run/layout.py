"""The names of a run on disk: its files, and the datasets inside them.

A run is a folder::

    runs/cxr/
      run.json                     who, when, what: see `tensorview_insitu.run.identity`
      segments/000000-000000.h5    immutable; numbered first-last in the order of publication
      segments/000001-000016.h5    sixteen small ones, merged
      segments/tail.h5             what came since the last segment, republished whole
      run.h5                       after training: everything in one file; the segments then go

Every HDF5 file of a run holds the same tree, each for its own rows::

    /                              attributes: format, version, run_id, first, last
    /steps                         (rows, 4) float64; columns: step, epoch, batch, wall_time
    /scalars/batch                 (rows, metrics) float64; columns: loss, accuracy, learning_rate, ...
    /scalars/epoch                 (rows, metrics) float64; columns: epoch, loss, val_loss, ...
    /gradient_norms                (rows, variables) float32; columns: conv2d/kernel, ...
    /layers/<layer path>/<variable>  (snapshots, ...) float32; dims: snapshot, row, column, ...
    /<any of these but /steps>_steps  (rows,) int64: the step that each row belongs to

`step`, `epoch` and `batch` count what has been done, from 1, as Keras prints them; step 0 (epoch 0)
is the model before training. `wall_time` is in seconds since 1970, read when the batch begins.
Datasets are chunked and carry a fletcher32 checksum; they use no other filter, so that every HDF5
reader, ParaView's included, reads them.
"""

from pathlib import Path

FORMAT = "tensorview-insitu run"
VERSION = 1

RUN_FILE = "run.json"
PACKED_FILE = "run.h5"
SEGMENT_FOLDER = "segments"
TAIL_FILE = "tail.h5"

STEPS = "steps"
STEPS_COLUMNS = ("step", "epoch", "batch", "wall_time")
BATCH_SCALARS = "scalars/batch"
EPOCH_SCALARS = "scalars/epoch"
GRADIENT_NORMS = "gradient_norms"
LAYERS = "layers"


def variable_dataset(layer: str, variable: str) -> str:
    """The dataset that holds the snapshots of one variable of one layer."""
    return f"{LAYERS}/{layer}/{variable}"


def steps_dataset(dataset: str) -> str:
    """The dataset that says which step each row of `dataset` belongs to."""
    return f"{dataset}_steps"


def segment_file(folder: Path, first: int, last: int) -> Path:
    """The file of the segments `first` to `last` of the run in `folder`."""
    return folder / SEGMENT_FOLDER / f"{first:06d}-{last:06d}.h5"
