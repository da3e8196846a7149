"""Runs from strangers: what reaches outside, or claims too much, is refused in a line and at once."""

import json
import shutil
import time

import h5py
import numpy as np
import pytest

from tensorview_insitu.cli.main import main
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.identity import write_identity
from tensorview_insitu.run.reader import Run


def external_link(file, secret):
    file["scalars/stolen"] = h5py.ExternalLink(str(secret), "/x")


def soft_link(file, secret):
    file["scalars/again"] = h5py.SoftLink("/scalars/batch")


def dangling_link(file, secret):
    file["scalars/none"] = h5py.SoftLink("/nowhere")


def external_storage(file, secret):
    file.create_dataset("scalars/raw", (8,), np.uint8, external=[(str(secret), 0, 8)])


def virtual(file, secret):
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
    file.create_virtual_dataset("scalars/virtual", layout)


def bomb(file, secret):
    file.create_dataset("layers/conv1/bomb", (1 << 40,), np.float64, chunks=(1 << 20,), compression="gzip")


def text(file, secret):
    file["layers/conv1/words"] = "hello"


def a_group_in_itself(file, secret):
    file["layers/conv1/again"] = file["layers"]


CRAFTED = [
    external_link, soft_link, dangling_link, external_storage, virtual, bomb, text, a_group_in_itself,
]  # fmt: skip


@pytest.mark.parametrize("craft", CRAFTED)
def test_a_crafted_file_is_refused_in_a_line_and_in_less_than_a_second(craft, copied_run, tmp_path, capsys):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(4, dtype=np.float32)
    with h5py.File(copied_run.folder / "run.h5", "a") as file:
        craft(file, secret)
    start = time.monotonic()
    with pytest.raises(NotARunError, match="No recorder wrote this file|claims 8796 GB, but 0 bytes"):
        copied_run.datasets()
    assert time.monotonic() - start < 1
    assert main(["info", str(copied_run.folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_is_looked_through_again_when_it_has_changed(copied_run, tmp_path):
    copied_run.datasets()
    with h5py.File(copied_run.folder / "run.h5", "a") as file:
        external_link(file, tmp_path / "secret.h5")
    with pytest.raises(NotARunError):
        copied_run.datasets()


def test_a_run_json_with_wrong_types_is_told(copied_run):
    identity = copied_run.identity
    for wrong in ({"pid": "1"}, {"missing": None}, {"run_id": 5}, {"version": "new"}):
        (copied_run.folder / "run.json").write_text(json.dumps(identity | wrong))
        with pytest.raises(NotARunError, match="is damaged|Install a newer one"):
            Run.open(copied_run.folder)


def test_layer_names_that_climb_stay_inside_the_export(copied_run, tmp_path):
    with h5py.File(copied_run.folder / "run.h5", "a") as file:
        file.move("layers/conv1", "layers/..evil")
        about = file["layers/..evil/kernel"].attrs
        assert about["filter_axis"] == 4
    identity = copied_run.identity
    rows = {name.replace("layers/conv1", "layers/..evil"): n for name, n in identity["rows"].items()}
    write_identity(copied_run.folder, {**identity, "rows": rows})
    out = tmp_path / "a/b/out"
    assert main(["export", str(copied_run.folder), "-o", str(out)]) == 0
    outside = [p for p in tmp_path.rglob("*") if out not in p.parents and p != out and p not in out.parents]
    assert all(copied_run.folder in (p, *p.parents) for p in outside)
    shutil.rmtree(out)
