"""Runs from strangers: what reaches outside, or claims too much, is refused in a line and at once."""

import json
import os
import shutil
import stat
import zlib

import h5py
import numpy as np
import pytest
from flip_bits import everything, same

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


def put(file, name, *arguments, **more):
    """Another dataset in place of one, with its attributes."""
    about = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, *arguments, **more).attrs.update(about)


def put_steps(file, name, values):
    put(file, f"{name}_steps", data=np.asarray(values))


def table_of(file, name, column, value):
    columns = json.loads(file[name].attrs["columns"])
    file[name][:, columns.index(column)] = value


KERNEL = "layers/conv1/kernel"  # (5, 3, 3, 1, 8)
NESTED = "layers/" + "x/" * 2000
TYPES = {
    "bools": np.bool_, "texts": "S3", "complex numbers": np.complex64, "pairs": "i4,f8",
    "long doubles": np.longdouble,
    "raw bytes": "V5", "vectors": (np.float32, (3,)), "references": h5py.ref_dtype,
    "lists": h5py.vlen_dtype(np.int32),
    "words": h5py.string_dtype(), "names": h5py.enum_dtype({"a": 1}),
}  # fmt: skip

# What is wrong, by what makes it so.
CRAFTED = {
    "a link out": external_link,
    "a link inside": soft_link,
    "a link to nothing": dangling_link,
    "another file's bytes": external_storage,
    "a view of another file": virtual,
    "8 TB": bomb,
    "a text": text,
    "a group in itself": a_group_in_itself,
    "one dataset under two names": lambda f, s: f.__setitem__("layers/again", f[KERNEL]),
    "a type of its own": lambda f, s: f.__setitem__("layers/type", np.dtype("f8")),
    **{f"{kind} for numbers": lambda f, s, t=t: put(f, KERNEL, (5, 3), t) for kind, t in TYPES.items()},
    "a scalar": lambda f, s: put(f, KERNEL, data=1.0),
    "an empty space": lambda f, s: put(f, KERNEL, data=h5py.Empty("f")),
    "4 GB of fill values in chunks": lambda f, s: put(f, KERNEL, (5, 1 << 28), "f4", chunks=(1, 1 << 20)),
    "4 GB of fill values": lambda f, s: put(f, KERNEL, (5, 1 << 28), "f4"),
    "20 bytes of fill values": lambda f, s: put(f, "layers/conv1/bias", (5, 8), "f4", chunks=(1, 8)),
    "chunks that are not all there": lambda f, s: (
        put(f, "layers/conv1/bias", (5, 8), "f4", chunks=(1, 8)),
        f["layers/conv1/bias"].__setitem__(3, 1.0),
    ),
    "a filter of somebody's": lambda f, s: put(f, KERNEL, data=np.ones((5, 3, 3, 1, 8)), compression="lzf"),
    "no steps": lambda f, s: f.__delitem__(f"{KERNEL}_steps"),
    "steps of no rows": lambda f, s: f.__delitem__(KERNEL),
    "steps of another length": lambda f, s: put_steps(f, KERNEL, [0, 1, 2]),
    "steps that are fractions": lambda f, s: put_steps(f, KERNEL, [0.0, 1, 2, 3, 4]),
    "steps in two axes": lambda f, s: put_steps(f, KERNEL, [[0], [1], [2], [3], [4]]),
    "no columns": lambda f, s: f["scalars/batch"].attrs.__delitem__("columns"),
    "columns for another width": lambda f, s: f["scalars/batch"].attrs.__setitem__("columns", '["loss"]'),
    "columns of one name": lambda f, s: f["scalars/batch"].attrs.__setitem__("columns", '["a", "a", "b"]'),
    "columns that are numbers": lambda f, s: f["scalars/batch"].attrs.__setitem__("columns", "[1, 2, 3]"),
    "columns that are no list": lambda f, s: f["scalars/batch"].attrs.__setitem__("columns", 3),
    "columns nested deeply": lambda f, s: f["scalars/batch"].attrs.__setitem__("columns", "[" * 60_000),
    "steps without epochs": lambda f, s: f["steps"].attrs.__setitem__("columns", '["step", "b", "c", "d"]'),
    "epochs without epochs": lambda f, s: f["scalars/epoch"].attrs.__setitem__(
        "columns", '["a","b","c","d","e"]'
    ),
    "a table of one axis": lambda f, s: put(f, "gradient_norms", data=np.ones(52)),
    "no dims": lambda f, s: f[KERNEL].attrs.__delitem__("dims"),
    "dims of another rank": lambda f, s: f[KERNEL].attrs.__setitem__("dims", '["snapshot", "filter"]'),
    "an axis of filters that is none": lambda f, s: f[KERNEL].attrs.__setitem__("filter_axis", 7),
    "a negative axis of filters": lambda f, s: f[KERNEL].attrs.__setitem__("filter_axis", -1),
    "an axis of filters that is NaN": lambda f, s: f[KERNEL].attrs.__setitem__("filter_axis", np.nan),
    "an attribute that is a reference": lambda f, s: f[KERNEL].attrs.__setitem__("x", f.ref),
    "an empty attribute": lambda f, s: f[KERNEL].attrs.__setitem__("x", h5py.Empty("f")),
    "statistics of another count": lambda f, s: f["activations/conv1/statistics"].attrs.__setitem__(
        "statistics", '["mean"]'
    ),
    "segments up to 1e9": lambda f, s: f.attrs.__setitem__("last", 10**9),
    "segments up to 1e18": lambda f, s: f.attrs.__setitem__("last", 10**18),
    "segments that end before they begin": lambda f, s: f.attrs.__setitem__("first", 7),
    "segments that are negative": lambda f, s: f.attrs.__setitem__("first", -1),
    "segments that are fractions": lambda f, s: f.attrs.__setitem__("last", 0.5),
    "segments that are texts": lambda f, s: f.attrs.__setitem__("last", "1"),
    "segments that are lists": lambda f, s: f.attrs.__setitem__("last", [1, 2]),
    "no segments": lambda f, s: f.attrs.__delitem__("last"),
    "a run id that is a number": lambda f, s: f.attrs.__setitem__("run_id", 5),
    "a version that is a text": lambda f, s: f.attrs.__setitem__("version", "1"),
    "a version that is NaN": lambda f, s: f.attrs.__setitem__("version", np.nan),
    "a later version": lambda f, s: f.attrs.__setitem__("version", 2),
    "attributes by the thousand": lambda f, s: [f.attrs.__setitem__(f"a{i}", i) for i in range(1000)],
    "20,000 groups": lambda f, s: [f.create_group(f"layers/g{i}") for i in range(20_000)],
    "groups 2,000 deep": lambda f, s: f.create_group(NESTED),
    "20,000 links to one group": lambda f, s: [
        f["layers"].__setitem__(f"g{i}", f["scalars"]) for i in range(20_000)
    ],
}

