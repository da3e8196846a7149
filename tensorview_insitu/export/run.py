"""Export a run: everything that ParaView, Tableau, Excel and pandas open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from tensorview_insitu import __version__
from tensorview_insitu.export.beside import remove_of_others
from tensorview_insitu.export.curves import export_curve, export_tables, metrics_of, normalise, validation_of
from tensorview_insitu.export.explanations import export_explanations
from tensorview_insitu.export.feature_maps import export_feature_maps
from tensorview_insitu.export.files import Target
from tensorview_insitu.export.gradient_norms import export_gradient_norms
from tensorview_insitu.export.horizon import horizon_of
from tensorview_insitu.export.kernel_table import export_kernel_table
from tensorview_insitu.export.layer import Exported, export_layer, variable_stems
from tensorview_insitu.export.layer_health import export_layer_health
from tensorview_insitu.export.manifest import MANIFEST_FILE, Options, read_manifest
from tensorview_insitu.export.network import export_network
from tensorview_insitu.export.parts import Parts
from tensorview_insitu.export.quantities import export_quantities
from tensorview_insitu.index import (
    INDEX_FILE,
    Index,
    MetricIndex,
    NoExportError,
    RunIndex,
    TableIndex,
    Times,
    empty_index,
    read_index,
    write_index,
)
from tensorview_insitu.loading.plain_file import check_folder, within
from tensorview_insitu.run import layout
from tensorview_insitu.run.alone import alone_in
from tensorview_insitu.run.errors import NotARunError, NotInRunError
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.state import state_of
from tensorview_insitu.text.file_names import safe_names

EXPORT_FOLDER = "paraview"
_MOST_SNAPSHOTS = 4000  # of all variables together: each makes some four files
_FEWEST = 6
# What an export does not write.
_NOT_EXPORTED = (
    layout.STATISTICS,
    layout.HISTOGRAMS,
    layout.GRADIENTS,
    layout.FILTER_GRADIENT_NORMS,
    layout.PREDICTIONS,
)
_CURVE_FILES = ("curves/training*", "curves/validation*", "curves/now*")
# All that an export may have written, but its states and pictures.
_ALL_FILES = [
    f"{folder}/*{ending}"
    for folder in (
        "tables",
        "curves",
        "gradient_norms",
        "layer_health",
        "network",
        "explanations",
        "explanations/*",
        "layers/*",
        "activations/*",
    )
    for ending in (".csv", ".vtp", ".vti", ".pvd")
]


def export_run(
    run: Run,
    folder: str | Path | None = None,
    *,
    layers: Sequence[str] | None = None,
    every: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a run as time-series VTK, CSV and index.json; live and crashed runs too.

    Exporting again after more epochs writes only the files that are new, or would be written otherwise; what
    only an export before wrote is taken away. So the folder then holds what an empty one would.

    Args:
        run: the run.
        folder: where to; by default `paraview` in the run's folder.
        layers: the layers to export, and to write as long tables too; by default all, without tables.
        every: every n-th snapshot of a layer (and the last); None takes all, or of very many as few as
            make some thousand files, and says so in the notes.
        progress: called with the number of snapshots written and their total.

    Returns:
        The path of index.json.

    Raises:
        NotInRunError: there is no such layer in the run, or nothing was recorded yet.
        ValueError: `every` is not positive, or `folder` is that of a run.
        ForeignFileError: a link in an export that is there leads out of it.
        OSError: the folder cannot be written.
    """
    if every is not None and every < 1:
        raise ValueError(f"Expected every to be a positive int. Received: every={every}.")
    chosen = _chosen(run, layers)
    options: Options = {
        "layers": list(layers) if layers is not None else None,
        "every": every,
        "skip_damaged": run.skips_damaged,
    }
    source = state_of(run)  # what comes while it is read is for the next export
    run_id: str = run.identity["run_id"]
    run, problem = _with_readable_epochs(run)
    place = _checked_folder(run, Path(folder) if folder is not None else None)
    with alone_in(place):
        target = _target(place, run_id)
        with target.ledger.begun():
            index = _export_parts(run, target, chosen, layers, every, problem, progress)
            write_index(place, index)
            target.ledger.finish(run_id, source, options)
        remove_of_others(run, place)
    return place / INDEX_FILE


