"""Packing: one file that says all that the segments said, and what run.json says of its columns."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from full_disk import fill_up
from written import block

from tensorview_insitu.run import pack as pack_module
from tensorview_insitu.run import spool as spool_module
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter


def written(folder, *blocks):
    writer = RunWriter(folder)
    for rows in blocks:
        writer.write(rows)
        writer.flush(seconds=30)
    writer.finish("finished", packed=False)
    return folder


def test_columns_that_are_not_to_be_trusted_are_so_in_the_packed_file_too(tmp_path):
    writer = RunWriter(tmp_path / "run")
    writer.write(block(1, 5))
    writer.distrust("scalars/batch", "loss", "not Keras' number")
    writer.finish("finished")
    for doubts in ({"loss": "not Keras' number"}, {"loss": "not Keras' number", "b": "c"}):
        with h5py.File(tmp_path / "run/run.h5") as file:
            assert json.loads(file["scalars/batch"].attrs["untrusted"]) == doubts
            assert "untrusted" not in file["steps"].attrs
        if len(doubts) == 1:
            writer.write(block(6, 7))
            writer.distrust("scalars/batch", "b", "c")
            writer.finish("finished")
    run = Run.open(tmp_path / "run")
    assert list(run.scalars("batch")["loss"]) == [float(step) for step in range(1, 8)]
    assert run.untrusted("scalars/batch") == doubts


def test_the_last_segment_has_the_last_word_before_packing_and_after(tmp_path):
    blocks = [block(1, 2), block(3, 4)]
    kernel = blocks[1]["layers/conv/kernel"]
    blocks[0]["layers/conv/kernel"] = replace(
        blocks[0]["layers/conv/kernel"], attributes={**kernel.attributes, "stride": 1, "units": "m"}
    )
    blocks[1]["layers/conv/kernel"] = replace(kernel, attributes={**kernel.attributes, "stride": 2})
    run = Run.open(written(tmp_path / "run", *blocks))
    before = run.variable("conv", "kernel").attributes
    pack(run.folder)
    assert run.variable("conv", "kernel").attributes == before
    assert before["stride"] == 2 and before["units"] == "m"


def test_a_table_keeps_the_finest_of_its_numbers_and_gains_columns(tmp_path):
    third = np.array([[1 / 3]])
    tables = [
        Rows(np.array([1]), third.astype(np.float32), {"columns": ["a"]}),
        Rows(np.array([2]), np.hstack([third, third]), {"columns": ["b", "a"]}),
    ]
    folder = written(tmp_path / "run", *({"gradient_norms": table} for table in tables))
    for _ in range(2):
        table = Run.open(folder).gradient_norms()
        assert table["a"].tolist() == [np.float32(1 / 3), 1 / 3]
        assert np.isnan(table["b"][0]) and table["b"][1] == 1 / 3
        pack(folder)


def test_each_dataset_is_told_as_progress(tmp_path):
    told = []
    pack(written(tmp_path / "run", block(1, 5), block(6, 7)), lambda *progress: told.append(progress))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_is_packed_is_not_packed_again(tmp_path):
    folder = written(tmp_path / "run", block(1, 5))
    before = pack(folder).stat()
    assert pack(folder).stat() == before and pack(folder) == folder / "run.h5"
    nothing = written(tmp_path / "nothing")
    assert pack(nothing) == nothing / "run.h5" and not (nothing / "run.h5").exists()


def test_packing_takes_a_tenth_and_a_megabyte_more_room_than_the_segments(tmp_path, monkeypatch):
    folder = written(tmp_path / "run", block(1, 5), block(6, 7))
    size = sum(path.stat().st_size for path in (folder / "segments").iterdir())
    for free in (size * 1.1 + (1 << 20) - 1, size * 1.1 + (1 << 20)):
        usage = type("Usage", (), {"free": free})()
        monkeypatch.setattr(pack_module.shutil, "disk_usage", lambda path, usage=usage: usage)
        if free < size * 1.1 + (1 << 20):
            with pytest.raises(OSError, match="make room and use `tensorview-insitu pack`"):
                pack(folder)
            assert not (folder / "run.h5").exists()
    pack(folder)
    assert (folder / "run.h5").exists()


@pytest.mark.parametrize("works", [0, 1, 3])
def test_a_disk_that_fills_up_while_packing_leaves_the_run_as_it_was(tmp_path, monkeypatch, works):
    rows = {"layers/a/kernel": Rows(np.arange(30), np.ones((30, 400, 300)), {"dims": ["snapshot", "x", "y"]})}
    folder = written(tmp_path / "run", rows, block(31, 40))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sizes = fill_up(monkeypatch, works)
    with pytest.raises(OSError, match="No space left"):
        pack(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert len(sizes) == works + 1


def test_packing_ends_with_the_first_dataset_that_the_disk_does_not_take(tmp_path, monkeypatch):
    rows = Rows(np.arange(5), np.ones((5, 2)), {"columns": ["a", "b"]})
    folder = written(tmp_path / "run", {f"quantities/{i}": rows for i in range(20)})
    monkeypatch.setattr(spool_module, "_MEMORY_BYTES", 0)
    told = []
    fill_up(monkeypatch, 10)
    with pytest.raises(OSError, match="No space left"):
        pack(folder, lambda *progress: told.append(progress))
    assert 0 < len(told) < 19
