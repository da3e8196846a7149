"""Whatever comes after what - rows, files, merging, deaths, packing, going on - a run keeps its promise."""

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from written import block

from tensorview_insitu.run import merge
from tensorview_insitu.run import writer as writer_module
from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.identity import write_identity
from tensorview_insitu.run.pack import pack
from tensorview_insitu.run.reader import Run
from tensorview_insitu.run.verify import verify
from tensorview_insitu.run.writer import RunWriter


class ARun(RuleBasedStateMachine):
    """A run, and what must be in it: every step that was flushed, and none that was never written."""

    @initialize()
    def begin(self):
        self.patches = mock.patch.multiple(merge, FAN_IN=3)
        self.patches.start()
        self.parent = Path(tempfile.mkdtemp())
        self.folder = self.parent / "run"
        self.writer = RunWriter(self.folder)
        self.written = self.safe = 0

    def teardown(self):
        if hasattr(self, "writer"):
            if self.writer is not None:
                self.writer.finish("finished")
                assert len(Run.open(self.folder).steps()) == self.written
                assert not verify(self.folder).problems
            self.patches.stop()
            shutil.rmtree(self.parent)

    @precondition(lambda self: self.writer)
    @rule(count=st.integers(1, 5), epoch_end=st.booleans())
    def record(self, count, epoch_end):
        self.writer.write(block(self.written + 1, self.written + count), epoch_end=epoch_end)
        self.written += count

    @precondition(lambda self: self.writer)
    @rule()
    def publish(self):
        assert self.writer.flush(seconds=30)
        self.safe = self.written

    @precondition(lambda self: self.writer)
    @rule()
    def publish_a_tail(self):
        with mock.patch.multiple(writer_module, _TAIL_SECONDS=0.0):
            self.writer._tail_is_current = not self.writer._pending

    @precondition(lambda self: self.writer)
    @rule(packed=st.booleans())
    def finish(self, packed):
        self.writer.finish("finished", packed=packed)
        self.safe = self.written

    @precondition(lambda self: self.writer)
    @rule()
    def die(self):
        """As kill -9 leaves it: what the thread had not published is gone."""
        with self.writer._condition:
            self.writer._queue.clear()
            self.writer._pending.clear()
            self.writer._pending_bytes = self.writer._queued_bytes = 0
            self.writer._tail_is_current = True
        # Its thread ends, and the disk hears no more of it.
        silent = dict.fromkeys(("_publish", "_write_identity", "_beat"), lambda **_: None)
        with mock.patch.multiple(self.writer, **silent):
            self.writer.finish("finished", packed=False)
        self.writer = None
        steps = Run.open(self.folder).steps()["step"]
        assert self.safe <= len(steps) <= self.written
        self.safe = self.written = len(steps)
        # Its process is this one, which goes on: a number that no process has.
        write_identity(self.folder, {**Run.open(self.folder).identity, "pid": 2**22 + 1})

    @precondition(lambda self: self.writer is None)
    @rule()
    def resume(self):
        self.writer = RunWriter(self.folder, resume=True)
        assert self.writer.last_step == self.written

    @precondition(lambda self: self.writer is None)
    @rule()
    def pack_by_hand(self):
        pack(self.folder)

    @precondition(lambda self: self.writer)
    @rule()
    def another_begins(self):
        self.writer.resume()
        self.writer.flush(seconds=30)
        self.safe = self.written
        for options in ({}, {"overwrite": True}, {"resume": True}):
            try:
                RunWriter(self.folder, **options)
            except RunExistsError:
                continue
            raise AssertionError(f"a second writer was let in with {options}")

    @invariant()
    def holds_what_it_promised(self):
        if not hasattr(self, "folder"):
            return
        run = Run.open(self.folder)
        steps = run.steps()["step"].to_numpy()
        assert np.array_equal(steps, np.arange(1, len(steps) + 1))
        assert self.safe <= len(steps) <= self.written
        if len(steps):
            kernel = run.variable("conv", "kernel")
            assert np.array_equal(kernel.values[:, -1, -1], kernel.steps)
            assert len(kernel) <= self.written


TestARun = ARun.TestCase
TestARun.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
