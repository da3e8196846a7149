"""What a fit held - its data, the threads that read them - is gone when it is over, as without a recorder.

An iterator over data has threads of its own, and the older it is when it goes, the longer TensorFlow may wait
for them: a minute at the most.
"""

import gc
import sys
import weakref

import keras
import pytest
from tensorview_insitu.callbacks import living
from tensorview_insitu.callbacks.loop import Loop
from test_whose_training import Raising, data, recorder, small, train


def iterators():
    """How many there are over data."""
    return sum(type(one).__name__ == "OwnedIterator" for one in gc.get_objects())


def finished(model, callbacks):
    train(model, callbacks)


def fitted_twice(model, callbacks):
    train(model, callbacks)
    train(model, callbacks)


def evaluated(model, callbacks):
    model.evaluate(*data(0.0), verbose=0, callbacks=callbacks)


def predicted(model, callbacks):
    model.predict(data(0.0)[0], verbose=0, callbacks=callbacks)


def broken_off(hook):
    def way(model, callbacks):
        try:
            train(model, [*callbacks, Raising(hook)])
        except KeyboardInterrupt:
            pass
        living.look()  # as it is done every second

    return way


class Fails(keras.layers.Layer):
    """Fails when it runs."""

    def call(self, x):
        return keras.ops.slice(x, [0, 0], [1000, 1])


def failed(model, callbacks):
    model = keras.Sequential([*model.layers, Fails()])
    model.compile("sgd", "mse")
    with pytest.raises(Exception):  # noqa: B017 - of TensorFlow
        train(model, callbacks, run_eagerly=False)


RETURNING = {f.__name__: f for f in (finished, fitted_twice, evaluated, predicted)}
# Keras itself leaves cycles behind where an exception passes.
RAISING = {hook: broken_off(hook) for hook in ("on_train_batch_end", "on_epoch_end", "on_test_batch_end")}
RAISING["a step fails"] = failed


@pytest.mark.parametrize("way", RETURNING)
@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
def test_what_a_fit_held_is_let_go_when_it_returns(way, recorded, tmp_path):
    ours = [recorder(tmp_path / "run")] if recorded else []
    gc.collect()
    gc.disable()
    try:
        before = iterators()
        RETURNING[way](small(), ours)
        assert iterators() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("way", RAISING)
def test_what_an_interrupted_fit_held_is_let_go_though_its_recorder_lives(way, tmp_path):
    left, model = [], None
    for ours in ([], [recorder(tmp_path / "run")]):
        del model
        gc.collect()
        before = iterators()
        model = small()
        RAISING[way](model, ours)
        gc.collect()
        left.append(iterators() - before)
    # Keras keeps the iterator of a validation on the model, until the next one.
    assert left[1] == left[0]


def test_to_look_whether_a_loop_runs_leaves_no_stack_behind():
    gc.collect()
    gc.disable()
    try:

        def runs():
            held = Held()
            loop = Loop(sys._getframe(), "on_train_begin")
            ran = loop.runs()
            loop.end()
            return ran, weakref.ref(held)

        ran, held = runs()
        assert ran and held() is None
    finally:
        gc.enable()


class Held:
    """Something that a frame holds."""
