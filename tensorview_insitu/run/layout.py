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
    /layers/<layer path>/<variable>  (snapshots, ...) float32 or float16; dims: snapshot, row, column, ...

and on request, `<variable>` standing for `<layer path>/<variable>`::

    /statistics/<variable>         (snapshots, statistics, filters); statistics: mean, l2_norm, ...
    /histograms/<variable>/counts  (snapshots, bins); between the edges in .../range (snapshots, 2)
    /filter_gradient_norms/<variable>  (steps, filters)
    /gradients/<variable>          (steps, ...)
    /update_norms, /weight_norms   (rows, variables): of a step's change, and of the weights before it
    /activations/<layer path>/maps        (snapshots, samples, row, column, filters), with a stride
    /activations/<layer path>/statistics  (snapshots, statistics, filters), over the whole probe
    /explanations/<name>/maps      (snapshots, samples, row, column): of fixed samples, by one method
    /explanations/<name>/images    (1, samples, row, column, channel): those samples
    /explanations/<name>/focus     (rows, ...); columns: class_0, probability_0 or score_0, drift_0, ...
    /quantities/<name>             (rows, numbers) float64; columns: those of the user's own
    /dead_filters                  (rows, layers): how many are zero all over the probe
    /predictions/scores            (samples, ...): what `predict` answered; the steps count samples;
                                   /predictions/scores_1 for a second output, and so on
    /predictions/activations/<layer path>  (samples, filters): the mean over each map
    /scalars/evaluate              (rows, metrics): what each `evaluate` reported

Beside every dataset but /steps lies `<its name>_steps`, `(rows,)` int64: the step of each row.

`step`, `epoch` and `batch` count what has been done, from 1, as Keras prints them; step 0 (epoch 0)
is the model before training. `wall_time` is in seconds since 1970, read when the batch begins.
Datasets are chunked and carry a fletcher32 checksum; they use no other filter, so that every HDF5
reader, ParaView's included, reads them.
"""

from pathlib import Path

from tensorview_insitu.text.percent import escape_unprintable, percent, unpercent

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
STATISTICS = "statistics"
HISTOGRAMS = "histograms"
GRADIENTS = "gradients"
FILTER_GRADIENT_NORMS = "filter_gradient_norms"
UPDATE_NORMS = "update_norms"
WEIGHT_NORMS = "weight_norms"
ACTIVATIONS = "activations"
EXPLANATIONS = "explanations"
DEAD_FILTERS = "dead_filters"
QUANTITIES = "quantities"
PREDICTIONS = "predictions"
EVALUATE_SCALARS = "scalars/evaluate"


def escaped(path: str) -> str:
    """A layer's path or a variable's name as HDF5 can hold it; `unescaped` gives it back.

    HDF5 passes over a component `.`, and knows no empty one and no NUL; a name that ends in `_steps`
    would be taken for the steps of another; what cannot be printed (a line end) ends up on terminals; and
    XDMF takes what stands before a colon for a file (ParaView 5.11 then shows what was in memory).
    """
    return "/".join(_escaped_component(component) for component in path.split("/"))


def unescaped(path: str) -> str:
    """The path or name that `escaped` was given."""
    return "/".join("" if part == "%" else unpercent(part) for part in path.split("/"))


def _escaped_component(name: str) -> str:
    name = escape_unprintable(name.replace("%", "%25")).replace(":", percent(":"))
    if name.strip(".") == "":
        name = name.replace(".", "%2E") or "%"
    return name.removesuffix("_steps") + "%5Fsteps" if name.endswith("_steps") else name


def variable_dataset(layer: str, variable: str) -> str:
    """The dataset that holds the snapshots of one variable of one layer."""
    return f"{LAYERS}/{escaped(layer)}/{escaped(variable)}"


def statistics_dataset(layer: str, variable: str) -> str:
    """The dataset that holds statistics of one variable of one layer."""
    return f"{STATISTICS}/{escaped(layer)}/{escaped(variable)}"


def histogram_dataset(layer: str, variable: str) -> str:
    """The group that holds the histograms of one variable of one layer."""
    return f"{HISTOGRAMS}/{escaped(layer)}/{escaped(variable)}"


def gradient_dataset(layer: str, variable: str) -> str:
    """The dataset that holds whole gradients of one variable of one layer."""
    return f"{GRADIENTS}/{escaped(layer)}/{escaped(variable)}"


def filter_gradient_dataset(layer: str, variable: str) -> str:
    """The dataset that holds the gradient norm of every filter of one variable of one layer."""
    return f"{FILTER_GRADIENT_NORMS}/{escaped(layer)}/{escaped(variable)}"


def scores_dataset(output: int = 0) -> str:
    """The dataset that holds what `predict` answered; of the second output and so on for several."""
    return f"{PREDICTIONS}/scores" + (f"_{output}" if output else "")


def predicted_dataset(layer: str) -> str:
    """The dataset that holds what one layer answered to the samples that were predicted."""
    return f"{PREDICTIONS}/activations/{escaped(layer)}"


def activation_dataset(layer: str, kind: str) -> str:
    """The dataset that holds the `maps` or `statistics` of what one layer answers."""
    return f"{ACTIVATIONS}/{escaped(layer)}/{kind}"


def explanation_dataset(name: str, kind: str) -> str:
    """The dataset that holds the `maps`, `images` or `focus` of one kind of explanation."""
    return f"{EXPLANATIONS}/{escaped(name)}/{kind}"


def quantity_dataset(name: str) -> str:
    """The dataset that holds the numbers of a quantity of the user's own; `quantity_name` gives its name."""
    return f"{QUANTITIES}/{_escaped_component(name).replace('/', '%2F')}"


def quantity_name(dataset: str) -> str:
    """The name of the quantity whose numbers `dataset` holds."""
    return unescaped(dataset.removeprefix(f"{QUANTITIES}/"))


def steps_dataset(dataset: str) -> str:
    """The dataset that says which step each row of `dataset` belongs to."""
    return f"{dataset}_steps"


def segment_file(folder: Path, first: int, last: int) -> Path:
    """The file of the segments `first` to `last` of the run in `folder`."""
    return folder / SEGMENT_FOLDER / f"{first:06d}-{last:06d}.h5"
