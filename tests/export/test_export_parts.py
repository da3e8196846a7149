"""A part of an export that fails costs that part: it is said, nothing old stays, all else is as it was."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

import h5py
import pytest
from fits import digits, fit, network
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
from tensorview_insitu.paraview_states.drawn_from import DRAWN_FROM, failed_parts
from tensorview_insitu.paraview_states.settings import Settings
from tensorview_insitu.paraview_states.states import write_states
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.cli.main import main
from tensorview_insitu.export.parts import PARTS, Parts
from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import read_index
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.reader import Run

LAYERS = ["conv1", "norm", "conv2", "classes"]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory) -> tuple[Path, Path]:
    """A small run that has everything, and its export with every table."""
    folder = tmp_path_factory.mktemp("parts")
    x, y = digits()
    quantities = [
        Metrics(),
        GradientNorms(),
        Kernels(),
        Biases(),
        Normalization(),
        UpdateNorms(1),
        Activations(x[:2]),
        Explanations("grad_cam", x[:2], target=y[:2]),
        Explanations("saliency", x[:2], target=y[:2]),
    ]
    fit(network(), [InSituRecorder(folder / "run", quantities)], epochs=2)
    export(folder / "run", folder / "export")
    return folder / "run", folder / "export"


def export(run: Path, folder: Path) -> None:
    export_run(Run.open(run), folder, layers=LAYERS)
    write_states(folder)


def copies(healthy, tmp_path) -> tuple[Path, Path]:
    """Copies of the run and of its export, to be changed."""
    run, exported = healthy
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(exported, tmp_path / "export")
    return tmp_path / "run", tmp_path / "export"


def damage(run: Path, dataset: str) -> None:
    """Flip a bit in the middle of a dataset."""
    with h5py.File(run / "run.h5") as file:
        chunk = file[dataset].id.get_chunk_info(0)
    with (run / "run.h5").open("r+b") as data:
        data.seek(chunk.byte_offset + chunk.size // 2)
        byte = data.read(1)[0]
        data.seek(-1, 1)
        data.write(bytes([byte ^ 16]))


# What is made of each part besides its own files, or of what several are made of: patterns of files.
NOW = r"gradient_norms/now.*|layer_health/now.*"
FILES = {
    "data/batches": r"tables/batches\.csv|layers/.*/path.*",
    "data/epochs": rf"tables/epochs.*|curves/.*|layer_health/.*|{NOW}",
    "data/metrics": r"curves/.*",
    "data/gradient_norms": r"gradient_norms/.*|tables/gradient_norms\.csv"
    r"|layer_health/log10_grad.*|network/.*",
    "data/update_norms": r"tables/update_norms\.csv|layer_health/log10_update.*",
    "data/weight_norms": r"tables/weight_norms\.csv|layer_health/log10_update.*",
    "tables/(.*)": r"tables/\1\.csv",
    "curve": r"curves/.*",
    "gradient_norms": r"gradient_norms/.*|tables/gradient_norms\.csv",
    "layers/(.*)/(.*)/distribution": r"layers/\1/distribution_\2.*",
    "layers/(.*)/bias/sheets": r"layers/\1/bias_sheet.*",
    "layers/(.*)/kernel/sheets": r"layers/\1/sheets.*",
    "layers/(.*)/kernel/grids": r"layers/\1/grids.*",
    "layers/(.*)/kernel/trajectory": r"layers/\1/(path.*|movement\.csv)",
    "layers/(.*)/kernel": r"layers/\1/(kernel|distribution_kernel|sheets|grids|path|movement).*"
    r"|network/.*|layer_health/log10_weight_norm.*",
    "layers/(.*)/bias": r"layers/\1/(bias|distribution_bias).*",
    "layers/(.*)/(gamma|beta|moving.*)": r"layers/\1/(distribution_)?\2.*|layer_health/log10_moving.*",
    "kernel_tables/(.*)/kernel": r"tables/\1_kernel\.csv",
    "feature_maps/(.*)": r"activations/\1/.*",
    "explanations/(.*)": r"explanations/\1/.*|explanations/[^/]*",
    "explanation_grid": r"explanations/[^/]*",
    "health/(.*)": r"layer_health/\1.*",
    "network": r"network/.*",
}
# The parts that cannot be when a dataset is damaged.
OF_DATASET = {
    "scalars/batch": "data/batches",
    "scalars/epoch": "data/epochs",
    "gradient_norms": "data/gradient_norms",
    "update_norms": "data/update_norms",
    "weight_norms": "data/weight_norms",
    "dead_filters": "tables/dead_filters|health/dead_share",
    "layers/(.*)": r"layers/\1|kernel_tables/\1",
    "activations/(.*)/maps": r"feature_maps/\1",
    "explanations/(.*)/(maps|images|focus)": r"explanations/\1",
}


def expanded(table: dict[str, str], name: str) -> str:
    for pattern, value in table.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(value.replace("\\.", "\0")).replace("\0", "\\.")
    raise AssertionError(f"{name} is not among what is known")


def files_of(parts: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(expanded(FILES, part) for part in parts))


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def compare(run: Path, exported: Path, before: Path, failed: list[str]) -> None:
    """All files but those of what failed are as before; of those none that is old."""
    may_change = files_of(failed)
    index, old = read_index(exported), read_index(before)
    held, was = files_in(exported), files_in(before)
    assert not [name for name in held if "/." in name and name != "states/.written.json"]
    for name in sorted(held | was):
        if name in ("index.json", ".files.json") or name.startswith("states/"):
            continue
        same = name in held and name in was and (exported / name).read_bytes() == (before / name).read_bytes()
        assert same or may_change.fullmatch(name), name
    assert set(failed) <= set(index["failed"]), index["failed"]
    for part, why in index["failed"].items():
        assert part in why and "\n" not in why and why in index["notes"]
        assert part in failed or any(part.startswith(f"{one}/") or one in part for one in failed), part
    for view in VIEWS:
        touched = failed_parts(view, index, Settings())
        script = f"states/{view}.py"
        if not touched and (before / script).exists():
            assert (exported / script).read_bytes() == (before / script).read_bytes(), view
    # index.json names no file that is not there, and none of what failed.
    text = (exported / "index.json").read_text()
    for file in re.findall(r'"([^" ]+\.(?:vtp|vti|pvd|csv))"', text):
        assert "{" in file or (exported / file).is_file(), file
    assert old["failed"] == {}


@pytest.fixture(scope="module")
def datasets(healthy):
    return [name for name in Run.open(healthy[0]).datasets() if name != "steps"]


KINDS = (
    "scalars",
    "gradient_norms",
    "update_norms",
    "weight_norms",
    "dead_filters",
    "layers",
    "activations",
    "explanations",
)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_data_cost_the_parts_that_are_made_of_them(kind, healthy, datasets, tmp_path, exhaustive):
    of_kind = [name for name in datasets if name.split("/")[0] == kind and not name.endswith("statistics")]
    assert of_kind
    for number, dataset in enumerate(of_kind[:: 1 if exhaustive else 3]):
        run, exported = copies(healthy, tmp_path / str(number))
        damage(run, dataset)
        export(run, exported)
        failed = expanded(OF_DATASET, dataset).split("|")
        failed = [part for part in failed if not part.startswith("kernel_tables") or part.endswith("kernel")]
        compare(run, exported, healthy[1], failed)
        report = write_states(exported)
        # What cannot be shown any more is not there, and says why.
        for view in report.impossible:
            if view not in ("compare", "quantities"):  # nothing was recorded for these
                assert "damaged" in report.impossible[view]
                assert not (exported / f"states/{view}.pvsm").exists()
        shutil.rmtree(tmp_path / str(number))


@pytest.fixture(scope="module")
def parts(healthy, tmp_path_factory):
    """The names of the parts of the healthy export."""
    made: list[Parts] = []

    class Seen(Parts):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorview_insitu.export.run.Parts", Seen)
        export(healthy[0], tmp_path_factory.mktemp("again"))
    return made[0].made


def test_every_kind_of_part_is_known(parts):
    assert {part.split("/")[0] for part in parts} <= PARTS.keys()
    assert set(DRAWN_FROM) >= set(VIEWS)


@pytest.mark.parametrize(
    "kind", [kind for kind in PARTS if kind not in ("sidecars", "comparison", "quantities")]
)
def test_a_part_that_raises_costs_that_part(kind, healthy, parts, tmp_path, monkeypatch, exhaustive):
    make = Parts.make
    of_kind = [part for part in parts if part.split("/")[0] == kind]
    assert of_kind
    # One of each shape of name is as good as all: conv1 stands for conv2.
    alike = [part for part in of_kind if "conv2" not in part and "classes" not in part]
    for number, broken in enumerate(alike[:: 1 if exhaustive else 3]):

        def failing(self, part, work, absent, *, files=(), broken=broken):
            def wrong():
                work()  # its files are half or wholly there
                raise RuntimeError("it broke\nin two lines\x1b[31m")

            return make(self, part, wrong if part == broken else work, absent, files=files)

        run, exported = copies(healthy, tmp_path / str(number))
        with monkeypatch.context() as patch:
            patch.setattr(Parts, "make", failing)
            export(run, exported)
        compare(run, exported, healthy[1], [broken])
        assert "RuntimeError: it broke in two lines" in read_index(exported)["failed"][broken]
        export(run, exported)  # healed
        index = read_index(exported)
        assert index["failed"] == {} and index["notes"] == read_index(healthy[1])["notes"]
        for file in healthy[1].rglob("*"):
            if file.is_file() and "states" not in file.parts and file.name != ".files.json":
                assert (exported / file.relative_to(healthy[1])).read_bytes() == file.read_bytes()
        shutil.rmtree(tmp_path / str(number))


def test_a_full_disk_ends_the_export_in_one_line(healthy, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tensorview_insitu.export.sheets.write_poly_data", full)
    run, _ = copies(healthy, tmp_path)
    assert main(["export", str(run), "-o", str(tmp_path / "new")]) == 1
    told = capsys.readouterr().err
    assert "No space left on device" in told and told.count("\n") == 1
    assert not (tmp_path / "new/index.json").exists()


def test_the_command_says_what_failed_and_fails_where_a_named_layer_did(healthy, tmp_path, capsys):
    run, exported = copies(healthy, tmp_path)
    damage(run, "layers/conv1/kernel")
    assert main(["export", str(run), "-o", str(exported)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        line for line in lines if line.startswith("missing: layers/conv1/kernel is not exported: Dataset /")
    ]
    assert [line for line in lines if line.startswith("incomplete view kernel_grids: layers/conv1/kernel")]
    assert main(["export", str(run), "-o", str(exported), "--layer", "conv2"]) == 0
    assert main(["export", str(run), "-o", str(exported), "--layer", "conv1"]) == 1
    assert "kernel_tables/conv1/kernel is not exported" in capsys.readouterr().out


def test_a_picture_of_an_export_that_lacks_a_part_says_so(healthy, tmp_path):
    run, exported = copies(healthy, tmp_path)
    damage(run, "layers/conv1/kernel")
    export(run, exported)
    formats = {
        node.properties["Format"]
        for node in VIEWS["kernel_grids"](read_index(exported), Settings()).sources
        if node.kind == "TimeToTextConvertor"
    }
    assert all("(incomplete: a part failed)" in text for text in formats)
    other = VIEWS["kernel_grids"](read_index(exported), Settings(layer="conv2"))
    assert not other.lacks
    with pytest.raises(ValueError, match="; layers/conv1/kernel is not exported: Dataset /layers/conv1"):
        VIEWS["kernel_grids"](read_index(exported), Settings(layer="conv1"))


def test_a_run_of_which_nothing_can_be_read_is_refused(healthy, tmp_path):
    run, _ = copies(healthy, tmp_path)
    damage(run, "steps")
    with pytest.raises(NotARunError):
        export_run(Run.open(run), tmp_path / "new")
    assert not (tmp_path / "new/index.json").exists()


def test_nothing_of_another_run_stays_in_its_folder(healthy, tmp_path):
    _, exported = copies(healthy, tmp_path)
    fit(network(), [InSituRecorder(tmp_path / "other", [Metrics()])], epochs=1)
    export_run(Run.open(tmp_path / "other"), exported)
    write_states(exported)
    left = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    named = {
        f"states/{view}{end}"
        for view in ("dashboard", "training_curves", "training_curve_3d")
        for end in (".py", ".pvsm")
    }
    assert {name for name in left if not name.startswith(("curves/", "states/.w"))} == {
        ".files.json",
        "index.json",
        "tables/batches.csv",
        "tables/epochs.csv",
        "tables/epochs_normalised.csv",
        *named,
    }


def test_a_sidecar_that_fails_costs_that_sidecar(healthy, tmp_path, capsys):
    run, _ = copies(healthy, tmp_path)
    folder = tmp_path / "beside"
    assert main(["export", str(run), "-o", str(folder), "--format", "xdmf"]) == 0
    before = {p.name: p.read_bytes() for p in folder.glob("*.xmf")}
    damage(run, "layers/conv1/kernel")
    capsys.readouterr()
    assert main(["export", str(run), "-o", str(folder), "--format", "xdmf", "--every", "2"]) == 0
    told = capsys.readouterr().out
    assert "missing: sidecars/conv1/kernel is not exported: Dataset /layers/conv1/kernel" in told
    assert "ignored: --every, by xdmf" in told
    after = {p.name: p.read_bytes() for p in folder.glob("*.xmf")}
    lost = before.keys() - after.keys()
    assert lost == {"conv1.kernel.xmf"} and not (folder / "states/conv1.kernel.pvsm").exists()
    assert all(before[name] == data for name, data in after.items())
    assert main(["export", str(run), "-o", str(folder), "--format", "xdmf", "--layer", "conv1"]) == 1


def test_a_comparison_goes_on_without_a_layer_that_is_damaged(healthy, tmp_path, capsys):
    run, _ = copies(healthy, tmp_path)
    fit(network(seed=3), [InSituRecorder(tmp_path / "other")], epochs=2)
    damage(run, "layers/conv1/kernel")
    folder = tmp_path / "compared"
    assert main(["compare", str(run), str(tmp_path / "other"), "-o", str(folder)]) == 0
    assert (
        "missing: comparison/conv1 is not exported: Dataset /layers/conv1/kernel" in capsys.readouterr().out
    )
    index = read_index(folder)
    assert [one["layer"] for one in index["comparison"]["layers"]] == ["conv2", "classes"]
    assert index["comparison"]["metrics"]
