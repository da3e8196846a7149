"""Run: one training run on disk, read the same way while it is written, after a crash, and after."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import layout, schema, segment
from tensorview_insitu.run.errors import NotARunError, NotInRunError
from tensorview_insitu.run.identity import current_status, read_identity
from tensorview_insitu.run.order import StepOrder
from tensorview_insitu.run.parts import open_parts
from tensorview_insitu.run.rows import Rows, concatenate

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")
_LOOKS = 20  # at a run that does not change
_LONGEST_SECONDS = 20.0


@dataclass(frozen=True)
class Snapshots:
    """A variable of one layer as it was at several steps.

    Args:
        layer: the layer's path in the model.
        variable: `kernel`, `bias`, ...
        values: `(snapshot, ...)`.
        dims: a name for each axis of `values`, as `("snapshot", "row", "column", "channel", "filter")`.
        filter_axis: the axis of `values` along which the output channels lie.
        steps: `(snapshot,)`, the step after which each was taken; 0 is before training.
        epochs: `(snapshot,)`, the same in epochs: 2.5 is in the middle of the third.
        attributes: what else the dataset says of itself: the names of its `statistics`, a `stride`.
    """

    layer: str
    variable: str
    values: NDArray[np.float32]
    dims: tuple[str, ...]
    filter_axis: int
    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.steps)

    def only(self, mask: NDArray[np.bool_]) -> Snapshots:
        """The snapshots for which `mask` is true."""
        return replace(self, values=self.values[mask], steps=self.steps[mask], epochs=self.epochs[mask])


class Run:
    """One training run on disk.

    `Run.open` takes live, crashed and finished runs alike. Every call looks at the disk anew, so a
    live run grows between two calls.

    Example:
        >>> run = Run.open("runs/cxr")              # doctest: +SKIP
        >>> run.scalars("batch")["loss"].plot()     # doctest: +SKIP
    """

    def __init__(self, folder: Path, *, skip_damaged: bool = False) -> None:
        self.folder = folder
        self.damaged: dict[Path, str] = {}
        self._skips = skip_damaged

    @classmethod
    def open(cls, path: str | Path, *, skip_damaged: bool = False) -> Run:
        """Open the run in a folder (or of a run.h5 in it).

        Args:
            path: the folder.
            skip_damaged: pass over what cannot be read, does not belong there, or is missing, and remember
                it in `damaged`, by file; without, it is a NotARunError where it is met.

        Raises:
            FileNotFoundError: there is nothing at `path`.
            NotARunError: what is there is no run.
        """
        folder = Path(path)
        if not folder.exists():
            raise FileNotFoundError(f"No run at {path}: there is no such folder.")
        if folder.name == layout.PACKED_FILE and folder.is_file():
            folder = folder.parent
        if not folder.is_dir():
            raise NotARunError(f"Expected the folder of a run. Received a file: {path}")
        read_identity(folder)
        return cls(folder, skip_damaged=skip_damaged)

    @property
    def skips_damaged(self) -> bool:
        """Whether what cannot be read is passed over."""
        return self._skips

    @property
    def identity(self) -> dict[str, Any]:
        """run.json: run_id, created, status, layers, packages, what is missing, ..."""
        return read_identity(self.folder)

    @property
    def status(self) -> str:
        """`running`, `finished`, `interrupted`, `failed` or `crashed`."""
        return current_status(self.folder, self.identity)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    def untrusted(self, dataset: str) -> dict[str, str]:
        """The columns of a table that the recorder found reason to distrust, and why.

        Args:
            dataset: its name in the run, as `"scalars/batch"`.
        """
        return dict(self.identity.get("untrusted", {}).get(dataset, {}))

    def datasets(self) -> dict[str, tuple[int, ...]]:
        """The shape of every dataset, axis 0 being its rows so far."""

        def look(files: list[h5py.File]) -> dict[str, tuple[int, ...]]:
            shapes: dict[str, tuple[int, ...]] = {}
            for file in files:
                for name in segment.dataset_names(file):
                    rows = shapes[name][0] if name in shapes else 0
                    shape = file[name].shape
                    shapes[name] = (rows + shape[0], *shape[1:])
            return shapes

        return self._looking(look)

    def variables(self) -> list[tuple[str, str]]:
        """The recorded variables: `(layer, variable)`, in the order of the model."""
        prefix = layout.LAYERS + "/"
        found = [name[len(prefix) :].rsplit("/", 1) for name in self.datasets() if name.startswith(prefix)]
        pairs = [(layout.unescaped(layer), layout.unescaped(variable)) for layer, variable in found]
        in_model = [
            (layer["path"], variable)
            for layer in self.identity.get("layers", [])
            for variable in layer["variables"]
        ]
        place = {pair: number for number, pair in enumerate(in_model)}
        return sorted(pairs, key=lambda pair: place.get(pair, len(place)))

    def steps(self) -> pd.DataFrame:
        """One row for every recorded step: step, epoch, batch, wall_time."""
        return self._table(layout.STEPS)

    def scalars(self, rhythm: Literal["batch", "epoch"]) -> pd.DataFrame:
        """Loss, metrics and learning rate.

        Args:
            rhythm: `"batch"`, the true values of every batch with its step, epoch, batch and
                wall_time; or `"epoch"`, what Keras reports at the end of each, validation included.
        """
        if rhythm not in ("batch", "epoch"):
            raise ValueError(f'Expected rhythm to be "batch" or "epoch". Received: {rhythm!r}.')
        if rhythm == "epoch":
            table = self._table(layout.EPOCH_SCALARS)
            if "epoch" in table:
                table["epoch"] = table["epoch"].astype(np.int64)
            return table
        return self._with_steps(self._table(layout.BATCH_SCALARS))

    def gradient_norms(self) -> pd.DataFrame:
        """The L2 norm of the loss's gradient for every trainable variable, one column each.

        A step that was skipped (a loss scale overflow) is a row of NaN.
        """
        return self._with_steps(self._table(layout.GRADIENT_NORMS))

    def variable(self, layer: str, variable: str, *, first: int = 0, count: int | None = None) -> Snapshots:
        """Snapshots of one variable: all, or `count` of them from number `first` on.

        Raises:
            NotInRunError: there is no such layer, or no such variable in it.
        """
        name = layout.variable_dataset(layer, variable)
        return self._snapshots(name, layer, variable, first=first, count=count)

    def statistics(self, layer: str, variable: str) -> Snapshots:
        """What `reduction=Statistics()` recorded: `(snapshot, statistic, filter)`."""
        return self._snapshots(layout.statistics_dataset(layer, variable), layer, variable)

    def histogram(self, layer: str, variable: str) -> tuple[Snapshots, NDArray[np.float64]]:
        """What `reduction=Histogram()` recorded.

        Returns:
            The counts, `(snapshot, bin)`, and the edges of the bins, `(snapshot, bins + 1)`.
        """
        name = layout.histogram_dataset(layer, variable)
        counts = self._snapshots(f"{name}/counts", layer, variable)
        limits = self._snapshots(f"{name}/range", layer, variable).values.astype(np.float64)
        edges = np.linspace(limits[:, 0], limits[:, 1], counts.values.shape[1] + 1, axis=1)
        return counts, edges

    def gradients(self, layer: str, variable: str) -> Snapshots:
        """Whole gradients of one variable, each as it was in the step it is named by."""
        return self._snapshots(layout.gradient_dataset(layer, variable), layer, variable)

    def filter_gradient_norms(self, layer: str, variable: str = "kernel") -> Snapshots:
        """The L2 norm of the gradient of every filter: `(snapshot, filter)`."""
        return self._snapshots(layout.filter_gradient_dataset(layer, variable), layer, variable)

    def update_norms(self) -> pd.DataFrame:
        """The L2 norm of the change of every trainable variable in a step, one column each."""
        return self._with_steps(self._table(layout.UPDATE_NORMS))

    def weight_norms(self) -> pd.DataFrame:
        """The L2 norm of every trainable variable before the same steps."""
        return self._with_steps(self._table(layout.WEIGHT_NORMS))

    def activations(self, layer: str, kind: Literal["maps", "statistics"] = "maps") -> Snapshots:
        """What a layer answered to the probe.

        Args:
            layer: its path; `path@2` is the second call of a shared layer.
            kind: `"maps"`, `(snapshot, sample, row, column, filter)`, thinned by a stride; or
                `"statistics"`, `(snapshot, statistic, filter)`, of all of them.

        Raises:
            NotInRunError: there is no such layer.
        """
        if kind not in ("maps", "statistics"):
            raise ValueError(f'Expected kind to be "maps" or "statistics". Received: {kind!r}.')
        return self._snapshots(layout.activation_dataset(layer, kind), layer, kind)

    def explanations(self) -> list[str]:
        """The names of the explanations that were recorded."""
        beginning, end = f"{layout.EXPLANATIONS}/", "/maps"
        return [
            layout.unescaped(name.removeprefix(beginning).removesuffix(end))
            for name in self.datasets()
            if name.startswith(beginning) and name.endswith(end)
        ]

    def explanation(self, name: str, kind: Literal["maps", "images"] = "maps") -> Snapshots:
        """What one method said of the samples over time.

        Args:
            name: the method's, or the one it was given.
            kind: `"maps"`, `(snapshot, sample, row, column)`; or `"images"`, the samples themselves,
                `(1, sample, row, column, channel)`.

        Raises:
            NotInRunError: there is no such explanation.
        """
        return self._snapshots(layout.explanation_dataset(name, kind), name, kind)

    def focus(self, name: str) -> pd.DataFrame:
        """Numbers about the maps of one method, a row for each moment.

        For each sample: `class`, the one that is explained; `probability` of it, or `score` where the model
        ends in neither softmax nor sigmoid; `drift`, the rank correlation with the map before; `inside`, the
        share of the map within the mask. An epoch of 2.5 is in the middle of the third, and 0 before
        training.
        """
        return self._at_moments(self._table(layout.explanation_dataset(name, "focus")))

    def activation_layers(self) -> list[str]:
        """The layers whose activations were recorded, in the order in which the model calls them."""
        columns = self._table(layout.DEAD_FILTERS).columns
        return [c.removesuffix("_") if c[:-1] in layout.STEPS_COLUMNS else c for c in columns if c != "step"]

    def dead_filters(self) -> pd.DataFrame:
        """How many filters of each layer are zero all over the probe, one column each.

        Here as in every table: what is called `step`, `epoch`, `batch` or `wall_time`, and is none, is
        `step_`, ... . An epoch of 2.5 is in the middle of the third, and 0 before training.
        """
        return self._at_moments(self._table(layout.DEAD_FILTERS))

    def quantity_names(self) -> list[str]:
        """The names of the quantities of the user's own (see `callbacks.Numbers`) that were recorded."""
        beginning = f"{layout.QUANTITIES}/"
        return [layout.quantity_name(name) for name in self.datasets() if name.startswith(beginning)]

    def quantity(self, name: str) -> pd.DataFrame:
        """What a quantity of the user's own gave: step, epoch (2.5 is in the middle of the third), numbers.

        A number that was not given, or could not be had, is NaN.

        Raises:
            NotInRunError: there is no such quantity in the run.
        """
        table = self._table(layout.quantity_dataset(name))
        if not len(table):
            held = ", ".join(self.quantity_names()) or "none of the user's own"
            raise NotInRunError(f'No quantity "{name}" in this run. It holds: {held}.')
        table.insert(1, "epoch", self.epochs_at(table["step"].to_numpy()))
        return table

    def predictions(self, output: int = 0) -> Snapshots:
        """What `predict` answered, `(sample, ...)`; `steps` counts the samples.

        Args:
            output: which of several outputs.
        """
        return self._snapshots(layout.scores_dataset(output), "predictions", "scores")

    def predicted_activations(self, layer: str) -> Snapshots:
        """What a layer answered to each predicted sample: the mean of each map, `(sample, filter)`."""
        return self._snapshots(layout.predicted_dataset(layer), layer, "activations")

    def evaluations(self) -> pd.DataFrame:
        """What each `evaluate` reported, one row each."""
        return self._table(layout.EVALUATE_SCALARS)

    def _snapshots(
        self, name: str, layer: str, variable: str, *, first: int = 0, count: int | None = None
    ) -> Snapshots:
        end = None if count is None else first + count

        def look(files: list[h5py.File]) -> Rows | None:
            parts, passed, order = [], 0, StepOrder()
            for file in [file for file in files if isinstance(file.get(name), h5py.Dataset)]:
                stop = None if end is None else max(0, end - passed)
                parts += self._read(file, name, order, slice(max(0, first - passed), stop))
                passed += file[name].shape[0]
            return concatenate(parts) if parts else None

        rows = self._looking(look, [name])
        if rows is None:
            raise NotInRunError(self._not_recorded(name, layer, variable))
        about = rows.attributes
        return Snapshots(
            layer=layer,
            variable=variable,
            values=rows.values.astype(np.float32, copy=False),
            dims=tuple(about["dims"]),
            filter_axis=int(about.get("filter_axis", len(about["dims"]) - 1)),
            steps=rows.steps,
            epochs=self.epochs_at(rows.steps),
            attributes=about,
        )

    def pieces(
        self,
        layer: str,
        variable: str,
        most_bytes: int = 64 << 20,
        *,
        shape: tuple[int, ...] | None = None,
    ) -> Iterator[tuple[int, int]]:
        """`(first, count)` of consecutive snapshots that fit into `most_bytes` of memory.

        Args:
            layer: its layer.
            variable: its name.
            most_bytes: of one piece.
            shape: as `datasets()` tells it; of many variables it is asked once.
        """
        if shape is None:
            shape = self.datasets()[layout.variable_dataset(layer, variable)]
        size = max(1, 4 * int(np.prod(shape[1:])))
        count = max(1, most_bytes // size)
        for first in range(0, shape[0], count):
            yield first, min(count, shape[0] - first)

    def epochs_at(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The time of each step in epochs: whole at an epoch's end, a fraction inside it."""
        table = self._table(layout.STEPS)
        ends = self._table(layout.EPOCH_SCALARS)
        ended = ends["epoch"].to_numpy(np.int64) if len(ends) else np.zeros(0, np.int64)
        end_of = dict(zip(ended.tolist(), ends["step"].tolist() if len(ends) else [], strict=True))
        known_steps, known_epochs = [np.zeros(1), ends["step"].to_numpy(np.float64)], [np.zeros(1), ended]
        if len(table):
            planned = self.identity.get("steps_per_epoch") or 0
            taken = table["step"].to_numpy(np.float64)
            numbers, firsts, at = np.unique(table["epoch"].to_numpy(), return_index=True, return_inverse=True)
            lasts, begin, length = np.zeros((3, len(numbers)))
            np.maximum.at(lasts, at, taken)
            for i, number in enumerate(numbers.tolist()):
                # A resumed training may have begun an epoch twice: the steps of both lie in it.
                begin[i] = end_of.get(number - 1, taken[firsts[i]] - 1)
                last = end_of.get(number, lasts[i])
                # Still open: as long as planned, or as the one before.
                least = 0 if number in end_of else max(planned, length[i - 1] if i else 0)
                length[i] = max(last - begin[i], least, 1)
            known_steps.append(taken)
            known_epochs.append(numbers[at] - 1 + (taken - begin[at]) / length[at])
        all_steps, all_epochs = np.concatenate(known_steps), np.concatenate(known_epochs)
        order = np.argsort(all_steps, kind="stable")
        found: NDArray[np.float64] = np.interp(
            np.asarray(steps, np.float64), all_steps[order], all_epochs[order]
        )
        return found

    # ---- reading

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        def look(files: list[h5py.File]) -> Rows | None:
            order = StepOrder()
            parts = [rows for file in files if name in file for rows in self._read(file, name, order)]
            return concatenate(parts) if parts else None

        rows = self._looking(look, [name])
        if rows is None:
            columns = layout.STEPS_COLUMNS if name == layout.STEPS else ("step",)
            return pd.DataFrame({c: pd.Series(dtype=np.float64) for c in columns})
        schema.check_rows(name, rows, self.folder)
        names = rows.attributes["columns"]
        if name not in (layout.STEPS, layout.EPOCH_SCALARS):
            # A layer may be called as a column that tells time.
            names = [f"{one}_" if one in layout.STEPS_COLUMNS else one for one in names]
        table = pd.DataFrame(rows.values, columns=pd.Index(names))
        if name == layout.STEPS:
            return table.astype({c: np.int64 for c in ("step", "epoch", "batch")})
        table.insert(0, "step", rows.steps)
        return table

    def _with_steps(self, table: pd.DataFrame) -> pd.DataFrame:
        steps = self._table(layout.STEPS)
        return steps.merge(table, on="step", how="right") if len(table) else table

    def _at_moments(self, table: pd.DataFrame) -> pd.DataFrame:
        # What is asked before training, or in the middle of an epoch, belongs to no batch's row.
        table = self._with_steps(table)
        if len(table):
            table["epoch"] = self.epochs_at(table["step"].to_numpy())
        return table

    def _not_recorded(self, name: str, layer: str, variable: str) -> str:
        kind = name.split("/", 1)[0]
        if kind != layout.LAYERS:
            others = [n for n in self.datasets() if n.startswith(kind + "/")]
            return f"No /{name} in this run. It holds: {', '.join(others) or f'no {kind}'}."
        held: dict[str, list[str]] = {}
        for path, some in self.variables():
            held.setdefault(path, []).append(some)
        if layer in held:
            return f'No "{variable}" of layer "{layer}" in this run. It holds: {", ".join(held[layer])}.'
        layers = ", ".join(held) or "none yet"
        return f'No layer "{layer}" in this run. It holds: {layers}.'

    def _read(self, file: h5py.File, name: str, order: StepOrder, rows: slice = slice(None)) -> list[Rows]:
        with self._passing_over(Path(file.filename)):
            found = segment.read(file, name, rows)
            order.check(file, name, found.steps)
            return [found]
        return []

    @contextlib.contextmanager
    def _passing_over(self, path: Path) -> Iterator[None]:
        try:
            yield
        except NotARunError as error:
            if not self._skips:
                raise
            self.damaged[path] = str(error)

    def _meet(self, problems: Mapping[Path, str]) -> None:
        for path, problem in problems.items():
            with self._passing_over(path):
                raise NotARunError(problem)

    def _looking(self, look: Callable[[list[h5py.File]], _T], names: Sequence[str] | None = None) -> _T:
        # A writer may merge or pack files away, or publish a new tail, between the listing and the
        # opening: then one is gone, or those that were opened do not follow on each other. As long as
        # it goes on doing so, the next look may find a quiet moment.
        end, looks, before = time.monotonic() + _LONGEST_SECONDS, 0, self._last_change()
        while True:
            last = looks == _LOOKS - 1 or time.monotonic() > end
            try:
                with contextlib.ExitStack() as stack:
                    found = open_parts(self.folder, stack)
                    self._meet(found.problems)
                    lacking = found.lacking(names)
                    if last or lacking.keys() <= self.damaged.keys():
                        self._meet(lacking)
                        return look(found.in_order())
            except FileNotFoundError:
                if last:
                    raise
            time.sleep(0.002 * looks)
            now = self._last_change()
            looks, before = looks + (now == before), now

    def _last_change(self) -> list[int]:
        return [_changed_at(folder) for folder in (self.folder, self.folder / layout.SEGMENT_FOLDER)]


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:  # packing took it away
        return 0
