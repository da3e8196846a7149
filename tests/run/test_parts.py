"""A file that does not belong to a run, or is missing, is found by reading, verify, pack and merge alike."""

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written import block

from tensorview_insitu.run import layout, merge, segment
from tensorview_insitu.run.errors import NotARunError
from tensorview_insitu.run.identity import read_identity, write_identity
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.parts import open_parts
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.resume import state_of
from tensorview_insitu.run.verify import verify
from tensorview_insitu.run.writer import RunWriter


def written(folder, segments=3, *, packed=False, tail=False):
    """A run of five steps a segment, as it lies there when its training is over."""
    writer = RunWriter(folder)
    for i in range(segments):
        writer.write(block(5 * i + 1, 5 * i + 5))
        writer.flush(seconds=30)
    writer.finish("finished", packed=packed)
    if tail:
        add_tail(folder)
    return folder


def add_tail(folder):
    """What a recorder that was killed had not yet in a segment."""
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        number = max((part.last + 1 for part in found.parts), default=0)
        step = sum(file["steps"].shape[0] for file in found.in_order())
    (folder / "segments").mkdir(exist_ok=True)
    rows = segment.content([block(step + 1, step + 2)], found.identity["run_id"], number, number)
    publish(folder / "segments/tail.h5", rows)


def everything(folder, **options):
    """All steps, after everything else was read too."""
    run = Run.open(folder, **options)
    run.datasets(), run.scalars("batch")
    if run.variables():
        run.variable("conv", "kernel")
    return run.steps()["step"].tolist()


def named(folder, first, last=None):
    return layout.segment_file(folder, first, first if last is None else last)


def foreign(folder, other):
    shutil.copy(named(other, 1), named(folder, 1))


def one_of_another_run_too_many(folder, other):
    shutil.copy(named(other, 1), named(folder, 3))


def a_foreign_tail(folder, other):
    add_tail(other)
    shutil.copy(other / "segments/tail.h5", folder / "segments/tail.h5")


def a_foreign_packed_file(folder, other):
    shutil.copy(named(other, 0), folder / "run.h5")


def copied(folder, other):
    shutil.copy(named(folder, 1), named(folder, 3))


def copied_by_a_file_manager(folder, other):
    shutil.copy(named(folder, 1), folder / "segments/000001-000001 (copy).h5")


def copied_with_a_zero_more(folder, other):
    shutil.copy(named(folder, 1), folder / "segments/0000001-0000001.h5")


def renamed(folder, other):
    named(folder, 1).rename(named(folder, 7))


def swapped(folder, other):
    contents = [named(folder, i).read_bytes() for i in (0, 2)]
    for i, content in zip((2, 0), contents, strict=True):
        named(folder, i).write_bytes(content)


def the_first_is_missing(folder, other):
    named(folder, 0).unlink()


def one_is_missing(folder, other):
    named(folder, 1).unlink()


def the_last_is_missing(folder, other):
    named(folder, 2).unlink()


def all_are_missing(folder, other):
    shutil.rmtree(folder / "segments")


def one_before_the_tail_is_missing(folder, other):
    add_tail(folder)
    named(folder, 2).unlink()


def a_tail_in_the_place_of_a_segment(folder, other):
    named(folder, 1).rename(folder / "segments/tail.h5")


def overlapping(folder, other):
    with contextlib.ExitStack() as stack:
        run_id = open_parts(folder, stack).identity["run_id"]
    for first, last in ((0, 1), (1, 2)):
        rows = block(5 * first + 1, 5 * last + 5)
        publish(named(folder, first, last), segment.content([rows], run_id, first, last))


def fewer_rows(folder, other):
    run_id = read_identity(folder)["run_id"]
    publish(named(folder, 2), segment.content([block(11, 14)], run_id, 2, 2))


def more_rows(folder, other):
    run_id = read_identity(folder)["run_id"]
    publish(named(folder, 2), segment.content([block(11, 16)], run_id, 2, 2))


