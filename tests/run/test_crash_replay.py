"""A run, as it lies on disk after each single call that its writer made, opens and holds what was written."""

import contextlib
import os
import random
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest
from syscalls import Call, after_power_loss, record, replay, strace_works

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.parts import open_parts
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.rows import join
from tensorview_insitu.run.verify import verify

HERE = Path(__file__).parent
_CREATING = ("create", "write", "rename", "unlink", "mkdir", "rmdir")

BEGINNING = f"""
import os, sys, time
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
from pathlib import Path
import numpy as np
from tensorview_insitu.run import writer as w
from tensorview_insitu.run.rows import Rows
from tensorview_insitu.run.writer import RunWriter
from written import block
w._TAIL_SECONDS = w._SEGMENT_SECONDS = 0.0

def write(writer, first, last, epoch_every):
    for i in range(first, last + 1):
        rows = block(i, i)
        if i % 100 == 0:  # so large that it goes to disk while it is written
            values = np.random.default_rng(i).random((1, 300, 512))
            rows["layers/large/kernel"] = Rows(np.array([i]), values, rows["layers/conv/kernel"].attributes)
        writer.write(rows, epoch_end=i % epoch_every == 0)
        end = time.monotonic() + 1
        while (writer._queue or not writer._tail_is_current) and time.monotonic() < end:
            time.sleep(0.0005)
"""

WORKLOADS = {
    "a long run, merged and packed": """
        writer = RunWriter(FOLDER, durable=DURABLE)
        write(writer, 1, COUNT, 3)
        writer.finish("finished")
    """,
    "packed, gone on with, died, resumed, packed": """
        writer = RunWriter(FOLDER, durable=DURABLE)
        write(writer, 1, COUNT // 3, 4)
        writer.finish("finished")
        writer.resume()
        write(writer, COUNT // 3 + 1, COUNT // 2, 4)
        assert writer.flush(60)
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        writer.describe(pid=2 ** 22 + 1)  # as if this process had died here
        assert writer.flush(60)
        writer = RunWriter(FOLDER, resume=True, durable=DURABLE)
        assert writer.last_step == COUNT // 2
        write(writer, COUNT // 2 + 1, COUNT, 4)
        writer.finish("finished")
    """,
    "a real training in two fits": """
        from fits import fit, network
        from tensorview_insitu.callbacks import InSituRecorder, Kernels, Metrics
        import tensorview_insitu.callbacks.recorder as recorder_module
        recorder_module._DRAIN_SECONDS = 0.0
        recorder = InSituRecorder(FOLDER, [Metrics(), Kernels("batch", ["conv1"])])
        model = network()
        fit(model, [recorder], epochs=10, validation_data=None)
        fit(model, [recorder], epochs=5, validation_data=None)
    """,
}


def needs_strace():
    if not strace_works():
        if os.environ.get("CI"):
            pytest.fail("strace is missing, or not allowed here")
        pytest.skip("strace is missing, or not allowed here")


def calls_of(workload, count, tmp_path, *, durable=False):
    folder = tmp_path / "parent" / "run"
    folder.parent.mkdir()
    values = f"FOLDER, COUNT, DURABLE = Path({str(folder)!r}), {count}, {durable}\n"
    return record(BEGINNING + values + textwrap.dedent(WORKLOADS[workload]), folder, tmp_path / "log"), folder


def everything(folder, read=None):
    """All that the run in `folder` holds, by dataset; `read` has some files, and gets the rest."""
    Run.open(folder)
    read = {} if read is None else read
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        found.refuse()  # what verify would find, but for the bytes
        paths = [part.path for part in found.parts]
    read.update({path: segment.read_all(path) for path in paths if path not in read})
    return dict(join([read[path] for path in paths]))


