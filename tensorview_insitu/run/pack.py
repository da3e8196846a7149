"""Pack a run: all its segments into one plain HDF5 file, run.h5."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.order import StepOrder
from tensorview_insitu.run.parts import open_parts
from tensorview_insitu.run.publish import publish
from tensorview_insitu.run.rows import Rows, check_shapes, concatenate
from tensorview_insitu.run.spool import Spool

_PIECE_BYTES = 32 << 20


def pack(
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    durable: bool = False,
) -> Path:
    """Write everything that the run in `folder` holds into its run.h5, then remove the segments.

    Args:
        folder: the run; nobody may be writing it.
        progress: called with the number of datasets done and their total.
        durable: also wait until the disk has it (fsync), before the segments go.

    Returns:
        The path of run.h5.

    Raises:
        NotARunError: `folder` is no run, or something is wrong with it; it is then as it was.
        OSError: too little free space, or a full disk; the run is then as it was.
    """
    with contextlib.ExitStack() as stack:
        found = open_parts(folder, stack)
        found.refuse()
    parts, target = found.parts, folder / layout.PACKED_FILE
    if not parts or [part.path for part in parts] == [target]:
        return target
    size = sum(part.path.stat().st_size for part in parts)
    free = shutil.disk_usage(folder).free
    if free < size * 1.1 + (1 << 20):
        raise OSError(
            f"Packing {folder} takes {size / 1e6:.0f} MB, but {free / 1e6:.0f} MB are free. The run is "
            "readable as it is; make room and use `tensorview-insitu pack`."
        )

    def write(spool: Spool) -> None:
        with contextlib.ExitStack() as stack:
            sources = [stack.enter_context(segment.open_part(part.path)) for part in parts]
            file = stack.enter_context(segment.new_file(spool))
            segment.mark(file, found.identity["run_id"], parts[0].first, parts[-1].last)
            _fill(file, sources, spool, found.identity.get("untrusted", {}), progress)

    publish(target, write, durable=durable)
    _remove([part.path for part in (*parts, *found.covered) if part.path != target])
    return target


def _fill(
    file: h5py.File,
    sources: list[h5py.File],
    spool: Spool,
    untrusted: Mapping[str, Mapping[str, str]],
    progress: Callable[[int, int], None],
) -> None:
    held = [segment.dataset_names(source) for source in sources]
    names = list(dict.fromkeys(name for some in held for name in some))
    steps = StepOrder()
    for done, name in enumerate(names):
        having = [s for s, some in zip(sources, held, strict=True) if name in some]
        for source in having:
            steps.check(source, name, segment.steps_of(source, name))
        about = {k: value for source in having for k, value in segment.attributes(source, name).items()}
        if name in untrusted:  # so that it is told where only this file is looked at
            about["untrusted"] = json.dumps(untrusted[name])
        if "columns" in about:  # tables are small, and join by column
            rows = concatenate([segment.read(source, name) for source in having])
            segment.put(
                file, name, replace(rows, attributes={**about, "columns": rows.attributes["columns"]})
            )
        else:
            _copy(file, name, having, about, spool)
        spool.check()
        progress(done + 1, len(names))


def _copy(
    file: h5py.File, name: str, sources: list[h5py.File], attributes: Mapping[str, Any], spool: Spool
) -> None:
    check_shapes(source[name].shape for source in sources)
    steps = np.concatenate([segment.steps_of(source, name) for source in sources])
    first = segment.read(sources[0], name, slice(0, 0))  # no row: HDF5 would keep its chunk in memory
    # A budget may have halved the later ones to float16.
    widest = np.result_type(*(source[name].dtype for source in sources))
    like = Rows(steps, first.values.astype(widest), attributes)
    row_bytes = math.prod(like.values.shape[1:]) * widest.itemsize
    count = max(1, _PIECE_BYTES // max(1, row_bytes))
    pieces = (
        segment.values(source, name, slice(at, at + count))
        for source in sources
        for at in range(0, source[name].shape[0], count)
    )
    segment.put_parts(file, name, like, pieces, spool)


def _remove(paths: list[Path]) -> None:
    # What cannot be removed is harmless: readers pass over what run.h5 holds.
    with contextlib.suppress(OSError):
        for path in paths:
            path.unlink(missing_ok=True)
        paths[0].parent.rmdir()