def _export_parts(
    run: Run,
    target: Target,
    chosen: dict[str, list[str]],
    layers: Sequence[str] | None,
    every: int | None,
    problem: str,
    progress: Callable[[int, int], None],
) -> Index:
    """Write all files, and give what index.json says of them."""
    parts = Parts(target, run)
    for sentence in run.identity.get("missing", []):
        parts.note(sentence)
    if problem:
        parts.fail("data/epochs", f"{problem}. Where an epoch ends is told from its steps")
    shapes = run.datasets()
    _note_what_is_left(parts, shapes)
    if every is None:
        every = _bearable(chosen, shapes)
        if every > 1:
            parts.note(
                f"of the many snapshots every {_ordinal(every)} is exported, and the last; "
                "every=1 (--every 1) exports all"
            )
    epochs, none = run.scalars("epoch"), pd.DataFrame({"step": []})
    batches = parts.make("data/batches", lambda: run.scalars("batch"), none)
    gradient_norms = parts.make("data/gradient_norms", run.gradient_norms, none)
    update_norms = parts.make("data/update_norms", run.update_norms, none)
    weight_norms = parts.make("data/weight_norms", run.weight_norms, none)
    recorded: dict[str, Callable[[], pd.DataFrame]] = {
        "epochs": lambda: epochs,
        "epochs_normalised": lambda: normalise(epochs),
        "batches": lambda: batches,
        "update_norms": lambda: update_norms,
        "weight_norms": lambda: weight_norms,
        "dead_filters": run.dead_filters,
        "evaluations": run.evaluations,
    }
    tables = export_tables(parts, run, target, recorded)
    doubts = run.untrusted(layout.EPOCH_SCALARS)
    no_metrics: list[MetricIndex] = []
    metrics = parts.make(
        "data/metrics", lambda: metrics_of(epochs, doubts, validation_of(run, epochs)), no_metrics
    )
    curve = parts.make(
        "curve", lambda: export_curve(run, target, metrics, parts.note), None, files=_CURVE_FILES
    )
    gradients = parts.make(
        "gradient_norms",
        lambda: export_gradient_norms(run, target, gradient_norms),
        None,
        files=["gradient_norms/*", "tables/gradient_norms.csv"],
    )
    if gradients is not None:
        tables["gradient_norms"] = gradients[1]
    exported = _export_layers(parts, run, target, chosen, every, shapes, batches, progress)
    if layers is not None:
        tables |= _export_kernel_tables(parts, run, target, exported, chosen, every)
    maps = export_feature_maps(parts, run, target)
    explanations, explanation_grid = export_explanations(parts, run, target)
    norms = {f"{one.index['name']}/{name}": n for one in exported for name, n in one.norms.items()}
    doubted = {
        f"{one.index['name']}/{name}": why for one in exported for name, why in one.index["untrusted"].items()
    }
    health, health_now = export_layer_health(
        parts, run, target, gradient_norms, (update_norms, weight_norms), norms, doubted
    )
    blocks = [block for one in exported for block in one.blocks]
    kernels = sum(name.endswith("kernel") for names in chosen.values() for name in names)
    network = parts.make(
        "network",
        lambda: export_network(target, blocks, gradient_norms, kernels),
        None,
        files=["network/*"],
    )
    quantities = export_quantities(parts, run, target, tables)
    parts.check()
    steps = run.steps()
    about = run.identity
    run_index: RunIndex = {
        "name": run.name,
        "run_id": about["run_id"],
        "status": run.status,
        "created": about["created"],
        "steps": int(steps["step"].max()) if len(steps) else 0,
        "epochs": float(run.epochs_at(steps["step"].to_numpy()[-1:])[0]) if len(steps) else 0.0,
    }
    times: Times = {
        "epochs": [float(epoch) for epoch in epochs.get("epoch", [])],
        "steps": [float(step) for step in epochs["step"]],
    }
    index = empty_index(run_index, __version__, times)
    index |= {
        "every": every,
        "tables": tables,
        # Their columns are drawn from these tables.
        "metrics": metrics if {"epochs", "epochs_normalised"} <= tables.keys() else [],
        "curve": curve,
        "gradient_norms": gradients[0] if gradients is not None else None,
        "layers": [one.index for one in exported],
        "distributions": [index for one in exported for index in one.distributions],
        "feature_maps": maps,
        "dead_filters": tables.get("dead_filters"),
        "explanations": explanations,
        "explanation_grid": explanation_grid,
        "health": health,
        "health_now": health_now,
        "network": network,
        "quantities": quantities,
        "failed": parts.failed,
        "notes": parts.notes,
    }
    return index


def _with_readable_epochs(run: Run) -> tuple[Run, str]:
    """The run; where the ends of its epochs cannot be read, one that passes over what is damaged, and why."""
    try:
        run.scalars("epoch")
    except NotARunError as error:
        run.steps()  # without these nothing has a time
        return Run(run.folder, skip_damaged=True), str(error)
    return run, ""


def _note_what_is_left(parts: Parts, shapes: Mapping[str, tuple[int, ...]]) -> None:
    held = {name.split("/")[0] for name in shapes}
    left = [f"/{kind}" for kind in _NOT_EXPORTED if kind in held]
    if left:
        parts.note(f"{', '.join(left)} of the run are not exported: Run, and any reader of HDF5, reads them")


