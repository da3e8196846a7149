"""`tensorview-insitu COMMAND`: find the command, and tell mistakes in one line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

import tensorview_insitu
from tensorview_insitu.cli import (
    compare,
    demo,
    explain,
    export,
    info,
    live,
    open_state,
    pack,
    plugin,
    render,
    verify,
)
from tensorview_insitu.cli.say import say

_COMMANDS = (demo, info, export, open_state, render, live, compare, explain, plugin, pack, verify)
_BROKEN_PIPE = 128 + 13  # what a shell says of a program that a closed pipe has ended
# argparse takes "-1" for a value, but "-1,1" for an option.
_OPTION = re.compile(r"--[a-z-]+")
_NEGATIVE = re.compile(r"-[0-9.]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 when something failed that was asked for rightly; 2 for a mistake of the caller; 130 and 141
        where Ctrl-C or a closed pipe ended it.
    """
    options = _parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
    try:
        return int(options.run(options))
    except BrokenPipeError:
        # Who read it has read enough. Python would say at its end that it could not print the rest.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (ValueError, KeyError, FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        return _told(error, 2)
    except (OSError, ImportError, RuntimeError) as error:
        return _told(error, 1)
    except KeyboardInterrupt:
        say("interrupted", file=sys.stderr)
        return 130


def _joined(arguments: Sequence[str]) -> list[str]:
    """The same arguments; a value that begins with a minus stands with its option, as `--pixels=-1,1`."""
    joined: list[str] = []
    for one in arguments:
        if joined and _OPTION.fullmatch(joined[-1]) and _NEGATIVE.match(one):
            joined[-1] += f"={one}"
        else:
            joined.append(one)
    return joined


def _told(error: Exception, code: int) -> int:
    if os.environ.get("TENSORVIEW_INSITU_DEBUG"):
        raise error
    say(f"tensorview-insitu: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tensorview-insitu",
        description="Record what happens inside a Keras training, and look at it in ParaView.",
        epilog="TENSORVIEW_INSITU_DEBUG=1 shows where an error came from.",
    )
    parser.add_argument("--version", action="version", version=tensorview_insitu.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser
