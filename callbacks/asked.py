"""A quantity that the host asks at moments of one run, and the rows that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tensorview_insitu.run.rows import Block, Rows
from tensorview_insitu.text.one_line import one_line

from .attempts import Attempts
from .numbers import numbers_of
from .quantities import Numbers, Probed


class Asked:
    """One quantity, asked in one run of one model; begun when it is asked first.

    Args:
        quantity: which.
        model: the model.
        note: takes a sentence for `missing`.
    """

    def __init__(self, quantity: Probed | Numbers, model: keras.Model, note: Callable[[str], None]) -> None:
        self.quantity = quantity
        self.label = quantity.label
        self.schedule = quantity.schedule
        self._model = model
        self._note = note
        self._attempts = Attempts(quantity.called, note)
        self._take: Callable[[int], Block] | None = None
        self._columns: list[str] = []

    @property
    def is_table(self) -> bool:
        """Whether it gives numbers, and no arrays."""
        return isinstance(self.quantity, Numbers)

    def take(self, step: int) -> Block:
        """The rows of one moment; of numbers that could not be had a row of NaN."""
        block = self._attempts(lambda: self._begun()(step), step)
        if block is not None:
            return block
        if self._attempts.ended or not self.is_table or not self._columns:
            return {}
        return self._table(step, dict.fromkeys(self._columns, np.nan))

    def _begun(self) -> Callable[[int], Block]:
        if self._take is None:
            if isinstance(self.quantity, Numbers):
                self._take = self._numbers(self.quantity.begin(self._model))
            else:
                self._take = self.quantity.begin(self._model)
        return self._take

    def _numbers(self, ask: Callable[[], Any]) -> Callable[[int], Block]:
        return lambda step: self._rows(step, ask())

    def _rows(self, step: int, given: Any) -> Block:
        if not isinstance(given, Mapping):
            raise TypeError(f"expected a dict of numbers by their names, received a {type(given).__name__}")
        found, refused = numbers_of(given)
        for name, why in refused.items():
            self._note(f'{self.label}: "{one_line(name)}" is not recorded: {why}')
        self._columns += [name for name in found if name not in self._columns]
        return self._table(step, found) if found else {}

    def _table(self, step: int, values: Mapping[str, float]) -> Block:
        row = np.array([list(values.values())], np.float64)
        about = {"columns": list(values)}
        assert isinstance(self.quantity, Numbers)
        return {self.quantity.dataset: Rows(np.array([step], np.int64), row, about)}
