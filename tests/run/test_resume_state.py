"""Where a run stopped: its last step and epoch, and how much of everything it holds."""

import numpy as np
from written import block

from tensorview_insitu.run import segment
from tensorview_insitu.run.identity import read_identity
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.resume import State, state_of
from tensorview_insitu.run.rows import Last, Rows
from tensorview_insitu.run.writer import RunWriter

SHAPES = {"layers/conv/kernel": (3, 2), "scalars/batch": (1,), "steps": (4,)}


def epoch_end(step, epoch):
    table = np.array([[0.5, epoch - 1, 0.25], [0.5, epoch, 0.25]])
    return {
        "scalars/epoch": Rows(np.array([step - 1, step]), table, {"columns": ["loss", "epoch", "val_loss"]})
    }


def written(folder, *blocks, status="finished"):
    writer = RunWriter(folder)
    for rows in blocks:
        writer.write(rows)
        writer.flush(seconds=30)
    writer.finish(status, packed=False)
    return folder


def test_of_a_run_without_metrics_the_steps_tell_the_epochs_and_none_that_broke_off(tmp_path):
    last = block(6, 7)
    state = state_of(written(tmp_path / "run", block(1, 5), last))
    kernel = Last.of(last["layers/conv/kernel"])
    assert state == State(2, 7, 1, 0, dict.fromkeys(SHAPES, 7), SHAPES, {"layers/conv/kernel": kernel})
    broken_off = written(tmp_path / "broken", block(1, 5), status="interrupted")
    assert (state_of(broken_off).step, state_of(broken_off).epoch) == (5, 0)
    assert state_of(written(tmp_path / "empty")) == State(0, 0, 0, 0, {}, {}, {})


def test_it_stopped_after_the_last_whole_epoch_and_the_last_step_of_any(tmp_path):
    folder = written(tmp_path / "run", block(1, 5) | epoch_end(5, 1), epoch_end(9, 2), block(10, 12))
    state = state_of(folder)
    assert (state.next_segment, state.step, state.epoch) == (3, 12, 2)
    assert state.rows == dict.fromkeys(SHAPES, 8) | {"scalars/epoch": 4}
    assert state.shapes == SHAPES | {"scalars/epoch": (3,)}
    early = state_of(written(tmp_path / "early", block(1, 5), epoch_end(9, 1)))
    assert (early.step, early.epoch) == (9, 1)
    ends = epoch_end(9, 1)["scalars/epoch"]
    no_rows = {"scalars/epoch": Rows(ends.steps[:0], ends.values[:0], ends.attributes)}
    assert state_of(written(tmp_path / "none", block(1, 5), no_rows)).epoch == 0


def test_what_a_killed_recorder_left_is_taken_over_or_cleared_away(tmp_path):
    folder = written(tmp_path / "run", block(1, 5))
    rows = segment.content([block(6, 8)], read_identity(folder)["run_id"], 1, 1)
    publish(folder / "segments/tail.h5", rows)
    for leftover in (folder / ".run.h5.12.tmp", folder / "segments/.tail.h5.12.tmp"):
        leftover.write_bytes(b"half of it")
    state = state_of(folder)
    assert (state.next_segment, state.step, state.rows["steps"]) == (2, 8, 8)
    assert sorted(path.name for path in folder.rglob("*")) == [
        "000000-000000.h5", "000001-000001.h5", "run.json", "segments",
    ]  # fmt: skip
    assert state_of(folder) == state
