"""A progress bar on a terminal, silence in logs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tensorview_insitu.text.printable import printable


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while something long runs.

    Args:
        what: the work, as `"exporting"`.

    Yields:
        A function to call with what is done and the total.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(printable(what)), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
