"""Numbers of your own: what you compute from the model, at every epoch or every n batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tensorview_insitu.run import layout

from ..schedule import Every
from .quantity import Quantity


class Numbers(Quantity):
    """Numbers that you compute from the model; derive from it, and say what in `numbers`.

    They are a table of the run, with a column for each name: `Run.quantity(name)`. They are asked for
    before training (of a model that is built), and then when `every` says. A number may come later than
    others, or not always: it is NaN where it did not. When it raises, or gives what is no number, the run
    says so in `missing`, and what it gave not is NaN; when it raises three times in a row, it is asked no
    more. All else goes on.

    What has to be kept from one time to the next belongs to one run: let `begin` make it.

    Args:
        every: `"epoch"`, `"batch"`, a number of batches, or a schedule.

    Attributes:
        name: what it is called in the run, where that is not the name of the class.

    Example:
        >>> class Norms(Numbers):
        ...     def numbers(self, model):
        ...         return {v.path: keras.ops.norm(v) for v in model.trainable_variables}
    """

    every: Every = "epoch"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = getattr(self, "name", "")
        try:
            assert isinstance(name, str)
            name.encode()
        except (AssertionError, UnicodeEncodeError):
            raise ValueError(f"Expected the name of a quantity to be text. Received: {name!r}.") from None

    def __init__(self, *, every: Every | None = None) -> None:
        if every is not None:
            self.every = every
        self.__post_init__()

    def numbers(self, model: keras.Model) -> Mapping[str, Any]:
        """Of the model as it is: a number for each name."""
        raise NotImplementedError(f"{type(self).__name__} lacks numbers(self, model)")

    def begin(self, model: keras.Model) -> Callable[[], Mapping[str, Any]]:
        """A function that is called at each moment of one run, and gives its numbers."""
        return functools.partial(self.numbers, model)

    @property
    def in_run(self) -> str:
        """Its name in the run."""
        return str(getattr(self, "name", None) or type(self).__name__)

    @property
    def dataset(self) -> str:
        """Where its numbers go."""
        return layout.quantity_dataset(self.in_run)

    @property
    def label(self) -> str:
        """Several may be recorded, each under a name of its own."""
        return f"quantity {self.in_run}"
