"""`verify` tells a whole run from a damaged one, and names what is wrong."""

import re

import h5py
import pytest
from written import block

from tensorview_insitu.cli.main import main
from tensorview_insitu.run import layout
from tensorview_insitu.run import verify as verify_module
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.verify import verify
from tensorview_insitu.run.writer import RunWriter


def segmented(folder):
    """A run of three segments, as a crash leaves it."""
    writer = RunWriter(folder)
    for i in range(3):
        writer.write(block(5 * i + 1, 5 * i + 5))
        writer.flush()
    return folder


def test_a_whole_run_is_whole(run, tmp_path, capsys):
    assert main(["verify", str(run.folder)]) == 0
    assert (
        capsys.readouterr().out
        == f"{run.folder} is whole: {len(run.datasets())} datasets in 1 file(s) read\n"
    )
    verdict = verify(segmented(tmp_path / "run"))
    assert (verdict.files, verdict.datasets, verdict.problems) == (3, 9, [])


def test_a_flipped_bit_in_any_dataset_is_found_and_named(copied_run, capsys):
    file = copied_run.folder / "run.h5"
    whole = file.read_bytes()
    for name in ("steps", "scalars/batch", "gradient_norms", "layers/conv2/kernel", "layers/classes/bias"):
        with h5py.File(file) as opened:
            at = opened[name].id.get_chunk_info(0).byte_offset + 5
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        assert main(["verify", str(copied_run.folder)]) == 1
        told = capsys.readouterr().out
        assert f"Dataset /{name} of " in told and "is damaged: " in told
    file.write_bytes(whole)
    assert main(["verify", str(copied_run.folder)]) == 0


def test_a_missing_a_foreign_and_a_broken_segment_are_named(tmp_path):
    folder, other = segmented(tmp_path / "run"), segmented(tmp_path / "other")
    (folder / "segments/000001-000001.h5").unlink()
    assert verify(folder).problems == [f"{folder} lacks segment 1"]
    layout.segment_file(folder, 1, 1).write_bytes(layout.segment_file(other, 1, 1).read_bytes())
    assert "belongs to another run" in verify(folder).problems[0]
    layout.segment_file(folder, 1, 1).write_bytes(b"not HDF5")
    assert "Expected an HDF5 file of a run" in verify(folder).problems[0]


def test_info_names_a_damaged_file_and_the_rest_stays_readable(tmp_path, capsys):
    folder = segmented(tmp_path / "run")
    broken = folder / "segments/000001-000001.h5"
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(bytes(content[: len(content) // 3]))
    with pytest.raises(NotARunError, match="000001-000001"):
        Run.open(folder).steps()
    run = Run.open(folder, skip_damaged=True)
    assert list(run.steps()["step"]) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
    assert list(run.variable("conv", "kernel").steps) == list(run.steps()["step"])
    assert list(run.damaged) == [broken]
    assert main(["info", str(folder)]) == 1
    told = capsys.readouterr().out
    assert f"damaged     Expected an HDF5 file of a run. Received: {broken}" in told
    assert "/steps" in told and "10 x 4" in told
    assert main(["export", str(folder), "--skip-damaged"]) == 0
    assert main(["export", str(folder)]) == 2


def test_all_of_a_dataset_is_read_however_it_is_cut_into_pieces(tmp_path, monkeypatch):
    folder = segmented(tmp_path / "run")
    last = folder / "segments/000002-000002.h5"
    with h5py.File(last) as file:
        chunk = file["layers/conv/kernel"].id.get_chunk_info(0)
    whole = last.read_bytes()
    at = chunk.byte_offset + chunk.size - 8  # of its last row
    for piece in (1, 100, 32 << 20):
        monkeypatch.setattr(verify_module, "_PIECE_BYTES", piece)
        last.write_bytes(whole)
        told = []
        verdict = verify(folder, lambda *progress, told=told: told.append(progress))
        assert (verdict.files, verdict.datasets, verdict.problems) == (3, 9, [])
        assert told == [(1, 3), (2, 3), (3, 3)]
        last.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert [problem.split(" of ")[0] for problem in verify(folder).problems] == [
            "Dataset /layers/conv/kernel"
        ]


def test_an_export_that_skips_damage_holds_the_rows_that_can_be_read(tmp_path):
    folder = segmented(tmp_path / "run")
    broken = folder / "segments/000001-000001.h5"
    with h5py.File(broken) as file:  # found when its rows are read, and not before
        at = file["layers/conv/kernel"].id.get_chunk_info(0).byte_offset
    content = bytearray(broken.read_bytes())
    content[at + 5] ^= 16
    broken.write_bytes(content)
    out = tmp_path / "out"
    assert main(["export", str(folder), "--skip-damaged", "-o", str(out)]) == 0
    times = re.findall(r'timestep="([^"]*)"', (out / "layers/conv/kernel_by_step.pvd").read_text())
    assert list(map(float, times)) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
