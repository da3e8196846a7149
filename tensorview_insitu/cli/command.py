"""What every command's parser has: a summary, an example, and the function that runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, example: str
) -> argparse.ArgumentParser:
    """Add the command `name` to the command line.

    Args:
        commands: what `add_subparsers` returned.
        name: the command.
        run: takes the parsed options and returns the exit code.
        summary: what it does, in a line.
        example: a call of it.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_allow_code(parser: argparse.ArgumentParser) -> None:
    """Add the option of the commands that load states."""
    parser.add_argument(
        "--allow-code",
        action="store_true",
        help="load an edited state also when it holds programmable filters, other proxies than ParaView's "
        "usual ones, or files from elsewhere: it may do anything to this machine",
    )
