"""Another process reads a run hundreds of times while it is written, merged and packed."""

import subprocess
import sys
import textwrap
import time

import pytest
from written import block

from tensorview_insitu.run import merge, segment
from tensorview_insitu.run import writer as writer_module
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.writer import RunWriter

READER = """
    import sys
    import numpy as np
    from tensorview_insitu import Run
    run, seen, tables = Run.open(sys.argv[1]), 0, 0
    for poll in range(int(sys.argv[2])):
        steps = run.steps()["step"].to_numpy()
        assert np.array_equal(steps, np.arange(1, len(steps) + 1)), steps
        assert len(steps) >= seen, (seen, len(steps))
        table = run.scalars("batch")
        # Each look is at one moment, and a later look at a later one.
        assert len(table) >= len(steps) and np.array_equal(table["loss"], table["step"] * 1.0)
        kernel = run.variable("conv", "kernel") if len(steps) else None
        assert kernel is None or np.array_equal(kernel.values[:, -1, -1], kernel.steps)
        seen, tables = len(steps), tables + len(table)
        assert run.status in ("running", "finished")
    print(seen)
"""


def test_another_process_never_fails_and_never_sees_less(tmp_path, monkeypatch, exhaustive):
    monkeypatch.setattr(writer_module, "_TAIL_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "_SEGMENT_SECONDS", 0.0)
    monkeypatch.setattr(merge, "FAN_IN", 4)
    writer = RunWriter(tmp_path / "run")
    command = [sys.executable, "-c", textwrap.dedent(READER), str(tmp_path / "run")]
    command.append(str(1000 if exhaustive else 150))
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    step = 0
    end = time.monotonic() + 200
    while reader.poll() is None and time.monotonic() < end:
        step += 1
        writer.write(block(step, step), epoch_end=step % 3 == 0)
        time.sleep(0.004)
        if step % 400 == 0:  # a fit ends, and another begins
            writer.finish("finished")
            writer.resume()
    writer.finish("finished")
    answer, errors = reader.communicate(timeout=60)
    assert reader.returncode == 0, errors[-2000:]
    assert int(answer) > 30


@pytest.mark.parametrize("writing", [True, False])
def test_a_file_that_goes_is_looked_for_as_long_as_the_run_changes(tmp_path, monkeypatch, writing):
    writer = RunWriter(tmp_path / "run")
    writer.write(block(1, 5))
    writer.finish("finished", packed=False)
    run = Run.open(tmp_path / "run")
    looks = []

    def gone_sixty_times(path):
        looks.append(path)
        if len(looks) > 60:
            return open_part(path)
        if writing:
            (path.parent / f"{len(looks)}.tmp").touch()
            time.sleep(0.02)  # file systems do not note every microsecond
        raise FileNotFoundError(path)

    open_part = segment.open_part
    monkeypatch.setattr(segment, "open_part", gone_sixty_times)
    if writing:
        assert len(run.steps()) == 5
    else:
        with pytest.raises(FileNotFoundError):
            run.steps()
        assert len(looks) == 20