def _chosen(run: Run, layers: Sequence[str] | None) -> dict[str, list[str]]:
    held: dict[str, list[str]] = {}
    for layer, variable in run.variables():
        held.setdefault(layer, []).append(variable)
    for name in layers or ():
        if name not in held:
            raise NotInRunError(f'No layer "{name}" in this run. It holds: {", ".join(held) or "none yet"}.')
    if not run.datasets():
        if run.damaged:
            raise NotARunError(next(iter(run.damaged.values())))
        raise NotInRunError(f"Nothing was recorded in {run.folder} yet. Try again after the first epoch.")
    return held if layers is None else {name: held[name] for name in layers}


def _bearable(chosen: dict[str, list[str]], shapes: dict[str, tuple[int, ...]]) -> int:
    """The n for which every n-th snapshot of all variables makes some thousand files."""
    counts = [shapes[layout.variable_dataset(name, v)][0] for name, some in chosen.items() for v in some]
    total = sum(counts)
    # A few of each are worth having, however many variables there are.
    most = max(_MOST_SNAPSHOTS, _FEWEST * len(counts))
    return max(1, -(-total // most))


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _checked_folder(run: Run, given: Path | None) -> Path:
    """The folder to export into; it is made."""
    folder = given or within(run.folder, run.folder / EXPORT_FOLDER)
    refuse_run_folder(folder)
    if given is None or (folder / INDEX_FILE).is_file():
        check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def refuse_run_folder(folder: Path) -> None:
    """Raise where an index.json would lie beside a run.json: which of the two is meant could not be told.

    Raises:
        ValueError: with the way out.
    """
    if (folder / layout.RUN_FILE).exists():
        raise ValueError(
            f"{folder} is the folder of a run. Expected a folder for an export, such as "
            f"{folder / EXPORT_FOLDER}."
        )


def _target(folder: Path, run_id: str) -> Target:
    """The folder with what an export of the same run, by the same version, left there."""
    before = read_manifest(folder)
    try:
        of_run: str | None = read_index(folder)["run"]["run_id"]
    except NoExportError:
        of_run = before["run_id"] if before is not None else None
    if of_run is not None and (of_run != run_id or before is None or before["run_id"] != run_id):
        # Nothing says of what its files were made; and until the new index is written, the old one
        # must not speak of new files.
        Parts(Target(folder)).remove([*_ALL_FILES, INDEX_FILE, MANIFEST_FILE])
        before = None
    return Target(folder, before)


def _export_layers(
    parts: Parts,
    run: Run,
    target: Target,
    chosen: dict[str, list[str]],
    every: int,
    shapes: dict[str, tuple[int, ...]],
    batches: pd.DataFrame,
    progress: Callable[[int, int], None],
) -> list[Exported]:
    kinds = {layer["path"]: layer["class"] for layer in run.identity.get("layers", [])}
    # Names for all layers of the run, so that a layer's folder does not depend on what else is asked for.
    folders = safe_names(dict.fromkeys(layer for layer, _ in run.variables()))
    counts = [shapes[layout.variable_dataset(name, v)][0] for name, some in chosen.items() for v in some]
    horizon = horizon_of(run)
    total, done = sum(-(-count // every) for count in counts), 0

    def wrote() -> None:
        nonlocal done
        done += 1
        progress(min(done, total), total)

    return [
        export_layer(
            parts,
            run,
            target,
            layer,
            variables,
            kind=kinds.get(layer, ""),
            folder=f"layers/{folders[layer]}",
            every=every,
            shapes=shapes,
            batches=batches,
            horizon=horizon,
            wrote=wrote,
        )
        for layer, variables in chosen.items()
    ]


def _export_kernel_tables(
    parts: Parts,
    run: Run,
    target: Target,
    exported: list[Exported],
    chosen: dict[str, list[str]],
    every: int,
) -> dict[str, TableIndex]:
    tables: dict[str, TableIndex] = {}
    names: set[str] = set()
    for one in exported:
        layer, folder = one.index["name"], one.index["folder"].removeprefix("layers/")
        stems = variable_stems(chosen[layer])
        for variable in [name for name in chosen[layer] if name.endswith("kernel")]:
            # Its files are called as the variable; two layers and their kernels may make one name.
            base = f"{folder}_{stems[variable]}"
            name = base if base not in names else f"{base}-{len(names)}"
            names.add(name)
            file = f"tables/{name}.csv"
            made = parts.make(
                f"kernel_tables/{layer}/{variable}",
                partial(export_kernel_table, run, target, layer, variable, file, every),
                None,
                files=[file],
            )
            if made is not None:
                tables[name] = made[0]
                if made[1]:
                    parts.note(made[1])
    return tables
