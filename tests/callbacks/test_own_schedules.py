"""A learning rate's schedule of the user's own is asked as often as it would be unrecorded."""

import keras
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - as users write it
from fits import digits
from tensorview_insitu.callbacks import InSituRecorder

from tensorview_insitu.run.reader import Run


class OfStep(keras.optimizers.schedules.LearningRateSchedule):
    """By the step alone, as most are."""

    def __call__(self, step):
        return 0.1 / (1.0 + keras.ops.cast(step, "float32"))


class CountsInAVariable(keras.optimizers.schedules.LearningRateSchedule):
    """By how often it was asked."""

    def __init__(self):
        self.asked = tf.Variable(0.0)

    def __call__(self, step):
        self.asked.assign_add(1.0)
        return 0.1 / self.asked


class CountsInPython(keras.optimizers.schedules.LearningRateSchedule):
    """By how often it was asked; in a graph that is once for each trace."""

    asked = 0

    def __call__(self, step):
        self.asked += 1
        return 0.1 / self.asked


class OnlyEager(keras.optimizers.schedules.LearningRateSchedule):
    """By the step as Python's number, which no graph has."""

    def __call__(self, step):
        return 0.1 / (1.0 + int(step))


def constant():
    return keras.ops.convert_to_tensor(0.05)


WAYS = [(schedule, eager) for schedule in (OfStep, CountsInAVariable, lambda: constant) for eager in (0, 1)]


@pytest.mark.parametrize(("schedule", "eager"), [*WAYS, (CountsInPython, 1), (OnlyEager, 1)])
def test_a_schedule_goes_on_as_unrecorded(schedule, eager, tmp_path):
    x, y = digits()
    outcomes = []
    for recorder in ([], [InSituRecorder(tmp_path / "run")]):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
        )
        optimizer = keras.optimizers.SGD(schedule())
        model.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=bool(eager))
        history = model.fit(x[:96], y[:96], epochs=2, shuffle=False, verbose=0, callbacks=recorder).history
        history.pop("learning_rate", None)
        outcomes.append((history, [np.asarray(v.value) for v in model.variables]))
    assert outcomes[0][0] == outcomes[1][0]
    assert all(map(np.array_equal, outcomes[0][1], outcomes[1][1]))
    run = Run.open(tmp_path / "run")
    rows, missing = run.scalars("batch"), run.identity["missing"]
    if schedule in (CountsInAVariable, CountsInPython):
        assert "learning_rate" not in rows
        assert any(m.startswith("the learning rate of sgd") and "its schedule counts" in m for m in missing)
    elif schedule is OnlyEager:
        assert "learning_rate" not in rows
        assert any("whether its schedule may be asked once more cannot be found out" in m for m in missing)
    else:
        expected = 0.1 / (1.0 + np.arange(6)) if schedule is OfStep else np.full(6, 0.05)
        np.testing.assert_allclose(rows["learning_rate"], expected, rtol=1e-6)
        assert missing == []
