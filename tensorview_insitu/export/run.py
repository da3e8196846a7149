"""Export a run: everything that ParaView, Tableau, Excel and pandas open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tensorview_insitu import __version__
from tensorview_insitu.export.curves import export_curve, export_tables, metrics_of
from tensorview_insitu.export.explanations import export_explanations
from tensorview_insitu.export.feature_maps import export_feature_maps
from tensorview_insitu.export.files import Target
from tensorview_insitu.export.gradient_norms import export_gradient_norms
from tensorview_insitu.export.horizon import horizon_of
from tensorview_insitu.export.kernel_table import export_kernel_table
from tensorview_insitu.export.layer import Exported, export_layer
from tensorview_insitu.export.layer_health import export_layer_health
from tensorview_insitu.export.network import export_network
from tensorview_insitu.export.quantities import export_quantities
from tensorview_insitu.index import (
    INDEX_FILE,
    LayerIndex,
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
from tensorview_insitu.run.errors import NotInRunError
from tensorview_insitu.run.reader import Run
from tensorview_insitu.text.file_names import safe_names

EXPORT_FOLDER = "paraview"
_MOST_SNAPSHOTS = 4000  # of all variables together: each makes some four files
_FEWEST = 6


def export_run(
    run: Run,
    folder: str | Path | None = None,
    *,
    layers: Sequence[str] | None = None,
    every: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a run as time-series VTK, CSV and index.json; live and crashed runs too.

    Exporting again after more epochs writes only the files that are new.

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
        ValueError: `every` is not positive.
        ForeignFileError: a link in an export that is there leads out of it.
        OSError: the folder cannot be written.
    """
    if every is not None and every < 1:
        raise ValueError(f"Expected every to be a positive int. Received: every={every}.")
    chosen = _chosen(run, layers)
    target = _target(run, Path(folder) if folder is not None else None)
    notes: list[str] = list(run.identity.get("missing", []))
    shapes = run.datasets()
    if every is None:
        every = _bearable(chosen, shapes)
        if every > 1:
            notes.append(
                f"of the many snapshots every {_ordinal(every)} is exported, and the last; "
                "every=1 (--every 1) exports all"
            )
    tables = export_tables(run, target)
    epochs = run.scalars("epoch")
    metrics = metrics_of(epochs)
    curve = export_curve(run, target, metrics)
    gradient_norms = run.gradient_norms()
    gradients = export_gradient_norms(run, target, gradient_norms)
    if gradients is not None:
        tables["gradient_norms"] = gradients[1]
    exported = _export_layers(run, target, chosen, every, shapes, progress)
    if layers is not None:
        tables |= _export_kernel_tables(run, target, [one.index for one in exported], every, notes)
    maps, dead = export_feature_maps(run, target)
    explanations, explanation_grid = export_explanations(run, target)
    norms = {f"{one.index['name']}/{name}": n for one in exported for name, n in one.norms.items()}
    health, health_now = export_layer_health(run, target, gradient_norms, norms)
    blocks = [one.block for one in exported if one.block is not None]
    network = export_network(target, blocks, gradient_norms)
    quantities = export_quantities(run, target, tables)
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
        "metrics": metrics,
        "curve": curve,
        "gradient_norms": gradients[0] if gradients is not None else None,
        "layers": [one.index for one in exported],
        "distributions": [index for one in exported for index in one.distributions],
        "feature_maps": maps,
        "dead_filters": dead,
        "explanations": explanations,
        "explanation_grid": explanation_grid,
        "health": health,
        "health_now": health_now,
        "network": network,
        "quantities": quantities,
        "notes": notes,
    }
    write_index(target.folder, index)
    return target.folder / INDEX_FILE


def _chosen(run: Run, layers: Sequence[str] | None) -> dict[str, list[str]]:
    held: dict[str, list[str]] = {}
    for layer, variable in run.variables():
        held.setdefault(layer, []).append(variable)
    for name in layers or ():
        if name not in held:
            raise NotInRunError(f'No layer "{name}" in this run. It holds: {", ".join(held) or "none yet"}.')
    if not run.datasets():
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


def _target(run: Run, given: Path | None) -> Target:
    folder = given or within(run.folder, run.folder / EXPORT_FOLDER)
    if given is None or (folder / INDEX_FILE).is_file():
        check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        index = read_index(folder)
        # Another version of this package may have written the same files otherwise.
        fresh = (index["run"]["run_id"], index["made_by"]) != (run.identity["run_id"], __version__)
    except NoExportError:
        fresh = True
    return Target(folder, fresh)


def _export_layers(
    run: Run,
    target: Target,
    chosen: dict[str, list[str]],
    every: int,
    shapes: dict[str, tuple[int, ...]],
    progress: Callable[[int, int], None],
) -> list[Exported]:
    kinds = {layer["path"]: layer["class"] for layer in run.identity.get("layers", [])}
    # Names for all layers of the run, so that a layer's folder does not depend on what else is asked for.
    folders = safe_names(dict.fromkeys(layer for layer, _ in run.variables()))
    counts = [shapes[layout.variable_dataset(name, v)][0] for name, some in chosen.items() for v in some]
    batches, horizon = run.scalars("batch"), horizon_of(run)
    total, done = sum(-(-count // every) for count in counts), 0

    def wrote() -> None:
        nonlocal done
        done += 1
        progress(min(done, total), total)

    return [
        export_layer(
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
    run: Run, target: Target, layers: list[LayerIndex], every: int, notes: list[str]
) -> dict[str, TableIndex]:
    tables: dict[str, TableIndex] = {}
    for layer in layers:
        for variable in layer["variables"]:
            if variable["name"].endswith("kernel"):
                # Its files are called as the variable; two layers and their kernels may make one name.
                base = f"{layer['folder'].removeprefix('layers/')}_{Path(variable['file']).stem}"
                name = base if base not in tables else f"{base}-{len(tables)}"
                file = f"tables/{name}.csv"
                table, note = export_kernel_table(run, target, layer["name"], variable["name"], file, every)
                tables[name] = table
                notes += [note] if note else []
    return tables