def a_dataset_is_missing(folder, other):
    run_id = read_identity(folder)["run_id"]
    rows = block(11, 15)
    del rows["scalars/batch"]
    publish(named(folder, 2), segment.content([rows], run_id, 2, 2))


def the_same_rows_twice(folder, other):
    run_id = read_identity(folder)["run_id"]
    publish(named(folder, 2), segment.content([block(6, 10)], run_id, 2, 2))


def truncated(folder, other):
    named(folder, 1).write_bytes(named(folder, 1).read_bytes()[:-100])


def empty(folder, other):
    named(folder, 1).write_bytes(b"")


FAULTS = {
    foreign: "belongs to another run",
    one_of_another_run_too_many: "belongs to another run",
    a_foreign_tail: "belongs to another run",
    a_foreign_packed_file: "belongs to another run",
    copied: "000003-000003.h5 holds segment 1, and not those of its name: it was renamed or copied",
    copied_by_a_file_manager: "is no segment. Expected a name like 000000-000000.h5",
    copied_with_a_zero_more: "is no segment. Expected a name like 000000-000000.h5",
    renamed: "000007-000007.h5 holds segment 1, and not those of its name: it was renamed or copied",
    swapped: "000000-000000.h5 holds segment 2, and not those of its name: it was renamed or copied",
    the_first_is_missing: "lacks segment 0",
    one_is_missing: "lacks segment 1",
    the_last_is_missing: "lacks segment 2",
    all_are_missing: "lacks segments 0 to 2",
    one_before_the_tail_is_missing: "lacks segment 2",
    a_tail_in_the_place_of_a_segment: "holds segment 1, and is older than others",
    overlapping: "000001-000002.h5: some of its segments are in another file too",
    fewer_rows: "run.json counts 15 rows of /",
    more_rows: "run.json counts 15 rows of /",
    a_dataset_is_missing: "run.json counts 15 rows of /scalars/batch, but there are 10",
    truncated: "000001-000001.h5",
    empty: "000001-000001.h5",
}


