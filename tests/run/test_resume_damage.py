"""A damaged run can be gone on with: what is damaged is set aside, said, and never deleted."""

import json
import warnings

import pytest
from fits import fit, network
from tensorview_insitu.callbacks import InSituRecorder
from written import block

from tensorview_insitu.run import writer
from tensorview_insitu.run.errors import NotARunError, RunExistsError
from tensorview_insitu.run.identity import write_identity
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.verify import verify
from tensorview_insitu.run.writer import RunWriter


def in_segments(folder):
    """A run of 40 steps in four segments, whose process died."""
    run = RunWriter(folder)
    for i in range(4):
        run.write(block(10 * i + 1, 10 * i + 10, i + 1), epoch_end=True)
        assert run.flush(30)
    return ended(run, folder)


def packed(folder):
    """A run of 40 steps in one file."""
    run = RunWriter(folder)
    run.write(block(1, 40))
    run.finish("finished")
    return folder


def with_tail(folder):
    """A run of 40 steps, of which the last ten are in the tail."""
    in_segments(folder)
    (folder / "segments/000003-000003.h5").rename(folder / "segments/tail.h5")
    identity = json.loads((folder / "run.json").read_text())
    del identity["crc32"]
    rows = {name: 30 for name in identity["rows"]}
    write_identity(folder, {**identity, "segments": 3, "rows": rows})
    return folder


def ended(run, folder):
    run.finish("interrupted", packed=False)
    return folder


def garbage(path):
    path.write_bytes(b"\0" * 100)


def cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def turned_over(path):
    """Every byte of its later half is another one."""
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + bytes(byte ^ 0x55 for byte in content[half:]))


DAMAGE = {
    "run.json is garbage": (in_segments, "run.json", garbage, 40),
    "run.json is cut": (packed, "run.json", cut, 40),
    "run.json is gone": (in_segments, "run.json", lambda path: path.unlink(), 40),
    "run.json is changed": (
        in_segments,
        "run.json",
        lambda path: path.write_text(path.read_text().replace('"interrupted"', '"uninterrupted"')),
        40,
    ),
    "run.h5 is garbage": (packed, "run.h5", garbage, 0),
    "run.h5 is cut": (packed, "run.h5", cut, 0),
    "a segment is garbage": (in_segments, "segments/000001-000001.h5", garbage, 30),
    "the first segment is cut": (in_segments, "segments/000000-000000.h5", cut, 30),
    "the last segment is turned over": (in_segments, "segments/000003-000003.h5", turned_over, 30),
    "a segment is gone": (in_segments, "segments/000001-000001.h5", lambda path: path.unlink(), 30),
    "the last segment is gone": (in_segments, "segments/000003-000003.h5", lambda path: path.unlink(), 30),
    "the tail is garbage": (with_tail, "segments/tail.h5", garbage, 30),
}


def damaged(kind, folder):
    make, name, harm, rows = DAMAGE[kind]
    make(folder)
    harm(folder / name)
    return name, rows


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_run_goes_on_with_what_is_whole(kind, tmp_path):
    folder = tmp_path / "run"
    name, rows = damaged(kind, folder)
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run = RunWriter(folder, resume=True)
    (problem, *_) = run.problems[run.old_problems :]
    assert name.rsplit("/", 1)[-1] in problem or "segment" in problem
    next_step = 31 if kind == "the tail is garbage" else 41
    assert run.last_step == next_step - 1
    run.write(block(next_step, next_step + 4, 9), epoch_end=True)
    run.finish("finished")
    back = Run.open(folder)
    steps = list(back.steps()["step"])
    assert len(steps) == rows + 5 and steps[-5:] == list(range(next_step, next_step + 5))
    assert steps == sorted(set(steps))
    assert problem in back.identity["missing"]
    if "gone" not in kind:
        kept = list((folder / "damaged").iterdir())
        assert [path.read_bytes() for path in kept] == [before[name.rsplit("/", 1)[-1]]]
        assert str(kept[0].relative_to(folder)) in problem
    assert not verify(folder).problems
    again = RunWriter(folder, resume=True)
    assert again.problems == back.identity["missing"] and again.last_step == next_step + 4


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_strict_recorder_raises_and_touches_nothing(kind, tmp_path):
    folder = tmp_path / "run"
    damaged(kind, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(NotARunError):
        RunWriter(folder, resume=True, strict=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if "run.json" in kind])
def test_a_run_without_a_run_json_is_refused_with_the_way_out_and_can_be_replaced(kind, tmp_path):
    folder = tmp_path / "run"
    damaged(kind, folder)
    with pytest.raises(RunExistsError, match="damaged run .* overwrite=True .* resume=True"):
        RunWriter(folder)
    run = RunWriter(folder, overwrite=True)
    run.write(block(1, 3))
    run.finish("finished")
    assert len(Run.open(folder).steps()) == 3 and not run.problems


def test_a_run_of_a_later_format_is_no_damaged_one(tmp_path):
    in_segments(tmp_path / "run")
    path = tmp_path / "run/run.json"
    path.write_text(path.read_text().replace('"version": ', '"version": 9'))
    for options in ({"resume": True}, {"overwrite": True}, {}):
        with pytest.raises(RunExistsError, match="holds other files"):
            RunWriter(tmp_path / "run", **options)
    assert not (tmp_path / "run/damaged").exists()


def test_a_training_over_a_damaged_run_warns_once_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_SEGMENT_SECONDS", 0.0)
    folder, model = tmp_path / "run", network()
    fit(model, [InSituRecorder(folder)], epochs=1)
    garbage(folder / "run.h5")
    with pytest.raises(NotARunError, match="run.h5"):
        fit(model, [InSituRecorder(folder, resume=True, strict=True)], epochs=1)
    with pytest.warns(RuntimeWarning, match="run.h5.* lies in damaged/run.h5 now") as caught:
        fit(model, [InSituRecorder(folder, resume=True)], epochs=1)
    assert len([w for w in caught if w.category is RuntimeWarning]) == 1
    run = Run.open(folder)
    assert list(run.steps()["step"]) == list(range(14, 27)) and run.status == "finished"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", RuntimeWarning
        )  # what is told is not told again, nor is it a failure of today
        fit(model, [InSituRecorder(folder, resume=True, strict=True)], epochs=1)
    assert list(run.steps()["step"]) == list(range(14, 40))
