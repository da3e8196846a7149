"""What a model predicts, batch after batch: the rows of every output, and of what the layers answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Block, Rows
from tensorview_insitu.text.one_line import told

from .arrays import to_numpy


class Predicted:
    """Counts the samples over all batches.

    Attributes:
        problems: what could not be recorded, in words.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._samples = 0
        self._axes: dict[int, int] = {}  # of each output, as last seen

    def go_on_after(self, samples: int) -> None:
        """The run holds so many samples."""
        self._samples = samples

    def rows(
        self, model: keras.Model, logs: Mapping[str, Any], answers: Mapping[str, NDArray[np.float32]]
    ) -> Block:
        """The rows of a batch.

        Args:
            model: that predicts.
            logs: as Keras gives them to `on_predict_batch_end`.
            answers: by layer, `(samples, filters)`, what it answered.
        """
        scores = self._scores(model, logs)
        count = next((len(values) for values in scores.values()), 0)
        count = max([count, *(len(means) for means in answers.values())])
        steps = self._samples + 1 + np.arange(count, dtype=np.int64)
        self._samples += count
        block: dict[str, Rows] = {}
        for number, values in scores.items():
            if len(values) != count:
                self._note(f"output {number} of predict is not recorded: it has no row for each sample")
                continue
            dims = ["sample", *(f"axis_{axis}" for axis in range(values.ndim - 2)), "class"][: values.ndim]
            about = {"dims": dims, "filter_axis": max(0, values.ndim - 1)}
            block[layout.scores_dataset(number)] = Rows(steps, values, about)
        for path, means in answers.items():
            if len(means) and np.isnan(means).all():
                self._note(f"{path} answers not once for each sample, or NaN: so are its rows of predict")
            about = {"dims": ["sample", "filter"], "filter_axis": 1}
            block[layout.predicted_dataset(path)] = Rows(steps[count - len(means) :], means, about)
        return block

    def _scores(self, model: keras.Model, logs: Mapping[str, Any]) -> dict[int, NDArray[np.float32]]:
        # Keras puts a dict of outputs in the place of the logs, and makes a float of a lone number.
        outputs = keras.tree.flatten(logs["outputs"] if set(logs) == {"outputs"} else dict(logs))
        scores: dict[int, NDArray[np.float32]] = {}
        for number, output in enumerate(outputs):
            try:
                if isinstance(output, float):
                    output = np.full((1,) * self._axes_of(model, number), output)
                values = to_numpy(output)
                if values.dtype.kind not in "biuf":
                    raise ValueError(f"its values are of type {values.dtype}")
                values = values.astype(np.float32)
            except Exception as error:  # text, or an object of the user's own
                self._note(f"output {number} of predict is not recorded: {told(error)}")
                continue
            self._axes[number] = values.ndim
            scores[number] = values if values.ndim else values[None]
        return scores

    def _axes_of(self, model: keras.Model, number: int) -> int:
        known = [len(tensor.shape) for tensor in getattr(model, "outputs", None) or ()]
        return self._axes.get(number, known[number] if number < len(known) else 2)

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
