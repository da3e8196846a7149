"""The state of a run on disk, as a text that changes whenever what is recorded does."""

from __future__ import annotations

import contextlib
import hashlib

from tensorview_insitu.run import layout
from tensorview_insitu.run.reader import Run


def state_of(run: Run) -> str:
    """A text that differs once anything was recorded, packed, lost or replaced; no row is read for it.

    Raises:
        NotARunError: there is no run any more.
    """
    identity = run.identity
    # A writer touches run.json as long as it lives: its time says nothing, its content does.
    facts = [identity["run_id"], str(identity["crc32"]), run.status]
    segments = run.folder / layout.SEGMENT_FOLDER
    for path in [run.folder / layout.PACKED_FILE, *sorted(segments.glob("*.h5"))]:
        with contextlib.suppress(OSError):  # merged away, or none
            about = path.stat()
            facts.append(f"{path.name} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
