"""Ring buffers that the compiled step writes and the host reads now and then.

They belong to nobody: neither model nor optimizer knows of them. Every replica has its own, so that
none waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from ...schedule import Schedule

CAPACITY = 256
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
    """Values of the running step, NaN until the optimizer is called.

    A variable, because LossScaleOptimizer calls `apply` inside a tf.cond: no tensor leaves that.
    """

    def __init__(self, width: int, strategy: Any) -> None:
        self._nan = np.full(width, np.nan, np.float32)
        self._vector = Cell(self._nan, strategy)

    @property
    def nothing(self) -> Any:
        """The values of a step at which none are taken."""
        return tf.constant(self._nan)

    def write(self, vector: Any) -> None:
        """Take this step's values."""
        self._vector.here.assign(vector)

    def take(self) -> Any:
        """This step's values, which are then gone: a skipped step is to find NaN."""
        values = self._vector.here.read_value()
        with tf.control_dependencies([values]):
            self._vector.here.assign(self._nan)
        return values


class RowRing:
    """The last `capacity` rows, one for every call.

    Args:
        sums: names of values that are a sum over a batch, kept with their count: the mean over all
            replicas is then exact.
        norms: names of values that are the same on all replicas.
        steps: the counter of steps; this ring lets it go on.
        at_once: how many calls may come before the host can look.
        strategy: TensorFlow's.
    """

    def __init__(
        self, sums: Sequence[str], norms: Sequence[str], steps: Cell, at_once: int, strategy: Any
    ) -> None:
        self.metric_names = tuple(sums)
        self.variable_names = tuple(norms)
        self.capacity = max(CAPACITY, 2 * at_once)
        width = 2 * len(sums) + len(norms)
        self._rows = Cell(np.full((self.capacity, width), np.nan, np.float32), strategy)
        self._steps = steps
        self.steps_read = int(steps.numpy())

    def write(self, sums: dict[str, tuple[Any, Any]], norms: Any, others: Sequence[Any]) -> None:
        """Put this step's row into the ring, after `others` were done."""
        nan = tf.constant(np.nan, tf.float32)
        # By name: a later trace may know more metrics, or fewer, than the first.
        pairs = [sums.get(name, (nan, nan)) for name in self.metric_names]
        parts = [tf.stack([value for pair in pairs for value in pair])] if pairs else []
        if norms is not None:
            parts.append(norms)
        step = self._steps.here.read_value()
        written = list(others)
        if parts:
            where = [[step % self.capacity]]
            written.append(self._rows.here.scatter_nd_update(where, [tf.concat(parts, 0)]))
        # A step that fails half-way (its data pipeline, say) must not count.
        with tf.control_dependencies(written):
            self._steps.here.assign_add(1)

    def drain(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Metrics and norms of every new step, and how many before them were lost."""
        steps = int(self._steps.numpy())
        start = max(self.steps_read, steps - self.capacity)
        lost, self.steps_read = start - self.steps_read, steps
        replicas = [rows_between(v.numpy(), start, steps) for v in self._rows.each]
        split = 2 * len(self.metric_names)
        totals = sum(rows[:, 0:split:2] for rows in replicas)
        counts = sum(rows[:, 1:split:2] for rows in replicas)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(totals / counts), replicas[0][:, split:], lost


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
