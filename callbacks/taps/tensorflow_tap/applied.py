"""Applied: the optimizers that a step applies, with which learning rate, and the gradients they are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from ..columns import Column
from .graphs import current_graph
from .rings import Held
from .updates import norms

LEARNING_RATE = "learning_rate"


class Optimizers:
    """The optimizers that were applied, in order, each under a name of its own."""

    def __init__(self) -> None:
        self._found: list[tuple[Any, str]] = []
        self._each_once = True

    @property
    def once_a_step(self) -> Any:
        """The one optimizer that every step applies, and that counts each time; None where it is not so."""
        if len(self._found) != 1 or not self._each_once:
            return None
        optimizer = self._found[0][0]
        return None if optimizer.gradient_accumulation_steps else optimizer

    def column(self, optimizer: Any) -> Column:
        """The column of an optimizer's learning rate."""
        for known, name in self._found:
            if known is optimizer:
                return _rate_column(name)
        names = [name for _, name in self._found]
        number, name = 1, str(optimizer.name)
        while name in names:
            number += 1
            name = f"{optimizer.name}#{number}"
        self._found.append((optimizer, name))
        return _rate_column(name)

    def recorded_name(self, column: Column, columns: Collection[Column]) -> str:
        """The name of a column in the run: a lone optimizer's learning rate is `learning_rate`.

        Args:
            column: one of them.
            columns: all; the step itself may return something of that name.
        """
        lone = len(self._found) == 1 and column == _rate_column(self._found[0][1])
        taken = any(other.recorded_name == LEARNING_RATE for other in columns)
        return LEARNING_RATE if lone and not taken else column.recorded_name

    def end_of_step(self, applied: Applied) -> None:
        """A step was traced in which this was applied."""
        self._each_once &= applied.once


def _rate_column(name: str) -> Column:
    return Column(f"{LEARNING_RATE}/{name}", "value", 1)


@dataclass(frozen=True)
class Application:
    """One application of an optimizer in a step.

    Args:
        rate: the column of its learning rate.
        names: of the variables whose norms it has.
        learning_rate: a tensor.
        norms: `(names,)`; None where there are none.
        happened: a tensor that says whether it was; None where that is sure.
    """

    rate: Column
    names: tuple[str, ...]
    learning_rate: Any
    norms: Any
    happened: Any = None


class Sites:
    """Where optimizers are applied inside a condition or function of its own (LossScaleOptimizer does so).

    What is found there is held in a variable, as no tensor leaves it. A function is traced once and called
    ever again, so this outlives the step in which it was traced.
    """

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self._held: dict[tuple[Column, tuple[str, ...]], Held] = {}

    def write(self, found: Application) -> None:
        """Hold what one application found."""
        site = (found.rate, found.names)
        if site not in self._held:
            with tf.init_scope():
                self._held[site] = Held(2 + len(found.names), self._strategy)
        vector = [tf.stack([np.float32(1.0), found.learning_rate])]
        vector += [found.norms] if found.names else []
        self._held[site].write(tf.concat(vector, 0))

    def take(self) -> list[Application]:
        """What this step found at each."""
        taken = []
        for (rate, names), held in self._held.items():
            vector = held.take()
            happened = tf.logical_not(tf.math.is_nan(vector[0]))
            taken.append(Application(rate, names, vector[1], vector[2:] if names else None, happened))
        return taken


class Applied:
    """What the optimizers were given in one step.

    Args:
        optimizers: takes those that are applied.
        sites: takes what is found in graphs other than the step's.
        name_of: a variable's name in the run.
        rates: whether learning rates are taken.
        norms: whether gradient norms are.
        replicas: how many train together.
    """

    def __init__(
        self,
        optimizers: Optimizers,
        sites: Sites,
        name_of: Callable[[Any], str],
        *,
        rates: bool,
        norms: bool,
        replicas: int,
    ) -> None:
        self._optimizers = optimizers
        self._sites = sites
        self._name_of = name_of
        self._takes_rates = rates
        self._takes_norms = norms
        self._replicas = replicas
        self._graph = current_graph()
        self._found: list[Application] = []
        self._given: list[tuple[int, str]] = []  # by graph

    def applying(self, optimizer: Any, grads: Sequence[Any], variables: Sequence[Any]) -> dict[str, Any]:
        """An optimizer is about to be applied.

        Returns:
            The gradient of each variable that has one, by its name: of the whole batch.
        """
        given = [(v, g) for v, g in zip(variables, grads, strict=True) if g is not None]
        if self._replicas > 1:
            # Each replica has the gradient of its share of the batch: their sum is the batch's.
            context = tf.distribute.get_replica_context()
            summed = context.all_reduce("SUM", [gradient for _, gradient in given])
            given = [(v, g) for (v, _), g in zip(given, summed, strict=True)]
        gradients = {self._name_of(variable): gradient for variable, gradient in given}
        self._given += [(id(current_graph()), name) for name in gradients]
        column = self._optimizers.column(optimizer)
        names = tuple(gradients) if self._takes_norms else ()
        rate = tf.convert_to_tensor(optimizer.learning_rate)
        known = self._takes_rates and rate.shape.rank == 0
        measured = norms(list(gradients.values())) if names else None
        if names and (scale := optimizer.loss_scale_factor) is not None:
            measured = measured / tf.cast(scale, tf.float32)
        found = Application(column, names, tf.cast(rate if known else np.nan, tf.float32), measured)
        if current_graph() is self._graph:
            self._found.append(found)
        else:
            self._sites.write(found)
        return gradients

    def finish(self) -> None:
        """The step is over: take what was found in other graphs too."""
        self._found += self._sites.take()

    def rates(self) -> list[tuple[Column, list[Any]]]:
        """The learning rate of every optimizer that was applied; of one applied more than once, the last."""
        found: dict[Column, Any] = {}
        for one in self._found if self._takes_rates else ():
            before = found.get(one.rate, np.float32(np.nan))
            sure = one.happened is None
            found[one.rate] = one.learning_rate if sure else tf.where(one.happened, one.learning_rate, before)
        return [(column, [rate]) for column, rate in found.items()]

    def names(self, first: Sequence[str]) -> tuple[str, ...]:
        """The variables that have norms: `first`, and what else was given a gradient."""
        return tuple(dict.fromkeys([*first, *(name for one in self._found for name in one.names)]))

    def norms(self, names: Sequence[str]) -> Any:
        """The norm of each variable's gradient, NaN without one; of several in a step the last."""
        if len(self._found) == 1 and self._found[0].names == tuple(names):
            return self._found[0].norms
        nothing = tf.fill((len(names),), np.float32(np.nan))
        whole = nothing
        for one in self._found:
            if not one.names:
                continue
            where = [one.names.index(name) if name in one.names else len(one.names) for name in names]
            spread = tf.gather(tf.concat([one.norms, nothing[:1]], 0), where)
            has = tf.constant([name in one.names for name in names])
            whole = tf.where(has if one.happened is None else has & one.happened, spread, whole)
        return whole

    @property
    def given_several(self) -> list[str]:
        """The variables that were given more than one gradient in this step."""
        # Of two branches one happens, and a function that TensorFlow traces twice is called once.
        counts = Counter(self._given)
        return sorted({name for (_, name), count in counts.items() if count > 1})

    @property
    def once(self) -> bool:
        """Whether this step applies one optimizer once, whatever the numbers."""
        return len(self._found) == 1 and self._found[0].happened is None
