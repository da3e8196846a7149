"""What `render` and `open` draw is the run as it is now, or they say why they draw nothing."""

import shutil

import pytest
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder, Kernels, Metrics
from tensorview_insitu.paraview_states.states import write_states

from tensorview_insitu.cli.exported import export_folder, ready_state
from tensorview_insitu.cli.main import main
from tensorview_insitu.export.manifest import BEGUN_FILE, MANIFEST_FILE
from tensorview_insitu.export.run import export_run
from tensorview_insitu.index import NoExportError, read_index
from tensorview_insitu.run.reader import Run


def record(folder, epochs, **options):
    fit(network(), [InSituRecorder(folder, [Metrics(), Kernels()], **options)], epochs=epochs)


def test_a_run_that_was_overwritten_is_exported_again(tmp_path, capsys):
    record(tmp_path / "run", 3)
    assert export_folder(str(tmp_path / "run")) == tmp_path / "run/paraview"
    assert capsys.readouterr().err == ""
    record(tmp_path / "run", 1, overwrite=True)
    for path in (tmp_path / "run", tmp_path / "run/paraview"):
        run = read_index(export_folder(str(path)))["run"]
        assert run["run_id"] == Run.open(tmp_path / "run").identity["run_id"] and run["epochs"] == 1
    assert "of another run" in capsys.readouterr().err


def test_a_run_that_went_on_is_exported_again_as_it_was_exported_before(tmp_path, capsys):
    record(tmp_path / "run", 2)
    assert main(["export", str(tmp_path / "run"), "--layer", "conv2", "--every", "2"]) == 0
    record(tmp_path / "run", 4, resume=True)
    index = read_index(export_folder(str(tmp_path / "run")))
    assert index["run"]["epochs"] == 6 and index["every"] == 2
    assert [layer["name"] for layer in index["layers"]] == ["conv2"]
    assert "has changed since" in capsys.readouterr().err


def test_an_export_of_the_runs_state_now_is_left_as_it_is(copied_run, capsys):
    folder = export_run(copied_run).parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert export_folder(str(copied_run.folder)) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "interrupted"])
def test_a_runs_export_that_is_not_whole_is_made_whole(damage, copied_run, capsys):
    folder = export_run(copied_run).parent
    spoil(folder, damage)
    assert export_folder(str(copied_run.folder)) == folder
    assert "exporting" in capsys.readouterr().err
    assert not (folder / BEGUN_FILE).exists()
    assert (folder / "layers/conv1/grids_0000013.vtp").stat().st_size > 1000


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "interrupted"])
@pytest.mark.parametrize("command", ["render", "open"])
def test_an_export_that_is_not_whole_is_not_drawn(command, damage, exported, tmp_path, capsys):
    shutil.copytree(exported, tmp_path / "export")
    spoil(tmp_path / "export", damage)
    assert main([command, str(tmp_path / "export"), "--view", "kernel_grids"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Export the run again" in error
    assert ("interrupted" if damage == "interrupted" else "grids_0000013.vtp") in error


def spoil(folder, damage):
    path = folder / "layers/conv1/grids_0000013.vtp"
    if damage == "gone":
        path.unlink()
    elif damage == "interrupted":
        (folder / BEGUN_FILE).write_text("layers/conv1/grids_0000013.vtp\n")
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == "cut" else 0])


@pytest.mark.parametrize(
    ("view", "file"),
    [("kernel_grids", "layers/conv1/grids_0000013.vtp"), ("training_curves", "tables/epochs.csv")],
)
@pytest.mark.parametrize("damage", ["gone", "empty"])
def test_a_state_says_which_file_of_the_export_it_lacks(damage, view, file, exported, tmp_path):
    # As of an export by an earlier version, which has no manifest.
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    write_states(folder)
    (folder / MANIFEST_FILE).unlink()
    (folder / file).unlink()
    if damage == "empty":
        (folder / file).touch()
    with pytest.raises(NoExportError, match=f"lacks {file}.*Export the run again"):
        ready_state(folder, view, tmp_path)


def test_an_index_beside_a_run_is_not_taken_for_the_export_of_the_run(copied_run, compared):
    shutil.copy(compared / "index.json", copied_run.folder)
    folder = export_folder(str(copied_run.folder))
    assert folder == copied_run.folder / "paraview" and read_index(folder)["comparison"] is None


def test_an_export_of_a_run_that_is_damaged_is_drawn_where_it_is_named_itself(copied_run):
    folder = export_run(copied_run).parent
    (copied_run.folder / "run.json").write_text("{")
    assert export_folder(str(folder)) == folder
