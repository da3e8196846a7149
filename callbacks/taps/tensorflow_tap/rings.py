"""Ring buffers that the compiled step writes and the host reads now and then.

They belong to nobody: neither model nor optimizer knows of them. Every replica has its own, so that
none waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from ...schedule import Schedule
from ..columns import Column

CAPACITY = 256
_TAGS = 1 << 22  # a step's number modulo this is exact in float32
_ARRAY_RING_BYTES = 32 << 20


class Cell:
    """One plain variable on every replica."""

    def __init__(self, initial: Any, strategy: Any, dtype: Any = None) -> None:
        if strategy.num_replicas_in_sync == 1:
            self.each = [tf.Variable(initial, dtype=dtype, trainable=False)]
            return
        with strategy.scope():
            # A plain variable per replica; written through `here`, as the whole allows no scatter.
            self._whole = tf.Variable(
                initial,
                dtype=dtype,
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.NONE,
            )
        self.each = list(strategy.experimental_local_results(self._whole))

    @property
    def here(self) -> Any:
        """The variable of the replica that runs this."""
        if len(self.each) == 1:
            return self.each[0]
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return self.each[int(tf.get_static_value(replica))]

    def numpy(self) -> np.ndarray:
        """The value of the first replica."""
        return np.asarray(self.each[0].numpy())


class Held:
    """Values of the running step, NaN until they are written.

    A variable, because what runs inside a tf.cond or a tf.function of its own gives no tensor to the step.
    """

    def __init__(self, width: int, strategy: Any) -> None:
        self._nan = np.full(width, np.nan, np.float32)
        self._vector = Cell(self._nan, strategy)

    def write(self, vector: Any) -> None:
        """Take this step's values."""
        self._vector.here.assign(vector)

    def read(self) -> Any:
        """This step's values so far."""
        return self._vector.here.read_value()

    def write_part(self, start: int, values: Any) -> None:
        """Take this step's values from place `start` on."""
        self._vector.here[start : start + values.shape[0]].assign(values)

    def take(self) -> Any:
        """This step's values, which are then gone: a skipped step is to find NaN."""
        values = self._vector.here.read_value()
        with tf.control_dependencies([values]):
            self._vector.here.assign(self._nan)
        return values


