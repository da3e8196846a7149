"""RunWriter: takes rows from a training, and puts them on disk from a thread of its own.

It never makes the training wait and never raises into it: what could not be written is counted in
`problems`, which also go into run.json.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tensorview_insitu.run import layout, segment
from tensorview_insitu.run.alone import alone_in
from tensorview_insitu.run.aside import is_damaged_run, new_identity_file, set_aside
from tensorview_insitu.run.errors import NotARunError, RunExistsError
from tensorview_insitu.run.identity import (
    HEARTBEAT_SECONDS,
    INTERRUPTED,
    RUNNING,
    current_status,
    new_identity,
    now,
    read_identity,
    write_identity,
)
from tensorview_insitu.run.merge import merge_small
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.publish import publish, sync
from tensorview_insitu.run.resume import state_of
from tensorview_insitu.run.rows import Block, Last
from tensorview_insitu.run.spool import Spool

_TAIL_SECONDS = 1.0
_TAIL_BYTES_PER_SECOND = 8 << 20
_SEGMENT_SECONDS = 1.0
_SEGMENT_BYTES = 32 << 20
_QUEUE_BYTES = 128 << 20
_LONGEST_RETRY_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 60.0

_writers: weakref.WeakSet[RunWriter] = weakref.WeakSet()  # of this process


class RunWriter:
    """Writes one run.

    Args:
        folder: the run's folder; made when it is not there.
        overwrite: replace an older run there.
        resume: go on with an older run there, if there is one.
        durable: fsync every file, so that it survives a power loss.
        strict: raise where a run to go on with is damaged, in place of setting what is damaged aside.

    Attributes:
        problems: what could not be written.
        old_problems: how many of them are of the time before the run was resumed.
        last_step: the last step of the run that is resumed; 0 for a new one.
        last_epoch: the last whole epoch of it.
        last_sample: the last one that was predicted.
        last_snapshots: the last one of each of its variables, by dataset.
        open: whether more may come; not after `finish`, until the training goes on.
        free_bytes: how much room the disk had at the beginning.
        array_bytes: how much was taken of arrays (what is no table).

    Raises:
        RunExistsError: there is a run in `folder` already, or another process writes it.
        OSError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        durable: bool = False,
        strict: bool = False,
    ) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.old_problems = 0
        self.last_step = self.last_epoch = self.last_sample = self.array_bytes = 0
        self.last_snapshots: dict[str, Last] = {}
        self._durable = durable
        self._dropped: Counter[str] = Counter()
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._condition = threading.Condition()  # never held while anything goes to the disk
        self._queue: deque[Block] = deque()  # handed over, not yet taken by the thread
        self._pending: list[Block] = []  # taken, not yet in a segment
        self._queued_bytes = 0
        self._pending_bytes = 0
        self._epoch_ended = False
        self.open = False
        self._thread: threading.Thread | None = None
        self._flushes_wanted = self._flushes_done = 0
        self._finishes_wanted = self._finishes_done = 0
        self._pack_wanted = self._packing = False
        self._progress = 0  # of packing
        self._next_segment = 0
        self._rows: Counter[str] = Counter()  # in segments, by dataset
        self._identity_changed = False
        self._last_tail = self._last_segment = self._last_beat = time.monotonic()
        self._tail_is_current = True
        self._retry_at = 0.0
        self._retry_seconds = 1.0
        refuse_taken(folder, overwrite=overwrite, resume=resume)
        folder.mkdir(parents=True, exist_ok=True)
        self.free_bytes = shutil.disk_usage(folder).free
        with alone_in(folder):
            claim(folder, overwrite=overwrite, resume=resume)
            goes_on = resume and any(segments_or_run(folder))
            self._identity = self._go_on(strict=strict) if goes_on else new_identity()
            self._identity |= self._counts()
            try:
                write_identity(folder, self._identity, durable=durable)
                if durable:
                    sync(folder.parent)
                _writers.add(self)
            except BaseException:  # Ctrl-C: nobody will write this run
                with contextlib.suppress(OSError):
                    write_identity(folder, {**self._identity, "status": INTERRUPTED}, durable=durable)
                raise

    def _go_on(self, *, strict: bool) -> dict[str, Any]:
        problems: list[str] = []
        lost: list[tuple[int, int]] = []
        if not strict:
            try:
                read_identity(self.folder)
            except NotARunError:
                problems += new_identity_file(self.folder)
            wrong, lost = set_aside(self.folder)
            problems += wrong
        identity = read_identity(self.folder)
        counted = identity.get("rows", {})
        if problems:
            # What is lost is known now, and counted no more.
            identity = {**identity, "lost": lost}
            identity.pop("rows", None)
            write_identity(self.folder, identity, durable=self._durable)
        new = self._go_on_with(identity, counted)
        self.problems += [problem for problem in problems if problem not in self.problems]
        return {**new, "missing": list(self.problems)}

    def _go_on_with(self, identity: dict[str, Any], counted: dict[str, int]) -> dict[str, Any]:
        state = state_of(self.folder)
        self._next_segment = state.next_segment
        # No step is recorded twice, also where its first record is lost.
        self.last_step = max(state.step, counted.get(layout.STEPS, 0))
        self.last_epoch = max(state.epoch, counted.get(layout.EPOCH_SCALARS, 0))
        self.last_snapshots, self.last_sample = state.snapshots, state.sample
        self._rows.update(state.rows)
        self._shapes.update(state.shapes)
        self.problems += identity["missing"]
        self.old_problems = len(self.problems)
        self._dropped.update(identity.get("dropped_rows", {}))
        event = {"time": now(), "after_step": self.last_step, "after_epoch": self.last_epoch}
        new = new_identity()
        kept = {key: identity[key] for key in ("run_id", "created", "missing")}
        before = {key: value for key, value in identity.items() if key not in ("ended", "error")}
        return {**before, **new, **kept, "resumed": [*identity.get("resumed", []), event]}

    @property
    def identity(self) -> dict[str, Any]:
        """What run.json says, or is about to."""
        with self._condition:
            return dict(self._identity)

    def describe(self, **facts: Any) -> None:
        """Add to run.json: the model, its layers, the status, ..."""
        with self._condition:
            self._identity.update(facts)
            self._identity_changed = True
            self._wake()

    def write(self, block: Block, *, epoch_end: bool = False) -> None:
        """Hand rows over; returns at once.

        Rows that the writer has no room for (its disk is slow or full) are dropped, arrays before
        tables, and counted.
        """
        with self._condition:
            kept = {name: rows for name, rows in block.items() if self._has_room(name, rows)}
            self._queue.append(kept)
            self.open = True
            self._queued_bytes += sum(rows.nbytes for rows in kept.values())
            self._epoch_ended |= epoch_end
            self._wake()

    def _has_room(self, name: str, rows: Any) -> bool:
        shape = self._shapes.setdefault(name, rows.values.shape[1:])
        is_table = rows.is_table
        if not is_table:
            self.array_bytes += rows.nbytes
        if not is_table and shape != rows.values.shape[1:]:
            self.note(f"{name} changed its shape from {shape}; the new rows are not recorded")
            return False
        held = self._queued_bytes + self._pending_bytes
        # What is larger than all the room there is goes in where nothing else waits.
        if held + rows.nbytes <= _QUEUE_BYTES or not held:
            return True
        # Tables have as much room of their own: arrays that wait, however large, cost no loss of any step.
        if is_table and self._table_bytes() + rows.nbytes <= _QUEUE_BYTES:
            return True
        self._drop(name, len(rows.steps))
        self.note("the disk does not keep up; some rows were dropped (see dropped_rows in run.json)")
        return False

    def _table_bytes(self) -> int:
        waiting = [*self._queue, *self._pending]
        return sum(rows.nbytes for block in waiting for rows in block.values() if rows.is_table)

    def _drop(self, name: str, count: int) -> None:
        self._dropped[name] += count
        self._identity["dropped_rows"] = dict(self._dropped)
        self._identity_changed = True

    def flush(self, seconds: float = 1.5) -> bool:
        """Wait until everything handed over is on disk; not longer than so many seconds.

        Returns:
            Whether it is.
        """
        with self._condition:
            self._flushes_wanted += 1
            wanted = self._flushes_wanted
            self._wake()
            return self._condition.wait_for(lambda: self._flushes_done >= wanted, timeout=seconds)

    def finish(self, status: str, *, packed: bool = True, seconds: float = _LONGEST_WAIT_SECONDS) -> None:
        """Write what is left, pack the run into run.h5, and note how it ended.

        The writer can go on afterwards: a later `write` continues the run.

        Args:
            status: how it ended.
            packed: whether to pack it; without, it ends sooner.
            seconds: how long to wait for a disk that does nothing; 0 leaves it to the background.
        """
        with self._condition:
            self._identity.update(status=status, ended=now())
            self._identity_changed = True
            self._finishes_wanted += 1
            self._pack_wanted, self.open = packed, False
            self._wake()
            alone = self._thread is None
        if alone:
            self._work()
        # A disk that hangs must not hang the end of a training. What is packed late is no loss.
        if seconds and not self.wait(seconds) and not self._packing:
            self.note(f"{self.folder} could not be finished: its disk took more than {seconds:.1f} s")

    def wait(self, seconds: float = _LONGEST_WAIT_SECONDS) -> bool:
        """Wait for what `finish` asked for, unless nothing happens for so long; whether it is done."""
        with self._condition:
            wanted = self._finishes_wanted
            if self._finishes_done < wanted:
                self._wake()  # Ctrl-C may have come before `finish` did
            while self._finishes_done < wanted:
                before = self._progress
                if not self._condition.wait(timeout=seconds) and self._progress == before:
                    return False
        return True

    def reserve(self) -> None:
        """Something will be written."""
        self.open = True

    def resume(self) -> None:
        """The training goes on: the run is `running` again."""
        self.reserve()
        self.describe(status=RUNNING)

    @property
    def busy(self) -> bool:
        """Whether more may come, or something is still to be written."""
        return self.open or self._finishes_done < self._finishes_wanted

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return str(self._identity["run_id"])

    def refuse_lost(self) -> None:
        """Raise where the folder holds what another recorder has written since `finish`.

        Raises:
            RunExistsError: it does.
        """
        try:
            there = read_identity(self.folder)
        except NotARunError:
            return  # gone, or damaged: it will be written anew
        mine = self._identity
        if any(there.get(key) != mine.get(key) for key in ("run_id", "pid", "resumed")):
            raise RunExistsError(
                f"{self.folder} was taken by another recorder (process {there['pid']} on {there['host']}) "
                "since this one recorded into it. Make a new recorder."
            )

    def _worth_packing(self) -> bool:
        # Many short `fit` calls on one recorder must not rewrite a large run.h5 each time.
        packed = self.folder / layout.PACKED_FILE
        parts = (self.folder / layout.SEGMENT_FOLDER).glob("*.h5")
        new = sum(p.stat().st_size for p in parts)
        old = packed.stat().st_size if packed.exists() else 0
        return new > 0 and (old < 64 << 20 or new > old)

    # ---- the thread

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="tensorview-insitu writer", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter ends: `finish` will do the work itself
                self._thread = None
        self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                seconds = self._seconds_to_wait()
                idle = not self._queue and self._finishes_wanted == self._finishes_done
                if idle and seconds != 0:
                    self._condition.wait(timeout=seconds)
                while self._queue:
                    block = self._queue.popleft()
                    self._pending.append(block)
                    size = sum(rows.nbytes for rows in block.values())
                    self._queued_bytes -= size
                    self._pending_bytes += size
                    self._tail_is_current = False
                finishes, flushes = self._finishes_wanted, self._flushes_wanted
            finishing = finishes > self._finishes_done
            hurry = flushes > self._flushes_done
            if finishing or hurry or time.monotonic() >= self._retry_at:
                try:
                    self._beat()
                    self._publish(last=finishing or hurry)
                # Nothing that goes wrong in here may end a training.
                except Exception as error:
                    self._failed(error)
                    if finishing:
                        self._save_tables()
            if hurry:
                with self._condition:
                    self._flushes_done = flushes
                    self._condition.notify_all()
            if finishing and self._finished(finishes):
                return

    def _finished(self, finishes: int) -> bool:
        """Pack, and say how it ended; whether nothing came meanwhile."""
        try:
            if self._pack_wanted and self._worth_packing():
                self._packing = True
                pack(self.folder, self._packed, durable=self._durable)
        except Exception as error:
            self.note(f"{self.folder} could not be packed into one file: {error}")
        finally:
            self._packing = False
        try:
            if self._identity_changed:
                self._write_identity()
        except Exception as error:
            self._failed(error)
        with self._condition:
            self._finishes_done = finishes
            wanted = self._flushes_wanted > self._flushes_done or self._finishes_wanted > finishes
            over = not self._queue and not wanted
            if over:
                self._thread = None
            self._condition.notify_all()
        return over

    def _packed(self, done: int, total: int) -> None:
        with self._condition:
            self._progress += 1
            self._condition.notify_all()

    def _seconds_to_wait(self) -> float:
        moment = time.monotonic()
        if self._flushes_wanted > self._flushes_done:
            return 0.0
        if self._identity_changed:
            due = moment
        elif not self._tail_is_current:
            due = self._tail_due()
        else:
            return HEARTBEAT_SECONDS
        return min(HEARTBEAT_SECONDS, max(0.0, max(due, self._retry_at) - moment))

    def _beat(self) -> None:
        # Who looks from another host sees by this that the process still runs.
        if self.open and time.monotonic() - self._last_beat >= HEARTBEAT_SECONDS:
            self._last_beat = time.monotonic()
            os.utime(self.folder / layout.RUN_FILE)

    def _tail_due(self) -> float:
        return self._last_tail + _TAIL_SECONDS + self._pending_bytes / _TAIL_BYTES_PER_SECOND

    def _publish(self, *, last: bool) -> None:
        moment = time.monotonic()
        if self._identity_changed:
            self._write_identity()
        if not self._pending:
            return
        old_enough = moment - self._last_segment >= _SEGMENT_SECONDS
        if last or self._pending_bytes >= _SEGMENT_BYTES or (self._epoch_ended and old_enough):
            self._publish_segment()
            self._merge()
        elif moment >= self._tail_due():
            tail = self.folder / layout.SEGMENT_FOLDER / layout.TAIL_FILE
            self._make_segment_folder()
            publish(tail, self._content(), durable=self._durable)
            self._last_tail = time.monotonic()
            self._tail_is_current = True
        self._retry_seconds = 1.0

    def _merge(self) -> None:
        try:
            merge_small(self.folder, self._identity["run_id"], durable=self._durable)
        except NotARunError as error:  # the rows are published; only the files stay many
            self.note(f"segments could not be merged: {error}")

    def _publish_segment(self) -> None:
        number = self._next_segment
        path = layout.segment_file(self.folder, number, number)
        self._make_segment_folder()
        publish(path, self._content(), durable=self._durable)
        with contextlib.suppress(OSError):
            (path.parent / layout.TAIL_FILE).unlink(missing_ok=True)
        self._next_segment += 1
        for block in self._pending:
            self._rows.update({name: len(rows.steps) for name, rows in block.items()})
        # After it is published: run.json never counts what is not there.
        with self._condition:
            self._identity |= self._counts()
            self._identity_changed = True
        self._pending.clear()
        self._pending_bytes = 0
        self._epoch_ended = False
        self._tail_is_current = True
        self._last_segment = self._last_tail = time.monotonic()

    def _counts(self) -> dict[str, Any]:
        return {"segments": self._next_segment, "rows": dict(self._rows)}

    def _make_segment_folder(self) -> None:
        folder = self.folder / layout.SEGMENT_FOLDER
        if not folder.is_dir():  # packing took it away
            folder.mkdir()
            if self._durable:
                sync(self.folder)

    def _save_tables(self) -> None:
        """The last attempt on a full disk: tables are small, and may have room where arrays have none."""
        for block in self._pending:
            for name, rows in block.items():
                if not rows.is_table:
                    self._drop(name, len(rows.steps))
        self._pending = [
            {name: rows for name, rows in block.items() if rows.is_table} for block in self._pending
        ]
        try:
            self._publish_segment()
        except Exception as error:
            self._failed(error)
            for block in self._pending:
                for name, rows in block.items():
                    self._drop(name, len(rows.steps))
            self._pending.clear()
            self._pending_bytes = 0

    def _content(self) -> Callable[[Spool], None]:
        number = self._next_segment
        return segment.content(self._pending, self._identity["run_id"], number, number)

    def _write_identity(self) -> None:
        # A copy of the top suffices: what is in there is replaced, never changed.
        with self._condition:
            identity, self._identity_changed = dict(self._identity), False
        try:
            write_identity(self.folder, identity, durable=self._durable)
        except BaseException:
            self._identity_changed = True
            raise

    def _failed(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, _LONGEST_RETRY_SECONDS)
        self.note(f"{self.folder} could not be written: {type(error).__name__}: {error}")

    def distrust(self, dataset: str, column: str, reason: str) -> bool:
        """Mark a column as not to be trusted, in run.json; whether it was not so marked before."""
        with self._condition:
            untrusted = self._identity.get("untrusted", {})
            doubts = untrusted.get(dataset, {})
            if column in doubts:
                return False
            # Replaced, not changed: the thread may be writing the old one.
            self._identity["untrusted"] = {**untrusted, dataset: {**doubts, column: reason}}
        self.note(f"{dataset}: {column} is not to be trusted: {reason}")
        return True

    def note(self, problem: str) -> None:
        """Remember what could not be recorded, in `problems` and in run.json."""
        with self._condition:
            if problem not in self.problems:
                self.problems.append(problem)
                self._identity["missing"] = list(self.problems)
                self._identity_changed = True