# What is only found when its rows are read.
READ = {
    "steps that fall": lambda f, s: put_steps(f, KERNEL, [0, 2, 1, 3, 4]),
    "negative steps": lambda f, s: put_steps(f, KERNEL, [-5, 2, 3, 4, 5]),
    "steps beyond all": lambda f, s: put_steps(f, KERNEL, [0, 1, 2, 3, 2**62]),
    "one step twice": lambda f, s: put_steps(f, "scalars/batch", np.arange(52) // 2),
    "steps that are NaN": lambda f, s: table_of(f, "steps", "step", np.nan),
    "epochs that are NaN": lambda f, s: table_of(f, "steps", "epoch", np.nan),
    "batches that are negative": lambda f, s: table_of(f, "steps", "batch", -1),
    "times that are infinite": lambda f, s: table_of(f, "steps", "wall_time", np.inf),
    "ends of epochs that are NaN": lambda f, s: table_of(f, "scalars/epoch", "epoch", np.nan),
    "ends of epochs that are fractions": lambda f, s: table_of(f, "scalars/epoch", "epoch", 0.5),
    "one epoch that ends twice": lambda f, s: table_of(f, "scalars/epoch", "epoch", 3),
}


def craft(run, tmp_path, change):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(4, dtype=np.float32)
    with h5py.File(run.folder / "run.h5", "a") as file:
        change(file, secret)


def answers(run, tmp_path, capsys):
    """`(exit code, lines of the error)` of each command that reads runs."""
    folder = str(run.folder)
    commands = {
        "info": ["info", folder],
        "verify": ["verify", folder],
        "export": ["export", folder],
        "compare": ["compare", folder, folder, "-o", str(tmp_path / "compared")],
        "pack": ["pack", folder],
    }
    found = {}
    for name, command in commands.items():
        capsys.readouterr()
        code = main(command)
        told = capsys.readouterr()
        found[name] = code, told.err.count("\n"), told.out
    return found


@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_file_is_refused_by_every_command_in_a_line(what, copied_run, tmp_path, capsys):
    craft(copied_run, tmp_path, CRAFTED[what])
    with pytest.raises(NotARunError, match="No recorder wrote|not say rightly|Install a newer") as refused:
        copied_run.datasets()
    assert "signal" not in str(refused.value)
    found = answers(copied_run, tmp_path, capsys)
    code, _, told = found.pop("verify")
    assert code == 1 and "run.h5" in told
    assert all((code, lines) == (2, 1) for code, lines, _ in found.values()), found
    assert not (copied_run.folder / "paraview").exists()


@pytest.mark.parametrize("what", READ)
def test_rows_that_cannot_be_are_refused_when_they_are_read(what, copied_run, tmp_path, capsys):
    craft(copied_run, tmp_path, READ[what])
    with pytest.raises(NotARunError, match="its steps fall|what is no|its epochs fall"):
        everything(copied_run.folder)
    found = answers(copied_run, tmp_path, capsys)
    assert found["verify"][0] == 1 and "Dataset /" in found["verify"][2]
    # One part of an export that cannot be read costs that part, and is said.
    code, lines, told = found["export"]
    assert (code, lines) == (2, 1) or (code == 0 and "Dataset /" in told)


def test_what_a_later_version_may_add_leaves_a_run_readable(copied_run, capsys):
    before = everything(copied_run.folder)
    with h5py.File(copied_run.folder / "run.h5", "a") as file:
        file["later/kind"] = np.zeros((3, 2, 2), np.float16)
        file["later/kind_steps"] = np.arange(3)
        file["later/kind"].attrs["unheard"] = "[of"
        file[KERNEL].attrs["also"] = np.arange(3)
        file.attrs["and"] = 1.5
    identity = copied_run.identity
    write_identity(
        copied_run.folder, identity | {"rows": identity["rows"] | {"later/kind": 3}, "more": [None]}
    )
    after = everything(copied_run.folder)
    before["identity"], before["datasets"]["later/kind"] = after["identity"], (3, 2, 2)
    assert same(after, before | {"datasets": dict(sorted(before["datasets"].items()))})
    assert main(["verify", str(copied_run.folder)]) == 0


@pytest.mark.parametrize("kind", ["FIFO", "folder", "link", "link to itself", "socket", "empty", "device"])
@pytest.mark.parametrize("name", ["run.h5", "run.json"])
def test_what_is_no_plain_file_is_refused_and_waited_for_by_nobody(kind, name, copied_run, tmp_path, capsys):
    path = copied_run.folder / name
    path.rename(tmp_path / "away")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "away")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "socket":
        os.mknod(path, 0o600 | stat.S_IFSOCK)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
    found = answers(copied_run, tmp_path, capsys)
    if name == "run.h5":
        assert found.pop("verify")[0] == 1
    assert all((code, lines) == (2, 1) for code, lines, _ in found.values()), found


