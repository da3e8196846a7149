"""Change one operator or number of the code at a time, and count how many changes a test notices.

    pip install cosmic-ray
    python scripts/mutation.py run --mutants 60
    python scripts/mutation.py taps recorder --mutants 40 --seed 1

What survives is printed with its change: look whether a test is missing, or the change means nothing.
It works on a copy, takes minutes to hours, and is no part of the tests.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# What is changed, as it is installed; and the tests that should notice, the fastest first.
GROUPS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "taps": (
        ["callbacks/taps", "callbacks/audit.py", "callbacks/weights_audit.py", "callbacks/blocks.py"],
        [
            "tests/callbacks/test_audit.py",
            "tests/callbacks/test_batch_rows.py",
            "tests/callbacks/test_true_values.py",
            "tests/callbacks/test_quantities.py",
            "tests/callbacks/test_sampled_norms.py",
            "tests/callbacks/test_ways_of_training.py",
        ],
    ),
    "recorder": (
        ["callbacks/recorder.py", "callbacks/clock.py", "callbacks/schedule.py", "callbacks/thinning.py"],
        ["tests/callbacks"],
    ),
    "run": (
        ["run"],
        [
            "tests/run/test_rows.py",
            "tests/run/test_spool.py",
            "tests/run/test_resume_state.py",
            "tests/run/test_pack.py",
            "tests/run/test_verify.py",
            "tests/run/test_writer.py",
            "tests/run/test_segment.py",
            "tests/run/test_reader.py",
            "tests/run/test_state_machine.py",
            "tests/run/test_safety.py",
            "tests/run/test_parts.py",
            "tests/run/test_examine.py",
            "tests/run/test_resume_damage.py",
            "tests/callbacks/test_resume.py",
        ],
    ),
}
_SECONDS = 400.0


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("groups", nargs="*", default=list(GROUPS), help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--mutants", type=int, default=60, help="of each group, drawn by chance")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    for group in arguments.groups:
        with tempfile.TemporaryDirectory() as folder:
            _mutate(group, Path(folder), arguments.mutants, arguments.seed)
    return 0


def _mutate(group: str, folder: Path, most: int, seed: int) -> None:
    from cosmic_ray.work_db import use_db

    modules, tests = GROUPS[group]
    package = folder / "site" / "tensorview_insitu"
    _copy(folder, package)
    files = sorted(str(file) for module in modules for file in _python_files(package / module))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    config, session = folder / "mutation.toml", folder / "session.sqlite"
    config.write_text(
        "[cosmic-ray]\n"
        f"module-path = {files}\n"
        f"timeout = {_SECONDS}\n"
        f"test-command = {' '.join(command)!r}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
    )
    environment = os.environ | {"PYTHONPATH": str(folder / "site"), "PYTHONDONTWRITEBYTECODE": "1"}

    def cosmic_ray(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "cosmic_ray.cli", *words], cwd=folder, env=environment, check=True
        )

    cosmic_ray("init", str(config), str(session))
    chosen = _keep_some(session, most, seed)
    print(f"{group}: {chosen} mutants of {len(files)} files", flush=True)
    cosmic_ray("baseline", str(config))
    cosmic_ray("exec", str(config), str(session))
    with use_db(str(session)) as work:
        results = [result for _, result in work.completed_work_items if result.test_outcome is not None]
    survivors = [result for result in results if not result.is_killed]
    for result in survivors:
        print(result.diff.replace(str(package), ""), flush=True)
    killed = len(results) - len(survivors)
    print(
        f"{group}: {killed} of {len(results)} mutants died ({killed / max(1, len(results)):.0%})", flush=True
    )


def _copy(folder: Path, package: Path) -> None:
    """The package as it is installed, and the tests."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tensorview_insitu", package, ignore=ignored)
    for wing in ("callbacks", "paraview_states", "scripts"):
        shutil.copytree(ROOT / wing, package / wing, ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    for file in ("pyproject.toml", "setup.cfg", "README.md"):
        shutil.copy(ROOT / file, folder)


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _keep_some(session: Path, most: int, seed: int) -> int:
    """Leave some mutants in the session, drawn by chance; none of annotations, which nobody evaluates."""
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    with use_db(str(session)) as work:
        items = list(work.work_items)
        annotations: dict[Path, list[tuple[Any, Any]]] = {}
        real = []
        for item in items:
            mutation = item.mutations[0]
            file = mutation.module_path
            if file not in annotations:
                annotations[file] = list(_annotations(ast.parse(file.read_text())))
            if not any(a <= mutation.start_pos < b for a, b in annotations[file]):
                real.append(item)
        kept = {item.job_id for item in random.Random(seed).sample(real, min(most, len(real)))}
        for item in items:
            if item.job_id not in kept:
                work.set_result(item.job_id, WorkResult(WorkerOutcome.SKIPPED))
    return len(kept)


def _annotations(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            of_type = getattr(node, name, None)
            if isinstance(of_type, ast.expr):
                end = (of_type.end_lineno or 0, of_type.end_col_offset or 0)
                yield (of_type.lineno, of_type.col_offset), end


if __name__ == "__main__":
    sys.exit(main())
