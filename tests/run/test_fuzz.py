"""Changed runs, the same each time: every command and reader answers each in a line."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "scripts/fuzz_runs.py"


def test_no_changed_run_ends_or_deceives_a_command(exhaustive):
    count = 200 if exhaustive else 60
    command = [sys.executable, SCRIPT, "--seed", "1", "--cases", str(count), "--seconds", "900"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    cases, refused, findings = (int(word) for word in ended.stdout.split() if word.isdigit())
    assert (cases, findings) == (count, 0)
    assert 0.3 * count < refused < 0.9 * count, "both sides of the door are tried"