class RowRing:
    """The last `capacity` rows of steps that were traced with the same columns.

    Args:
        columns: the metrics and learning rates; `width` numbers each.
        norms: the names of the variables whose gradient norms come after them; the same on all replicas.
        capacity: the most rows.
        strategy: TensorFlow's.
    """

    def __init__(self, columns: Sequence[Column], norms: Sequence[str], capacity: int, strategy: Any) -> None:
        self.columns = tuple(columns)
        self.norms = tuple(norms)
        self._capacity = capacity
        width = 1 + sum(column.width for column in columns) + len(norms)
        self._rows = Cell(np.full((capacity, width), np.nan, np.float32), strategy)

    def write(self, step: Any, parts: Sequence[Any], norms: Any) -> Any:
        """Put the row of a step, counted from 0, into the ring; something to wait for."""
        row = [tf.cast(step % _TAGS, tf.float32)[None]]
        row += [tf.stack(list(parts))] if parts else []
        row += [norms] if norms is not None else []
        return self._rows.here.scatter_nd_update([[step % self._capacity]], [tf.concat(row, 0)])

    def clear(self) -> None:
        """Hold no row."""
        for cell in self._rows.each:
            cell.assign(np.full(cell.shape, np.nan, np.float32))

    def rows(self, start: int, end: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Which of these steps it has, and the row of each on every replica; of others anything."""
        if start == end:
            return np.zeros(0, bool), [np.zeros((0, self._rows.each[0].shape[1]), np.float32)]
        replicas = [rows_between(cell.numpy(), start, end) for cell in self._rows.each]
        present = replicas[0][:, 0] == (np.arange(start, end) % _TAGS).astype(np.float32)
        return present, [rows[:, 1:] for rows in replicas]


class StepRings:
    """One row for every call of the train step, by the columns that its trace knew.

    Another trace (for a last batch of another size, say) may know other columns: it has a ring of its own,
    and each row says which step it is of.

    Args:
        steps: the counter of steps; this lets it go on.
        at_once: how many calls may come before the host can look.
        strategy: TensorFlow's.
    """

    def __init__(self, steps: Cell, at_once: int, strategy: Any) -> None:
        self.capacity = max(CAPACITY, 2 * at_once)
        self._strategy = strategy
        self._rings: dict[tuple[tuple[Column, ...], tuple[str, ...]], RowRing] = {}
        self._steps = steps
        self.steps_read = int(steps.numpy())

    def ring(self, columns: Sequence[Column], norms: Sequence[str]) -> RowRing:
        """The ring for these columns; made where it is asked for first."""
        layout = (tuple(columns), tuple(norms))
        if layout not in self._rings:
            with tf.init_scope():
                self._rings[layout] = RowRing(columns, norms, self.capacity, self._strategy)
        return self._rings[layout]

    def write(self, ring: RowRing, parts: Sequence[Any], norms: Any, others: Sequence[Any]) -> None:
        """Put this step's row into its ring, after `others` were done."""
        written = [*others, ring.write(self._steps.here.read_value(), parts, norms)]
        # A step that fails half-way (its data pipeline, say) must not count.
        with tf.control_dependencies(written):
            self._steps.here.assign_add(1)

    def skip(self) -> None:
        """Forget the steps that came since the last time: the next one is counted as the first of them."""
        for cell in self._steps.each:
            cell.assign(self.steps_read)
        for ring in self._rings.values():
            ring.clear()

    def drain(self) -> DrainedRows:
        """The rows of every new step."""
        steps = int(self._steps.numpy())
        start = max(self.steps_read, steps - self.capacity)
        lost, self.steps_read = start - self.steps_read, steps
        count = steps - start
        columns: dict[Column, np.ndarray] = {}
        norms: dict[str, np.ndarray] = {}
        for ring in self._rings.values():
            present, replicas = ring.rows(start, steps)
            at = 0
            for column in ring.columns:
                shares = [rows[:, at : at + column.width].astype(np.float64) for rows in replicas]
                at += column.width
                parts = columns.setdefault(column, np.full((count, column.width), np.nan))
                parts[present] = column.of_replicas(shares)[present]
            for name in ring.norms:
                values = norms.setdefault(name, np.full(count, np.nan, np.float32))
                values[present] = replicas[0][present, at]
                at += 1
        return DrainedRows(count, columns, norms, lost)


@dataclass(frozen=True)
class DrainedRows:
    """What came out of the rings.

    Args:
        count: how many steps.
        columns: the parts of each column, `(count, width)`; NaN where a step had none.
        norms: by variable, `(count,)`.
        lost: steps that were overwritten before anyone looked.
    """

    count: int
    columns: dict[Column, np.ndarray]
    norms: dict[str, np.ndarray]
    lost: int


class ArrayRing:
    """The last rows of an array that is taken at some steps.

    Args:
        schedule: at which.
        width: of a row.
        strategy: TensorFlow's.
        thinnable: whether `stride` may be changed.
        capacity: the most rows.
    """

    def __init__(
        self,
        schedule: Schedule,
        width: int,
        strategy: Any,
        *,
        thinnable: bool = False,
        capacity: int = CAPACITY,
    ) -> None:
        self._schedule = schedule
        self.lost = 0
        self.rows_kept = int(np.clip(_ARRAY_RING_BYTES // (4 * max(1, width)), 1, capacity))
        self._rows = Cell(np.zeros((self.rows_kept, width), np.float32), strategy)
        self._at = Cell(np.zeros(self.rows_kept, np.int64), strategy)
        self._taken = Cell(0, strategy, tf.int64)
        self._stride = tf.Variable(1, dtype=tf.int64, trainable=False) if thinnable else None
        self._read = 0

    @property
    def capacity(self) -> int:
        """How many steps it holds at least."""
        return self.rows_kept * self._schedule.shortest

    def thin(self, stride: int) -> None:
        """Take only steps divisible by `stride` from now on."""
        if self._stride is not None:
            self._stride.assign(stride)

    def due(self, step: Any) -> Any:
        """Whether that step is one of them: a tensor, or True for all."""
        schedule = self._schedule
        if schedule.every == 1 and self._stride is None:
            return True
        ways = [step <= schedule.first] if schedule.first else []
        ways += [step % schedule.every == 0] if schedule.every else []
        ways += [tf.reduce_any(step == tf.constant(schedule.at, tf.int64))] if schedule.at else []
        due = tf.reduce_any(tf.stack(ways))
        return due if self._stride is None else tf.logical_and(due, step % self._stride == 0)

    def write(self, step: Any, row: Callable[[], Any]) -> Any:
        """Put the row into the ring when it is due; something to wait for."""

        def take() -> Any:
            slot = self._taken.here.read_value() % self.rows_kept
            written = [
                self._rows.here.scatter_nd_update([[slot]], [row()]),
                self._at.here.scatter_nd_update([[slot]], [step]),
            ]
            with tf.control_dependencies(written):
                self._taken.here.assign_add(1)
            return tf.constant(0)

        due = self.due(step)
        return take() if due is True else tf.cond(due, take, lambda: tf.constant(0))

    def write_once(self, step: Any, row: Callable[[], Any]) -> None:
        """Put the first row into the ring, and never another."""
        tf.cond(self._taken.here.read_value() == 0, lambda: self.write(step, row), lambda: tf.constant(0))

    def skip(self) -> None:
        """Forget the rows that came since the last time."""
        self._read = int(self._taken.numpy())

    def drain(self) -> tuple[np.ndarray, np.ndarray]:
        """The steps and rows that came since the last time."""
        taken = int(self._taken.numpy())
        start = max(self._read, taken - self.rows_kept)
        self.lost, self._read = start - self._read, taken
        if start == taken:
            return np.zeros(0, np.int64), np.zeros((0, self._rows.each[0].shape[1]), np.float32)
        return rows_between(self._at.numpy(), start, taken), rows_between(self._rows.numpy(), start, taken)


def rows_between(ring: np.ndarray, start: int, end: int) -> np.ndarray:
    """Rows `start` to `end` of those that went through a ring; without a copy where they lie in a piece."""
    first, last = start % len(ring), (end - 1) % len(ring)
    if start < end and first <= last:
        return ring[first : last + 1]
    return np.asarray(ring[np.arange(start, end) % len(ring)])
