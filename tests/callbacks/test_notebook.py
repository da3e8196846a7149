"""A training interrupted in a real notebook's kernel: its run is right, and its cell can be run again."""

import queue
import textwrap
import time
from pathlib import Path

import pytest

from tensorview_insitu.run.reader import Run

pytest.importorskip("ipykernel", reason="no notebook kernel here: install the extra `test`")
jupyter_client = pytest.importorskip(
    "jupyter_client", reason="no notebook kernel here: install the extra `test`"
)

LONGEST = 120  # seconds after which something is held to hang


class Notebook:
    """A kernel, and cells to run in it."""

    def __init__(self):
        self.manager = jupyter_client.KernelManager()
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LONGEST)

    def run(self, cell, *, interrupt_at=None):
        """What a cell prints, and the name of the error that it ends with.

        Args:
            cell: its code.
            interrupt_at: interrupt the kernel, as its button does, once this was printed.
        """
        asked = self.client.execute(textwrap.dedent(cell))
        printed, error, end = "", None, time.monotonic() + LONGEST
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                assert self.manager.is_alive(), printed
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed += content["text"]
                if interrupt_at is not None and interrupt_at in printed:
                    interrupt_at = None
                    self.manager.interrupt_kernel()
            elif message["msg_type"] == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed, error
        raise AssertionError(f"the cell does not end: {printed}")

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook():
    notebook = Notebook()
    try:
        printed, error = notebook.run(f"""
            import sys
            sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}
            import keras
            from test_whose_training import LOUD, QUIET, data, on_batches, recorder, small, steps_done, train
            class Told(keras.callbacks.Callback):
                def __init__(self, step):
                    super().__init__()
                    self.step = step
                def on_train_batch_end(self, batch, logs=None):
                    if steps_done(self.model) == self.step:
                        print("now", flush=True)
        """)
        assert error is None, error
        yield notebook
    finally:
        notebook.close()


def until(condition):
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_a_cell_that_is_interrupted_leaves_a_run_that_is_right_and_can_be_run_again(notebook, tmp_path):
    path = tmp_path / "run"
    for turn, (options, step) in enumerate([("", 3), ("overwrite=True", 40), ("overwrite=True", 101)]):
        cell = f"""
            model = small()
            train(model, [recorder({str(path)!r}, {options}), Told({step})], epochs=1_000_000)
        """
        _, error = notebook.run(cell, interrupt_at="now")
        assert error.startswith("KeyboardInterrupt"), error
        if turn != 1:  # once the next cell comes at once
            until(lambda: Run.open(path).status != "running")  # with no cell run
        printed, error = notebook.run("""
            steps = steps_done(model)
            train(model, [], LOUD)
            on_batches(model)
            print(steps)
        """)
        assert error is None, error
        steps = int(printed)
        until(lambda: Run.open(path).status != "running")
        run = Run.open(path)
        assert run.status == "interrupted" and not run.identity["missing"]
        assert list(run.steps()["step"]) == list(range(1, steps + 1)) and steps >= step
        losses = run.scalars("batch")["loss"]
        assert len(losses) == steps and (losses < 10_000).all()
        _, error = notebook.run(f"recorder({str(path)!r})")
        assert error.startswith("RunExistsError") and "already holds a run (interrupted" in error

    _, error = notebook.run(f"train(model, [recorder({str(path)!r}, resume=True)])")
    assert error is None, error
    run = Run.open(path)
    [missing] = run.identity["missing"]  # the model was trained meanwhile
    assert run.status == "finished" and "but not from the weights that it had then" in missing
    assert list(run.steps()["step"]) == list(range(1, steps + 12 + 1))


def test_the_same_recorder_in_the_next_cell_goes_on(notebook, tmp_path):
    _, error = notebook.run(
        f"""
        model, ours = small(), recorder({str(tmp_path / "run")!r})
        train(model, [Told(7), ours], epochs=1_000_000)
        """,
        interrupt_at="now",
    )
    assert error.startswith("KeyboardInterrupt"), error
    printed, error = notebook.run("""
        steps = steps_done(model)
        train(model, [], LOUD)
        train(model, [ours])
        print(steps)
    """)
    assert error is None, error
    run = Run.open(tmp_path / "run")
    assert run.status == "finished" and not run.identity["missing"]
    assert list(run.steps()["step"]) == list(range(1, int(printed) + 12 + 1))
    assert (run.scalars("batch")["loss"] < 10_000).all()
