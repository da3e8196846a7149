"""Rows join by name, and blocks join by dataset."""

import numpy as np

from tensorview_insitu.run.rows import Rows, concatenate, join


def table(first_step, columns, values):
    steps = np.arange(first_step, first_step + len(values))
    return Rows(steps, np.array(values, float), {"columns": columns})


def test_a_column_that_a_part_lacks_is_nan_there():
    whole = concatenate([table(1, ["loss"], [[1.0]]), table(2, ["accuracy", "loss"], [[0.5, 2.0]])])
    assert whole.attributes["columns"] == ["loss", "accuracy"]
    np.testing.assert_array_equal(whole.values, [[1.0, np.nan], [2.0, 0.5]])
    assert list(whole.steps) == [1, 2]


def test_blocks_join_dataset_by_dataset():
    one = {"a": Rows(np.array([1]), np.ones((1, 2)))}
    two = {"a": Rows(np.array([2]), np.zeros((1, 2))), "b": Rows(np.array([2]), np.ones((1,)))}
    whole = join([one, two])
    assert list(whole["a"].steps) == [1, 2] and list(whole["b"].steps) == [2]