def test_a_folder_of_segments_that_is_a_link_is_refused(copied_run, tmp_path, capsys):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/000000-000009.h5").touch()
    (copied_run.folder / "segments").symlink_to(tmp_path / "victim")
    assert all(code == 2 for code, _, _ in answers(copied_run, tmp_path, capsys).values())
    assert (tmp_path / "victim/000000-000009.h5").exists()


def test_a_file_is_looked_through_again_when_it_has_changed(copied_run, tmp_path):
    copied_run.datasets()
    with h5py.File(copied_run.folder / "run.h5", "a") as file:
        external_link(file, tmp_path / "secret.h5")
    with pytest.raises(NotARunError):
        copied_run.datasets()


WRONG = [
    {"pid": "1"}, {"pid": 0}, {"pid": -1}, {"pid": 2**40}, {"pid": True}, {"missing": None}, {"missing": [1]},
    {"missing": "none"}, {"run_id": 5}, {"version": "new"}, {"version": 1.0}, {"version": True},
    {"version": 2},
    {"status": ["running"]}, {"host": {}}, {"created": 10**9}, {"layers": {}}, {"layers": [1]},
    {"layers": [{}]},
    {"layers": [{"path": 1, "class": "x", "variables": {}}]}, {"layers": [{"path": "x", "class": "x",
    "variables": 3}]},
    {"layers": [{"path": "x", "class": None, "variables": {}}]}, {"steps_per_epoch": "13"},
    {"steps_per_epoch": -1},
    {"steps_per_epoch": float("nan")}, {"steps_per_epoch": 1e9}, {"planned_epochs": [4]},
    {"planned_epochs": 10**400},
    {"dropped_rows": []}, {"dropped_rows": {"steps": "x"}}, {"thinned": "x"}, {"thinned": [[]]},
    {"resumed": {}},
    {"resumed": [{}]}, {"resumed": [{"time": 1, "after_step": 1, "after_epoch": 1}]}, {"untrusted": []},
    {"untrusted": {"scalars/batch": ["loss"]}}, {"untrusted": {"scalars/batch": {"loss": 1}}},
    {"segments": "3"},
    {"segments": -1}, {"rows": [1]}, {"rows": {"steps": -1}}, {"rows": {"steps": 0.5}}, {"error": 1},
    {"model": None},
    {"backend": 1}, {"packages": []}, {"git": 1}, {"process_start": 1}, {"format": None}, {"format": ["x"]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_run_json_with_wrong_types_is_told(wrong, copied_run, tmp_path, capsys):
    identity = copied_run.identity | wrong
    identity.pop("crc32")
    identity["crc32"] = zlib.crc32(json.dumps(identity, sort_keys=True).encode())  # as a stranger would
    (copied_run.folder / "run.json").write_text(json.dumps(identity))
    with pytest.raises(
        NotARunError, match="is damaged|Install a newer one|was not written by InSituRecorder"
    ):
        Run.open(copied_run.folder)
    found = answers(copied_run, tmp_path, capsys)
    assert all((code, lines) == (2, 1) for code, lines, _ in found.values()), found


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "{", "[" * 100_000, '{"a":' * 100_000, "[" * 50_000 + "]" * 50_000, "\0", "NaN",
    "\ufeff{}",
     '{"format": "tensorview-insitu run", "version": 1, "x": ' + "[" * 990 + "]" * 990 + "}"],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
def test_a_run_json_that_is_no_json_object_is_told(text, copied_run, tmp_path, capsys):
    (copied_run.folder / "run.json").write_text(text)
    found = answers(copied_run, tmp_path, capsys)
    assert all((code, lines) == (2, 1) for code, lines, _ in found.values()), found


def test_a_run_json_of_a_gigabyte_is_not_read(copied_run):
    with (copied_run.folder / "run.json").open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(NotARunError, match="has 1,073,741,824 bytes"):
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