def is_beginning_of(held, whole):
    """Whether every dataset is, bit for bit, the beginning of what it became."""
    return all(
        np.array_equal(rows.values, whole[name].values[: len(rows.steps)], equal_nan=True)
        and np.array_equal(rows.steps, whole[name].steps[: len(rows.steps)])
        for name, rows in held.items()
    )


@pytest.fixture(scope="module")
def points():
    """How many were looked at, by workload."""
    return {}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_after_every_call_the_run_opens_with_all_that_was_published(workload, tmp_path, points, exhaustive):
    needs_strace()
    steps = (1000, 400, 0) if exhaustive else (240, 120, 0)
    count = dict(zip(WORKLOADS, steps, strict=True))[workload]
    calls, folder = calls_of(workload, count, tmp_path)
    whole = everything(folder)
    rebuilt = tmp_path / "rebuilt"
    seen, began, read = 0, False, {}
    for call in replay([Call("mkdir", "."), *calls[1:]], rebuilt):
        began |= call.to == layout.RUN_FILE
        if not began:
            continue
        for touched in (call.path, call.to):
            read.pop(rebuilt / touched, None)
        held = everything(rebuilt, read)
        length = len(held[layout.STEPS].steps) if layout.STEPS in held else 0
        assert length >= seen, f"{call} took {seen - length} rows away"
        assert is_beginning_of(held, whole), call
        seen = length
        points[workload] = points.get(workload, 0) + 1
        if points[workload] % 100 == 0:
            assert not verify(rebuilt).problems, call
    assert seen == len(whole[layout.STEPS].steps) > 0
    assert filecmp_folders(rebuilt, folder)


def filecmp_folders(one, other):
    """Whether the replay ended where the program did: that it is a replay at all."""
    names = [sorted(str(p.relative_to(f)) for p in f.rglob("*")) for f in (one, other)]
    files = [n for n in names[0] if (one / n).is_file()]
    return names[0] == names[1] and all((one / n).read_bytes() == (other / n).read_bytes() for n in files)


def test_that_were_thousands_of_points(points, exhaustive):
    needs_strace()
    assert len(points) == 3 and sum(points.values()) >= (5000 if exhaustive else 1500), points


def test_after_a_power_loss_all_that_was_synced_is_there(tmp_path, exhaustive):
    needs_strace()
    calls, folder = calls_of("packed, gone on with, died, resumed, packed", 60, tmp_path, durable=True)
    calls[0] = Call("mkdir", ".")
    whole = everything(folder)
    chance = random.Random(0)
    began = next(i for i, c in enumerate(calls) if c.to == layout.RUN_FILE)
    looked = 0
    ends = range(began + 3, len(calls) + 1)
    for end in ends if exhaustive else [*ends[::4], ends[-1]]:
        durable = rows_after(calls[:end], [True] * end, tmp_path / "least", whole)
        for drop in ([False] * end, [chance.random() < 0.5 for _ in range(end)]):
            assert rows_after(calls[:end], drop, tmp_path / "some", whole) >= durable
            looked += 1
    assert durable == len(whole[layout.STEPS].steps) and looked > (300 if exhaustive else 75)


def test_without_fsync_a_power_loss_may_take_a_file(tmp_path):
    """That the model can find what it is to find."""
    needs_strace()
    calls, folder = calls_of("packed, gone on with, died, resumed, packed", 12, tmp_path)
    calls[0] = Call("mkdir", ".")
    end = max(i for i, c in enumerate(calls) if c.to.endswith("run.h5")) + 1
    drop = [call.name != "rename" for call in calls[:end]]
    with pytest.raises((OSError, ValueError)):
        rows_after(calls[:end], drop, tmp_path / "some", everything(folder))


def rows_after(calls, drop, folder, whole):
    """The number of steps in the run that a power loss left."""
    shutil.rmtree(folder, ignore_errors=True)
    after_power_loss(calls, folder, drop)
    held = everything(folder)
    assert is_beginning_of(held, whole)
    return len(held[layout.STEPS].steps) if layout.STEPS in held else 0
