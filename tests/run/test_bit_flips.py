"""A flipped bit anywhere in a run is told, or harmless; it never gives wrong data, and never a crash."""

import json
import subprocess
import sys
from pathlib import Path

from written import block

from tensorview_insitu.run.writer import RunWriter

PROGRAM = Path(__file__).parent / "flip_bits.py"
PROCESSES = 2


def test_of_thousands_of_flipped_bits_none_gives_wrong_data(tmp_path, exhaustive):
    flips = 10_000 if exhaustive else 2_000
    writer = RunWriter(tmp_path / "run")
    rows = block(1, 30)
    rows['layers/a <&"> layer/bias'] = rows["layers/conv/kernel"]
    writer.write(rows)
    writer.finish("finished")
    children = [
        subprocess.Popen(
            [
                sys.executable,
                PROGRAM,
                tmp_path / "run",
                tmp_path / f"scratch {i}",
                str(flips // PROCESSES),
                str(i),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(PROCESSES)
    ]
    told = 0
    for child in children:
        answer, _ = child.communicate(timeout=400)
        assert child.returncode == 0, f"ended with {child.returncode}"  # a signal is negative
        counts = json.loads(answer)
        assert not counts["wrong"] and not counts["other"], counts
        told += counts["told"]
        assert counts["told"] + counts["right"] == flips // PROCESSES
    assert told > 0.9 * flips
