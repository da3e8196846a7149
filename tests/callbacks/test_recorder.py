"""How the recorder behaves: choices, mistakes, faults, endings."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from fits import fit, network
from tensorview_insitu.callbacks import Biases, GradientNorms, InSituRecorder, Kernels, Metrics, recorder

from tensorview_insitu.run import writer
from tensorview_insitu.run.errors import RunExistsError
from tensorview_insitu.run.reader import Run


def test_only_what_is_listed_is_recorded(tmp_path):
    fit(network(), [InSituRecorder(tmp_path / "run", [Kernels(layers=["conv2"])])])
    run = Run.open(tmp_path / "run")
    assert run.variables() == [("conv2", "kernel")]
    assert len(run.scalars("epoch")) == 0 and len(run.gradient_norms()) == 0


def test_rhythms_keep_the_steps_they_name(tmp_path):
    quantities = [Metrics(5), GradientNorms("epoch"), Kernels("epoch"), Biases(4, ["classes"])]
    fit(network(), [InSituRecorder(tmp_path / "run", quantities)])
    run = Run.open(tmp_path / "run")
    assert list(run.scalars("batch")["step"]) == [5, 10, 15, 20, 25]
    assert list(run.gradient_norms()["step"]) == [13, 26]
    assert list(run.variable("classes", "bias").steps) == [0, 4, 8, 12, 16, 20, 24]
    assert run.variable("classes", "bias").epochs[1] == pytest.approx(4 / 13)
    assert len(run.steps()) == 26


def test_a_dense_kernel_is_recorded_when_named(tmp_path):
    fit(network(), [InSituRecorder(tmp_path / "run", [Kernels(layers=["classes"])])])
    kernel = Run.open(tmp_path / "run").variable("classes", "kernel")
    assert kernel.dims == ("snapshot", "channel", "filter") and kernel.filter_axis == 2


@pytest.mark.parametrize("every", [0, -1, 2.5, "step", None, True])
def test_a_wrong_rhythm_is_told(every):
    with pytest.raises(ValueError, match='Expected every to be "epoch", "batch", a positive int'):
        Kernels(every)


def test_an_unknown_layer_is_told_before_training(tmp_path):
    with pytest.raises(ValueError, match='No layer "conv9" in this model. It holds: conv1, norm, conv2'):
        fit(network(), [InSituRecorder(tmp_path / "run", [Kernels(layers=["conv9"])])])


def test_a_quantity_given_twice_is_told(tmp_path):
    with pytest.raises(ValueError, match="Expected each quantity once. Received Metrics 2 times"):
        InSituRecorder(tmp_path / "run", [Metrics(), Metrics(3)])


def test_an_existing_run_is_not_touched(copied_run):
    before = (copied_run.folder / "run.h5").read_bytes()
    with pytest.raises(RunExistsError, match="already holds a run .* pass overwrite=True"):
        InSituRecorder(copied_run.folder)
    assert (copied_run.folder / "run.h5").read_bytes() == before


def test_overwrite_replaces_an_old_run(copied_run):
    old = copied_run.identity["run_id"]
    fit(network(), [InSituRecorder(copied_run.folder, overwrite=True)], epochs=1)
    assert copied_run.identity["run_id"] != old
    assert len(copied_run.scalars("epoch")) == 1


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(RunExistsError, match="holds other files and no run"):
        InSituRecorder(tmp_path, overwrite=True)


def test_a_second_recorder_on_a_live_run_is_refused_with_the_first_ones_process(tmp_path):
    first, second = InSituRecorder(tmp_path / "run"), InSituRecorder(tmp_path / "run")
    with pytest.raises(RunExistsError, match=f"being written by process {os.getpid()} on "):
        fit(network(), [first, second])
    first.close()
    with pytest.raises(RunExistsError):
        InSituRecorder(tmp_path / "run")


def test_a_full_disk_never_stops_the_training(tmp_path, monkeypatch):
    """Every write after the first few fails, as on a full disk."""

    def full(path, data, durable=False):
        raise OSError(28, "No space left on device", str(path))

    model = network()
    recorder = InSituRecorder(tmp_path / "run")
    recorder.set_model(model)  # the folder is made while there is room
    monkeypatch.setattr(writer, "publish", full)
    with pytest.warns(RuntimeWarning, match=r"run.*could not be written: OSError.*No space left") as caught:
        history = fit(model, [recorder])
    assert len([w for w in caught if w.category is RuntimeWarning]) == 1
    plain = network()
    assert fit(plain, []).history == history.history
    assert "No space left" in Run.open(tmp_path / "run").identity["missing"][0]


def test_a_folder_that_cannot_be_made_never_stops_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning, match="recording stopped: NotADirectoryError"):
        history = fit(network(), [InSituRecorder(tmp_path / "file" / "run")])
    assert history.history == fit(network(), []).history


def test_a_mistake_of_our_own_never_stops_the_training(tmp_path, monkeypatch):
    def broken(*args, **options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(recorder, "drained_rows", broken)
    with pytest.warns(RuntimeWarning, match="recording stopped: ZeroDivisionError: a bug"):
        history = fit(network(), [InSituRecorder(tmp_path / "run")])
    assert history.history == fit(network(), []).history
    assert "ZeroDivisionError" in Run.open(tmp_path / "run").identity["missing"][0]


@pytest.mark.parametrize("fault", ["our own", "the disk", "no folder"])
def test_strict_raises_instead(fault, tmp_path, monkeypatch):
    def broken(*args, **options):
        raise OSError(28, "No space left on device")

    path = tmp_path / "run"
    if fault == "our own":
        monkeypatch.setattr(recorder, "drained_rows", broken)
    elif fault == "the disk":
        monkeypatch.setattr(writer, "publish", broken)
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "run"
    with pytest.raises((OSError, RuntimeError), match="No space left|Not a directory"):
        fit(network(), [InSituRecorder(path, strict=True)])


def test_even_where_warnings_are_errors_the_training_goes_on(tmp_path, recwarn):
    import warnings

    (tmp_path / "file").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(network(), [InSituRecorder(tmp_path / "file" / "run")], epochs=1)


class _Failing(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 5:
            raise self.error


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (MemoryError, "failed")])
def test_a_with_block_finishes_the_run_when_training_ends_in_an_exception(tmp_path, error, status):
    model = network()
    with pytest.raises(error), InSituRecorder(tmp_path / "run") as recorder:
        fit(model, [recorder, _Failing(error())])
    run = Run.open(tmp_path / "run")
    assert run.status == status
    assert len(run.scalars("batch")) == 6
    assert "train_step" not in vars(model)


def test_an_exception_inside_the_step_is_noticed_without_a_with_block(tmp_path):
    def batches():
        x, y = np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, np.int32)
        yield x, y
        yield x, y
        raise RuntimeError("the disk with the images is gone")

    with pytest.raises(Exception, match="images is gone"):
        network().fit(batches(), shuffle=False, verbose=0, callbacks=[InSituRecorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert run.status == "failed"
    assert "images is gone" in run.identity["error"]
    assert len(run.scalars("batch")) == 2


def test_a_fit_after_a_broken_one_goes_on_with_the_same_run(tmp_path):
    model, recorder = network(), InSituRecorder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fit(model, [recorder, _Failing(KeyboardInterrupt())])
    fit(model, [recorder], epochs=1)
    run = Run.open(tmp_path / "run")
    assert run.status == "finished"
    assert list(run.scalars("batch")["step"]) == list(range(1, 6 + 13 + 1))
    # The epoch that broke off is done again, as `resume=True` does it.
    assert list(run.scalars("batch")["epoch"]) == [1] * 6 + [1] * 13
    assert list(run.scalars("batch")["batch"]) == [*range(1, 7), *range(1, 14)]


def test_several_fits_count_on(tmp_path):
    model, recorder = network(), InSituRecorder(tmp_path / "run")
    fit(model, [recorder], epochs=2)
    fit(model, [recorder], epochs=1)
    fit(model, [recorder], epochs=4, initial_epoch=3)
    run = Run.open(tmp_path / "run")
    assert list(run.scalars("epoch")["epoch"]) == [1, 2, 3, 4]
    assert list(run.variable("conv1", "kernel").steps) == [0, 13, 26, 39, 52]
    assert list(run.scalars("batch")["step"]) == list(range(1, 53))


def test_a_recompiled_model_is_recorded_with_its_new_metrics(tmp_path):
    model, recorder = network(), InSituRecorder(tmp_path / "run")
    fit(model, [recorder], epochs=1)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["sparse_top_k_categorical_accuracy"])
    fit(model, [recorder], epochs=1)
    table = Run.open(tmp_path / "run").scalars("batch")
    assert table["accuracy"].notna().sum() == 13
    assert table["sparse_top_k_categorical_accuracy"].notna().sum() == 13


def test_layers_inside_layers_have_their_path(tmp_path, small_batch):
    inner = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten()], name="base"
    )
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(10, activation="softmax", name="top")(inner(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(*small_batch, verbose=0, callbacks=[InSituRecorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert run.variables() == [
        ("base/conv", "kernel"),
        ("base/conv", "bias"),
        ("top", "kernel"),
        ("top", "bias"),
    ]
    assert "base/conv/kernel" in run.gradient_norms().columns


def test_a_tap_that_cannot_tap_leaves_the_rest_of_the_recording(tmp_path, monkeypatch):
    from tensorview_insitu.callbacks.taps.tensorflow_tap import TensorFlowTap

    def broken(self, heard, learning_rate):
        raise NotImplementedError("a metric of another world")

    monkeypatch.setattr(TensorFlowTap, "_after_step", broken)
    with pytest.warns(RuntimeWarning, match="batches are not recorded: NotImplementedError: a metric"):
        history = fit(network(), [InSituRecorder(tmp_path / "run")])
    assert history.history == fit(network(), []).history
    run = Run.open(tmp_path / "run")
    assert list(run.scalars("epoch")["loss"]) == history.history["loss"]
    assert list(run.variable("conv1", "kernel").steps) == [0, 13, 26]
    assert len(run.gradient_norms()) == 0


def test_another_backend_is_recorded_by_epoch_and_says_so(tmp_path):
    """In a process of its own: a process has one backend."""
    pytest.importorskip("jax")
    program = f"""
        import keras, numpy as np
        from tensorview_insitu.callbacks import InSituRecorder
        model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
        model.compile("sgd", "mse")
        x, y = np.zeros((8, 4, 4, 1)), np.zeros((8, 8))
        model.fit(x, y, verbose=0, callbacks=[InSituRecorder({str(tmp_path / "run")!r})])
    """
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, check=True)
    run = Run.open(tmp_path / "run")
    assert len(run.variable("conv2d", "kernel")) == 2
    assert "TensorFlow backend only" in run.identity["missing"][0]


def test_a_process_that_ends_in_the_middle_finishes_its_run(tmp_path):
    """Without `with`: at exit."""
    program = f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__) + "/.."!r})
        import keras
        from fits import fit, network
        from tensorview_insitu.callbacks import InSituRecorder
        class Exit(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 5:
                    sys.exit(3)
        fit(network(), [InSituRecorder({str(tmp_path / "run")!r}), Exit()])
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert ended.returncode == 3, ended.stderr
    run = Run.open(tmp_path / "run")
    assert run.status == "interrupted"
    assert len(run.scalars("batch")) == 6


def test_the_run_is_one_plain_file_after_training(run):
    assert sorted(p.name for p in run.folder.iterdir()) == ["run.h5", "run.json"]
    assert shutil.disk_usage(run.folder).free


@pytest.mark.parametrize(("task", "records"), [("chief", True), ("worker", False), ("evaluator", False)])
def test_of_many_workers_only_the_chief_records(task, records, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"task": {"type": task, "index": int(task == "worker")}}))
    model = network()
    recorder = InSituRecorder(tmp_path / "run")
    history = fit(model, [recorder])
    assert (tmp_path / "run").exists() == records
    monkeypatch.delenv("TF_CONFIG")
    assert history.history == fit(network(), []).history


def test_layers_of_the_same_name_have_paths_of_their_own(tmp_path, small_batch):
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.twins = [keras.layers.Conv2D(2, 3, name="twin"), keras.layers.Conv2D(3, 2, name="twin")]
            self.top = keras.layers.Dense(10, activation="softmax", name="top")

        def call(self, x):
            return self.top(keras.ops.mean(self.twins[1](self.twins[0](x)), (1, 2)))

    model = Twins()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(*small_batch, verbose=0, callbacks=[InSituRecorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    assert run.variable("twin", "kernel").values.shape[1:] == (3, 3, 1, 2)
    assert run.variable("twin#2", "kernel").values.shape[1:] == (2, 2, 2, 3)
    assert np.array_equal(run.variable("twin#2", "kernel").values[-1], model.twins[1].kernel)
    assert {"twin/kernel", "twin#2/kernel"} <= set(run.gradient_norms().columns)
