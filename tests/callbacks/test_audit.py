"""What the recorder knows twice must agree; where it does not, the run says so, and why."""

import keras
import numpy as np
import pytest
from fits import digits, fit, network
from tensorview_insitu.callbacks import InSituRecorder, Kernels, Metrics, UpdateNorms
from tensorview_insitu.callbacks.audit import Audit
from tensorview_insitu.callbacks.taps.columns import Column

from tensorview_insitu.run.reader import Run

MEAN = Column("loss", "mean", 2)


def audited(column, epochs):
    """An audit that was given these epochs' parts, the last not yet compared."""
    audit = Audit()
    audit.begin_fit()
    for parts in epochs:
        audit.begin_epoch(None)
        audit.add(column, np.array(parts, np.float64))
    return audit


@pytest.mark.parametrize(
    "parts, reported",
    [
        ([[8.0, 4], [1.0, 1]], 9 / 5),
        ([[8.0, 4], [np.nan, np.nan]], 2.0),  # a step without it
        ([[np.nan, 4], [1.0, 1]], np.nan),
        ([[np.inf, 4], [1.0, 1]], np.inf),
        ([[0.0, 4]], 0.0),
        ([[-3.0, 4], [3.0, 4]], 1e-9),  # what rounding leaves of numbers that cancel
        ([[1e30, 1], [1.0, 1]], 5e29),
    ],
)
def test_the_mean_of_all_samples_is_what_keras_reports(parts, reported):
    assert audited(MEAN, [parts]).compare({"loss": reported}, 1) == []


@pytest.mark.parametrize("reported", [1.8001, 0.0, np.nan, np.inf, -1.8])
def test_another_number_is_a_doubt_about_the_batches(reported):
    (doubt,) = audited(MEAN, [[[8.0, 4], [1.0, 2]], [[8.0, 4], [1.0, 1]]]).compare({"loss": reported}, 2)
    assert (doubt.dataset, doubt.column) == ("scalars/batch", "loss")
    assert "epoch 2" in doubt.reason and "1.8" in doubt.reason


def test_rounding_of_long_epochs_is_no_doubt_and_half_precision_has_its_own():
    rng = np.random.default_rng(0)
    losses = rng.uniform(0, 1, 20_000).astype(np.float32)
    total = np.float32(0)
    for loss in losses:
        total += loss
    parts = np.column_stack([losses, np.ones(len(losses))])
    assert audited(MEAN, [parts]).compare({"loss": float(total / np.float32(len(losses)))}, 1) == []
    half = Column("loss", "mean", 2, epsilon=float(np.finfo(np.float16).eps))
    assert audited(half, [[[0.5, 1], [0.25, 1]]]).compare({"loss": 0.3752}, 1) == []
    assert audited(MEAN, [[[0.5, 1], [0.25, 1]]]).compare({"loss": 0.3752}, 1) != []


def test_a_result_of_its_own_is_asked_of_the_whole_epoch():
    root = Column("rmse", "result", 3, lambda state: float(np.sqrt(state[0] / state[1])))
    audit = audited(root, [[[2.0, 8.0, 2], [1.0, 4.0, 4]]])
    assert audit.compare({"rmse": np.sqrt(2.0)}, 1) == []
    assert len(audit.compare({"rmse": 1.5}, 1)) == 1


def test_nothing_is_said_of_an_epoch_of_which_steps_were_lost():
    audit = audited(MEAN, [[[8.0, 4]]])
    audit.steps(1, lost=3)
    assert audit.compare({"loss": 7.0}, 1) == []


@pytest.mark.parametrize(
    "begun, rows, updates, sentences",
    [
        ([1] * 5, 5, 5, 0),
        ([1] * 5, 4, 5, 2),  # a step that was not seen
        ([1] * 5, 5, 6, 1),  # an update that no step made
        ([4] * 4, 13, 13, 0),  # the last execution had one batch
        ([4] * 4, 12, 12, 1),
        ([4] * 4, 17, 17, 1),
        ([], 0, 0, 0),
    ],
)
def test_steps_are_held_against_batches_and_updates(begun, rows, updates, sentences):
    audit = Audit()
    audit.begin_epoch(100)
    for count in begun:
        audit.begin_batches(count)
    audit.steps(rows, lost=0)
    assert len(audit.compare_steps(100 + updates, 1)) == sentences
    assert len(audit.compare_steps(None, 1)) == int(sentences and begun != [1] * 5 or rows == 4)


class Meddles(keras.callbacks.Callback):
    """Tells a metric of the model something that no step knows of."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.metrics[0].update_state(7.0)


def test_a_report_that_the_rows_do_not_add_up_to_is_marked_in_the_run_and_stays_marked(tmp_path):
    with pytest.warns(RuntimeWarning, match="loss is not to be trusted"):
        fit(network(), [InSituRecorder(tmp_path / "run"), Meddles()])
    run = Run.open(tmp_path / "run")
    assert set(run.untrusted("scalars/batch")) == {"loss"} and run.untrusted("scalars/epoch") == {}
    assert [m for m in run.identity["missing"] if "loss is not to be trusted" in m]
    assert run.status == "finished" and len(run.scalars("batch")) == 26
    fit(network(), [InSituRecorder(tmp_path / "run", resume=True)], epochs=1)
    assert set(Run.open(tmp_path / "run").untrusted("scalars/batch")) == {"loss"}


class SetsWeights(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.model.set_weights([w + 0.5 for w in self.model.get_weights()])


@pytest.mark.parametrize("first", [True, False], ids=["before the snapshot", "after it"])
def test_weights_that_something_else_sets_are_said(first, tmp_path):
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Kernels(), UpdateNorms("batch")])
    callbacks = [SetsWeights(), recorder] if first else [recorder, SetsWeights()]
    with pytest.warns(RuntimeWarning, match="something else"):
        fit(network(), callbacks)
    doubts = Run.open(tmp_path / "run").untrusted("layers/conv1/kernel")
    assert "kernel" in doubts
    assert ("moved by" in doubts["kernel"]) == first


def test_an_ordinary_training_raises_no_doubt(tmp_path):
    recorder = InSituRecorder(tmp_path / "run", [Metrics(), Kernels("batch"), UpdateNorms("batch")])
    fit(network(optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.1)), [recorder], epochs=3)
    run = Run.open(tmp_path / "run")
    assert run.identity["missing"] == [] and "untrusted" not in run.identity


class SwapsTheFunction(keras.callbacks.Callback):
    """What some callbacks do: a train function of their own in the middle of a fit."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.train_function = None
            step = type(self.model).train_step

            def function(iterator):
                return step(self.model, next(iterator))

            self.model.train_function = function


def test_batches_that_another_train_function_takes_are_said_to_be_missing(tmp_path):
    x, y = digits()
    model = network()
    model.fit(
        x[:64], y[:64], epochs=2, verbose=0, callbacks=[InSituRecorder(tmp_path / "run"), SwapsTheFunction()]
    )
    missing = Run.open(tmp_path / "run").identity["missing"]
    assert any("something else than the model's train_function trains it" in m for m in missing)