def test_a_run_without_a_fault_has_none(tmp_path):
    for number, options in enumerate(({}, {"tail": True}, {"packed": True}, {"packed": True, "tail": True})):
        folder = written(tmp_path / str(number), **options)
        before = sorted(folder.rglob("*"))
        assert everything(folder) == list(range(1, 18 if "tail" in options else 16))
        assert verify(folder).problems == [] and verify(folder).files == len(list(folder.rglob("*.h5")))
        assert sorted(folder.rglob("*")) == before
        pack(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["run.h5", "run.json"]
        assert everything(folder) == list(range(1, 18 if "tail" in options else 16))
        assert verify(folder).problems == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_whoever_looks_and_nobody_changes_anything(fault, tmp_path):
    folder, other = written(tmp_path / "run"), written(tmp_path / "other")
    fault(folder, other)
    message = FAULTS[fault].replace("(", r"\(").replace(")", r"\)")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(NotARunError, match=message):
        everything(folder)
    assert any(FAULTS[fault] in problem for problem in verify(folder).problems)
    for do in (pack, state_of):
        with pytest.raises(NotARunError, match=message):
            do(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    run = Run.open(folder, skip_damaged=True)
    steps = everything(folder, skip_damaged=True)
    assert steps == sorted(set(steps)) and set(steps) <= set(range(1, 18))
    run.datasets()
    assert any(FAULTS[fault].split(" of /")[0] in problem for problem in run.damaged.values())


MERGED = (foreign, copied, swapped, one_is_missing, overlapping, truncated, empty, the_same_rows_twice)


@pytest.mark.parametrize("fault", [*MERGED, one_of_another_run_too_many, renamed])
def test_what_is_wrong_with_a_source_is_not_merged_away(fault, tmp_path, monkeypatch):
    count = 3 if fault in (copied, one_of_another_run_too_many, overlapping) else 4
    folder, other = written(tmp_path / "run", count), written(tmp_path / "other", count)
    fault(folder, other)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(merge, "FAN_IN", 2 if fault is overlapping else 3)
    with pytest.raises(NotARunError):
        merge.merge_small(folder, read_identity(folder)["run_id"])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_last_one_that_is_missing_is_found_by_merging_too(tmp_path, monkeypatch):
    folder = written(tmp_path / "run", 4)
    named(folder, 3).unlink()
    monkeypatch.setattr(merge, "FAN_IN", 3)
    with pytest.raises(NotARunError, match="lacks segment 3"):
        merge.merge_small(folder, read_identity(folder)["run_id"])


def test_damage_before_the_sources_does_not_keep_them_from_being_merged_and_stays(tmp_path, monkeypatch):
    folder, other = written(tmp_path / "run", 5), written(tmp_path / "other", 5)
    named(folder, 0).unlink()
    foreign(folder, other)
    monkeypatch.setattr(merge, "FAN_IN", 3)
    merged = merge.merge_small(folder, read_identity(folder)["run_id"])
    assert (merged.first, merged.last) == (2, 4) and merged.path == named(folder, 2, 4)
    assert [problem.split("/")[-1] for problem in verify(folder).problems] == [
        "000001-000001.h5 belongs to another run",
        "run lacks segment 0",
    ]


def test_segments_are_merged_only_when_there_are_enough_alike_and_small(tmp_path, monkeypatch):
    folder = written(tmp_path / "run", 5)
    run_id = read_identity(folder)["run_id"]
    size = named(folder, 0).stat().st_size
    monkeypatch.setattr(merge, "FAN_IN", 6)
    assert merge.merge_small(folder, run_id) is None
    monkeypatch.setattr(merge, "FAN_IN", 2)
    monkeypatch.setattr(merge, "_LARGEST_BYTES", 2 * size - 1)
    assert merge.merge_small(folder, run_id) is None
    monkeypatch.setattr(merge, "_LARGEST_BYTES", 2 * size)
    merged = merge.merge_small(folder, run_id)
    assert (merged.path, merged.first, merged.last) == (named(folder, 3, 4), 3, 4)
    assert merge.merge_small(folder, run_id) is None  # they are not of one width
    assert sorted(path.name for path in (folder / "segments").iterdir()) == [
        *(f"{i:06d}-{i:06d}.h5" for i in range(3)),
        "000003-000004.h5",
    ]
    assert verify(folder).problems == [] and everything(folder) == list(range(1, 26))


@pytest.mark.parametrize("what", ["values", "steps", "columns", "name"])
def test_a_merged_file_that_does_not_read_back_goes_and_its_sources_stay(tmp_path, monkeypatch, what):
    folder = written(tmp_path / "run", 3)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def otherwise(path):
        found = dict(segment.read_all(path))
        rows = found.pop("scalars/batch")
        if what == "values":
            rows.values[0] += 1
        elif what == "steps":
            rows.steps[0] += 1
        elif what == "columns":
            rows.attributes["columns"] = ["gain"]
        return found if what == "name" else {**found, "scalars/batch": rows}

    monkeypatch.setattr(merge, "FAN_IN", 3)
    monkeypatch.setattr(merge, "segment", type("Reading", (), {**vars(segment), "read_all": otherwise}))
    with pytest.raises(OSError, match="000000-000002.h5 does not read back as it was written"):
        merge.merge_small(folder, read_identity(folder)["run_id"])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_same_rows_under_another_number_are_found(tmp_path):
    folder = written(tmp_path / "run")
    the_same_rows_twice(folder, None)
    assert len(verify(folder).problems) == 3
    assert "/steps of " in verify(folder).problems[-1]
    assert all("its steps fall, or are there twice" in problem for problem in verify(folder).problems)
    for look in (pack, everything):
        with pytest.raises(NotARunError, match="its steps fall, or are there twice"):
            look(folder)
    assert everything(folder, skip_damaged=True) == list(range(1, 11))


def test_a_run_from_before_segments_were_counted_opens_as_it_did(tmp_path):
    folder = written(tmp_path / "run")
    old = {key: value for key, value in read_identity(folder).items() if key not in ("segments", "rows")}
    write_identity(folder, old)
    assert everything(folder) == list(range(1, 16)) and verify(folder).problems == []
    named(folder, 2).unlink()  # nobody can know
    assert everything(folder) == list(range(1, 11)) and verify(folder).problems == []
    named(folder, 0).unlink()
    with pytest.raises(NotARunError, match="lacks segment 0"):
        everything(folder)
    writer_counts = written(tmp_path / "again")
    write_identity(writer_counts, {**old, "run_id": read_identity(writer_counts)["run_id"]})
    writer = RunWriter(writer_counts, resume=True)
    writer.write(block(16, 17))
    writer.finish("finished", packed=False)
    identity = read_identity(writer_counts)
    assert identity["segments"] == 4 and identity["rows"]["steps"] == 17


def test_run_json_counts_segments_and_rows_of_every_dataset_but_not_of_the_tail(tmp_path):
    folder = written(tmp_path / "run", packed=True)
    rows = {"steps": 15, "scalars/batch": 15, "layers/conv/kernel": 15}
    assert read_identity(folder)["segments"] == 3 and read_identity(folder)["rows"] == rows
    add_tail(folder)
    assert everything(folder)[-1] == 17 and verify(folder).problems == []
    writer = RunWriter(folder, resume=True)
    assert writer.last_step == 17
    assert read_identity(folder)["segments"] == 4 and read_identity(folder)["rows"]["steps"] == 17
    writer.finish("finished")
    assert everything(folder)[-1] == 17 and verify(folder).problems == []


def test_a_segment_more_than_run_json_counts_is_what_a_crash_leaves(tmp_path):
    folder = written(tmp_path / "run")
    run_id = read_identity(folder)["run_id"]
    publish(named(folder, 3), segment.content([block(16, 20)], run_id, 3, 3))
    assert everything(folder) == list(range(1, 21)) and verify(folder).problems == []
    pack(folder)
    assert everything(folder) == list(range(1, 21)) and verify(folder).problems == []
    assert read_identity(folder)["segments"] == 3
    (folder / "run.h5").unlink()
    with pytest.raises(NotARunError, match="lacks segments 0 to 2"):
        everything(folder)


def test_what_could_not_be_kept_is_not_missing_again(tmp_path):
    folder = written(tmp_path / "run", 5)
    for number in (1, 2):
        named(folder, number).unlink()
    identity = read_identity(folder)
    rows = dict.fromkeys(identity["rows"], 15)
    for lost in ([[1, 2]], [[2, 2], [1, 1]]):
        write_identity(folder, {**identity, "rows": rows, "lost": lost})
        assert everything(folder) == [*range(1, 6), *range(16, 26)] and verify(folder).problems == []
    write_identity(folder, {**identity, "rows": rows, "lost": [[1, 1]]})
    with pytest.raises(NotARunError, match="lacks segment 2"):
        everything(folder)


def test_files_that_a_merge_or_a_packing_left_behind_are_passed_over_and_go_with_the_next_packing(tmp_path):
    folder = written(tmp_path / "run")
    kept = {path: path.read_bytes() for path in (folder / "segments").iterdir()}
    pack(folder)
    (folder / "segments").mkdir()
    for path, content in kept.items():
        path.write_bytes(content)
    assert everything(folder) == list(range(1, 16))
    assert verify(folder).problems == [] and verify(folder).files == 4
    add_tail(folder)
    pack(folder)
    assert not (folder / "segments").exists() and everything(folder) == list(range(1, 18))


def test_hidden_files_and_what_is_no_hdf5_are_none_of_the_runs(tmp_path):
    folder = written(tmp_path / "run")
    for name in ("._000000-000000.h5", ".tail.h5.12.tmp", "notes.txt"):
        (folder / "segments" / name).write_bytes(b"no")
    assert everything(folder) == list(range(1, 16)) and verify(folder).problems == []


def test_a_damaged_packed_file_is_told_once_and_its_segments_are_not_missing_too(tmp_path):
    folder = written(tmp_path / "run", packed=True)
    (folder / "run.h5").write_bytes(b"no")
    (problem,) = verify(folder).problems
    assert "run.h5" in problem


def test_a_run_that_another_takes_the_place_of_is_looked_at_again(tmp_path, monkeypatch):
    folder, other = written(tmp_path / "run"), written(tmp_path / "other", 2)
    before = [read_identity(folder), read_identity(other)]
    shutil.rmtree(folder / "segments")
    shutil.copytree(other / "segments", folder / "segments")
    write_identity(folder, before[1])
    from tensorview_insitu.run import parts

    answers = iter([before[0], before[1], before[1], before[1]])
    monkeypatch.setattr(parts, "read_identity", lambda path: next(answers, before[1]))
    assert Run.open(folder).steps()["step"].tolist() == list(range(1, 11))


def test_a_file_that_goes_while_it_is_looked_for_matters_unless_another_stands_for_it(tmp_path, monkeypatch):
    folder = written(tmp_path / "run", 4)
    run_id = read_identity(folder)["run_id"]
    publish(named(folder, 1, 2), segment.content([block(6, 15)], run_id, 1, 2))
    gone, real = [], segment.open_part

    def open_part(path):
        if path in gone:
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(segment, "open_part", open_part)
    for path, covered in ((0, False), (1, True), (2, True), (3, False)):
        gone[:] = [named(folder, path)]
        with contextlib.ExitStack() as stack:
            if covered:
                found = open_parts(folder, stack)
                assert [(part.first, part.last) for part in found.parts] == [(0, 0), (1, 2), (3, 3)]
                assert len(found.covered) == 1 and not found.problems and not found.lacking()
            else:
                with pytest.raises(FileNotFoundError, match="it went while the run was looked at"):
                    open_parts(folder, stack)
    gone.clear()
    add_tail(folder)
    for path in (folder / "segments/tail.h5", named(folder, 1, 2)):
        gone[:] = [path, named(folder, 2)]
        with contextlib.ExitStack() as stack, pytest.raises(FileNotFoundError):
            open_parts(folder, stack)


def test_a_file_that_says_nonsense_of_its_segments_is_told(tmp_path):
    for number, (first, last) in enumerate(((-1, 1), (2, 1), ("one", 1), ([1, 2], 1))):
        folder = written(tmp_path / str(number))
        with h5py.File(named(folder, 1), "a") as file:
            file.attrs["first"], file.attrs["last"] = first, last
        with pytest.raises(NotARunError, match="000001-000001.h5"):
            everything(folder)
        assert len(verify(folder).problems) == 1


def test_a_changed_shape_in_a_resumed_run_is_left_out_and_said(tmp_path):
    folder = written(tmp_path / "run")
    writer = RunWriter(folder, resume=True)
    rows = block(16, 20)
    wide = np.zeros((5, 4, 4), np.float32)
    rows["layers/conv/kernel"] = replace(rows["layers/conv/kernel"], values=wide)
    writer.write(rows)
    writer.finish("finished")
    assert everything(folder) == list(range(1, 21))
    assert len(Run.open(folder).variable("conv", "kernel")) == 15
    assert "layers/conv/kernel changed its shape from (3, 2)" in read_identity(folder)["missing"][0]


# ---- whatever happened to a run before, and whatever happens to one of its files


def grown(folder: Path, deeds) -> None:
    """A run that went through all of this."""
    writer, step = RunWriter(folder), 0
    for deed, count in deeds:
        if deed == "publish":
            writer.write(block(step + 1, step + count))
            writer.flush(seconds=30)
            step += count
        elif deed == "fit ends":
            writer.finish("finished")
        elif deed == "resume":
            writer.finish("interrupted", packed=False)
            writer = RunWriter(folder, resume=True)
            assert writer.last_step == step
        elif deed == "tail":
            writer.finish("finished", packed=False)
            add_tail(folder)
            step += 2
            writer = RunWriter(folder, resume=True)
            assert writer.last_step == step
    writer.finish("finished", packed=False)
    if deeds[-1][0] == "tail":
        add_tail(folder)
        step += 2
    assert everything(folder) == list(range(1, step + 1))
    assert json.loads((folder / "run.json").read_text())["missing"] == []


def break_one(folder: Path, other: Path, fault: str, draw) -> Path | None:
    """Do it to one file; the file that bears it, or None where it cannot be done to any."""
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
    parts = [part for part in found.parts if fault in ("truncated", "bit flipped") or not part.is_tail]
    if not parts:
        return None
    part = draw(st.sampled_from(parts))
    path = part.path
    free = max(part.last for part in found.parts) + draw(st.integers(1, 3))
    to = named(folder, free, free + part.last - part.first)
    (folder / "segments").mkdir(exist_ok=True)
    if fault == "foreign":
        path.write_bytes((other / path.relative_to(folder)).read_bytes())
    elif fault == "copied":
        path = shutil.copy(path, to)
    elif fault == "renamed":
        path.rename(to)
    elif fault == "removed":
        path.unlink()
    elif fault == "swapped":
        if len(parts) < 2:
            return None
        mate = draw(st.sampled_from([each.path for each in parts if each != part]))
        one, two = path.read_bytes(), mate.read_bytes()
        path.write_bytes(two), mate.write_bytes(one)
    elif fault == "truncated":
        content = path.read_bytes()
        path.write_bytes(content[: draw(st.integers(0, len(content) - 1))])
    else:
        with h5py.File(path) as file:
            name = draw(st.sampled_from(segment.dataset_names(file)))
            chunk = file[name].id.get_chunk_info(0)
        content = bytearray(path.read_bytes())
        content[chunk.byte_offset + draw(st.integers(0, chunk.size - 1))] ^= 1 << draw(st.integers(0, 7))
        path.write_bytes(content)
    return path


DEED = st.sampled_from(["publish", "publish", "publish", "fit ends", "resume", "tail"])
DEEDS = st.lists(st.tuples(DEED, st.integers(1, 5)), min_size=1, max_size=10)
FAULT = st.sampled_from(["foreign", "copied", "renamed", "removed", "swapped", "truncated", "bit flipped"])


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    deeds=st.lists(st.tuples(DEEDS, st.integers(1, 5)), min_size=1, max_size=12), fault=FAULT, data=st.data()
)
def test_whatever_a_run_went_through_one_fault_is_always_found_and_none_never(
    deeds, fault, data, tmp_path_factory, monkeypatch
):
    parent = tmp_path_factory.mktemp("grown")
    monkeypatch.setattr(merge, "FAN_IN", 3)
    for name in ("run", "other"):
        grown(parent / name, deeds)
    folder = parent / "run"
    run_id = read_identity(folder)["run_id"]
    assert verify(folder).problems == []
    whole = shutil.copytree(folder, parent / "whole")
    for do in (lambda: merge.merge_small(whole, run_id), lambda: pack(whole)):
        do()
        assert everything(whole) == everything(folder) and verify(whole).problems == []

    path = break_one(folder, parent / "other", fault, data.draw)
    if path is not None:
        assert verify(folder).problems, fault
        with pytest.raises(NotARunError):
            everything(folder)
        packed = shutil.copytree(folder, parent / "packed")
        if path.name == "run.h5" and fault == "bit flipped" and [p.name for p in packed.glob("*.h5")]:
            with contextlib.suppress(NotARunError):  # there may be nothing to pack
                pack(packed)
        else:
            with pytest.raises(NotARunError):
                pack(packed)
        with contextlib.suppress(NotARunError):  # it may not be among those that are merged
            monkeypatch.setattr(merge, "FAN_IN", 2)
            merge.merge_small(folder, run_id)
        for each in (packed, folder):
            assert verify(each).problems, f"{fault}: laundered"
            with pytest.raises(NotARunError):
                everything(each)
    shutil.rmtree(parent)
