"""`info RUN`: what a run holds."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import stat
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorview_insitu.cli.command import add_command
from tensorview_insitu.cli.say import say, say_lines
from tensorview_insitu.text.listed import listed
from tensorview_insitu.text.printable import printable


def add_to(commands: Any) -> None:
    """Add this command."""
    parser = add_command(
        commands,
        "info",
        run,
        "Tell what a run holds: its status, its model, what was recorded, what is missing, and what is "
        "damaged (then with exit code 1).",
        "tensorview-insitu info runs/cxr",
    )
    parser.add_argument("path", metavar="RUN", help="the folder of a run")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """Print it."""
    facts = gather(options.path)
    if options.json:
        say_lines(json.dumps(_in_json(facts), indent=1, allow_nan=False))
    else:
        _print(facts)
    return 1 if facts["damaged"] else 0


def gather(path: str) -> dict[str, Any]:
    """Everything that `info` tells."""
    from tensorview_insitu.run import layout
    from tensorview_insitu.run.errors import NotARunError
    from tensorview_insitu.run.reader import Run

    opened = Run.open(path, skip_damaged=True)
    shapes = opened.datasets()
    epochs = opened.scalars("epoch")
    opened.steps()  # so that damage to what all else hangs on is met
    if opened.damaged and not shapes:
        raise NotARunError(next(iter(opened.damaged.values())))
    last = epochs.iloc[-1].to_dict() if len(epochs) else {}
    sizes = list(_sizes(opened.folder))
    return {
        **opened.identity,
        "path": str(opened.folder),
        "status": opened.status,
        "steps": shapes.get(layout.STEPS, (0,))[0],
        "epochs": len(epochs),
        "last_epoch": last,
        "diverged": _diverged(epochs),
        "bytes": sum(sizes),
        "files": len(sizes),
        "damaged": list(opened.damaged.values()),
        "datasets": {name: list(shape) for name, shape in shapes.items()},
    }


def _in_json(value: Any) -> Any:
    """The same; what JSON has no number for is null (NaN), or a text (`Infinity`, `-Infinity`)."""
    if isinstance(value, dict):
        return {key: _in_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _diverged(epochs: Any) -> list[str]:
    """Since when the loss is not finite, where it is not in the end."""
    values = epochs["loss"].tolist() if "loss" in epochs else []
    if not values or math.isfinite(values[-1]):
        return []
    last_good = max((i for i, value in enumerate(values) if math.isfinite(value)), default=-1)
    since = int(epochs["epoch"].iloc[last_good + 1])
    return [f"loss is {values[-1]:g} in the end, and not finite since epoch {since}"]


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*.h5"):
        # While a run is written, one that is listed may be gone.
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and not path.name.startswith("."):
                yield status.st_size


def _print(facts: dict[str, Any]) -> None:
    planned = facts.get("planned_epochs")
    say(f"{facts['path']}: {facts['status']}")
    if "error" in facts:
        say(f"  ended with  {facts['error']}")
    say(f"  created     {facts['created']} on {facts['host']} (process {facts['pid']})")
    say(f"  run id      {facts['run_id']}")
    if "model" in facts:
        say(f"  model       {facts['model']} on {facts['backend']}, {len(facts['layers'])} layers")
    say(
        f"  trained     {facts['steps']} steps, {facts['epochs']}"
        + (f" of {planned}" * bool(planned))
        + " epochs"
    )
    told = [f"{k} {v:.4g}" for k, v in facts["last_epoch"].items() if k not in ("step", "epoch")]
    if told:
        say(f"  last epoch  {', '.join(told)}")
    for line in facts["diverged"]:
        say(f"  diverged    {line}")
    say(f"  on disk     {facts['bytes'] / 1e6:.1f} MB in {facts['files']} file(s)")
    say("  recorded")
    for name, shape in facts["datasets"].items():
        say(f"    /{name:40} {' x '.join(map(str, shape))}")
    doubts = [
        f"{dataset}: {column}: {reason}"
        for dataset, columns in facts.get("untrusted", {}).items()
        for column, reason in columns.items()
    ]
    _say_each("not trusted", doubts)
    # A doubt is among what is missing too, in other words.
    named = [f"{d}: {c} is not to be trusted: " for d, cs in facts.get("untrusted", {}).items() for c in cs]
    _say_each("missing", [line for line in facts["missing"] if not line.startswith(tuple(named))])
    _say_each("left out", _left_out(facts.get("left_out", {})))
    _say_each("thinned", facts.get("thinned", []))
    for event in facts.get("resumed", []):
        say(f"  resumed     after step {event['after_step']} ({event['time']})")
    _say_each("damaged", facts["damaged"])
    if facts["damaged"]:
        say("  `tensorview-insitu verify` reads everything and names all that is damaged.")


def _left_out(reasons: dict[str, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        by_reason.setdefault(reason, []).append(path)
    lines = []
    for reason, paths in by_reason.items():
        lines.append(f"{listed(paths)}: {reason}")
    return lines


def _say_each(what: str, items: list[str]) -> None:
    """Each item on its own lines, as wide as the terminal; in a file or a pipe, each on one."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for item in items:
        lines = [printable(item)]
        if width > 40:
            lines = textwrap.wrap(lines[0], width - 14, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            say(f"  {what if not number else '':<11} {line}")