def claim(folder: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Make `folder`, which is there, the place of a new run, or of more of an old one.

    Raises:
        RunExistsError: it is taken.
        OSError: it cannot be made.
    """
    refuse_taken(folder, overwrite=overwrite, resume=resume)
    if overwrite:
        _remove_run(folder)
    goes_on = resume and any(segments_or_run(folder))
    try:
        (folder / layout.SEGMENT_FOLDER).mkdir(exist_ok=goes_on)
    except FileExistsError:
        raise RunExistsError(f"Another recorder just started a run in {folder}.") from None


def refuse_taken(folder: Path, *, overwrite: bool, resume: bool = False) -> None:
    """Raise unless a run may start, or go on, in `folder`.

    Raises:
        RunExistsError: there is a run already, a process still writes it, or the folder holds other
            files.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunExistsError(f"Expected a folder for the run. Received a file: {folder}")
    try:
        identity = read_identity(folder)
    except NotARunError as error:
        if is_damaged_run(folder):
            if overwrite or resume:
                return
            raise RunExistsError(
                f"{folder} holds a damaged run ({error}) Choose another folder, or pass overwrite=True to "
                "replace it, or resume=True to go on with what can be read of it."
            ) from None
        if any(folder.iterdir()) and not _is_torso(folder):
            raise RunExistsError(
                f"{folder} holds other files and no run. Expected a new or empty folder for the run."
            ) from None
        return
    if current_status(folder, identity) == RUNNING and not _abandoned(identity):
        raise RunExistsError(
            f"{folder} is being written by process {identity['pid']} on {identity['host']}"
            f" (started {identity['created']}). Choose another folder, or wait until it has ended."
        )
    if not overwrite and not resume:
        raise RunExistsError(
            f"{folder} already holds a run ({identity['status']}, {identity['created']}). "
            "Choose another folder, or pass overwrite=True to replace it, or resume=True to go on with it."
        )


def segments_or_run(folder: Path) -> Iterator[Path]:
    """The files by which a folder holds a run, or what is left of one."""
    files = [folder / layout.RUN_FILE, folder / layout.PACKED_FILE]
    yield from (path for path in files if path.exists())
    yield from (folder / layout.SEGMENT_FOLDER).glob("*.h5")


def _abandoned(identity: dict[str, Any]) -> bool:
    """Whether this process itself began the run and writes it no more (Ctrl-C at any moment)."""
    if identity["pid"] != os.getpid():
        return False
    return not any(writer.busy and writer.run_id == identity["run_id"] for writer in list(_writers))


def _is_torso(folder: Path) -> bool:
    # What is left of a recorder that was killed between making its folder and writing run.json.
    return [p.name for p in folder.iterdir()] == [layout.SEGMENT_FOLDER] and not any(
        (folder / layout.SEGMENT_FOLDER).iterdir()
    )


def _remove_run(folder: Path) -> None:
    segments = folder / layout.SEGMENT_FOLDER
    for path in [*segments.glob("*.h5"), folder / layout.PACKED_FILE, folder / layout.RUN_FILE]:
        path.unlink(missing_ok=True)
    if segments.is_dir():
        for leftover in segments.iterdir():
            leftover.unlink()
        segments.rmdir()
