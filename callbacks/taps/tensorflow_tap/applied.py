"""Applied: the optimizers that a step applies, with which learning rate, and the gradients they are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from tensorview_insitu.explain.walk import numbered

from ..columns import Column
from .graphs import current_graph
from .rates import why_not_read
from .rings import Cell, Held
from .updates import norms

LEARNING_RATE = "learning_rate"


class Optimizers:
    """The optimizers that were applied, in order, each under a name of its own."""

    def __init__(self) -> None:
        self._found: list[tuple[Any, str]] = []
        self._each_once = True
        self._unread: dict[Column, str] = {}

    def may_be_read(self, optimizer: Any) -> bool:
        """Whether reading an optimizer's learning rate changes nothing; found out once."""
        column = self.column(optimizer)
        if column not in self._unread:
            self._unread[column] = why_not_read(optimizer)
        return not self._unread[column]

    def unread(self, column: Column) -> bool:
        """Whether this learning rate is not read, as that would change it."""
        return bool(self._unread.get(column))

    @property
    def not_read(self) -> dict[str, str]:
        """The optimizers whose learning rate is not read, and why."""
        reasons = {name: self._unread.get(_rate_column(name), "") for _, name in self._found}
        return {name: reason for name, reason in reasons.items() if reason}

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
        name = numbered(str(optimizer.name), [name for _, name in self._found])
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


Site = tuple[Column, tuple[str, ...], tuple[str, ...]]
"""An application by its learning rate's column, the variables, and those of them that have norms."""


@dataclass(frozen=True)
class Application:
    """One application of an optimizer in a step.

    Args:
        rate: the column of its learning rate.
        given: the variables that it was given gradients of.
        names: of the variables whose norms it has.
        learning_rate: a tensor.
        norms: `(names,)`; None where there are none.
        site: where; None in the step's own graph.
        times: a tensor that says how often it was applied there; once for sure in the step's own graph.
        sites_before: how often, before this, the step had applied one at each site.
    """

    rate: Column
    given: tuple[str, ...]
    names: tuple[str, ...]
    learning_rate: Any
    norms: Any
    site: Site | None = None
    times: Any = None
    sites_before: Mapping[Site, Any] = field(default_factory=dict)

    @property
    def happened(self) -> Any:
        """A tensor that says whether it was applied; None where that is sure."""
        return None if self.times is None else self.times > 0


class Sites:
    """Where optimizers are applied inside a condition or function of its own (LossScaleOptimizer does so).

    What is found there is held in a variable, as no tensor leaves it. A function is traced once and called
    ever again, so this outlives the step in which it was traced.
    """

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self._held: dict[Site, Held] = {}
        self._most: dict[tuple[str, ...], Cell] = {}  # the most gradients that a step gave each variable

    def write(self, found: Application) -> None:
        """Hold what one application found."""
        site = (found.rate, found.given, found.names)
        if site not in self._held:
            with tf.init_scope():
                self._held[site] = Held(2 + len(found.names), self._strategy)
        held = self._held[site]
        vector = [tf.stack([_times(held.read()) + 1.0, found.learning_rate])]
        vector += [found.norms] if found.names else []
        held.write(tf.concat(vector, 0))

    def take(self) -> list[Application]:
        """What this step found at each."""
        taken = []
        for site, held in self._held.items():
            vector = held.take()
            norms = vector[2:] if site[2] else None
            taken.append(Application(*site, vector[1], norms, site, _times(vector)))
        return taken

    def times(self) -> dict[Site, Any]:
        """How often the running step has applied one at each so far."""
        return {site: _times(held.read()) for site, held in self._held.items()}

    def count(self, found: Sequence[Application]) -> None:
        """Count the gradients of each variable in one step, for `several`."""
        names = tuple(dict.fromkeys(name for one in found for name in one.given))
        if not names:
            return
        if names not in self._most:
            with tf.init_scope():
                self._most[names] = Cell(np.zeros(len(names), np.float32), self._strategy)
        most = self._most[names].here
        parts = [
            (1.0 if one.times is None else one.times) * np.array([n in one.given for n in names], np.float32)
            for one in found
        ]
        most.assign(tf.maximum(most.read_value(), tf.add_n([tf.convert_to_tensor(part) for part in parts])))

    def several(self) -> list[str]:
        """The variables that were given more than one gradient in any step so far."""
        found: set[str] = set()
        for names, most in self._most.items():
            found |= {name for name, count in zip(names, most.numpy(), strict=True) if count > 1}
        return sorted(found)


def _times(vector: Any) -> Any:
    return tf.where(tf.math.is_nan(vector[0]), np.float32(0.0), vector[0])


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
        self.graph = current_graph()
        self._found: list[Application] = []

    def handed_on(self, optimizer: Any) -> None:
        """An optimizer hands on to another what it was given itself."""
        self._take(Application(self._optimizers.column(optimizer), (), (), self._rate_of(optimizer), None))

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
        column = self._optimizers.column(optimizer)
        to = tuple(gradients)
        names = to if self._takes_norms else ()
        measured = norms(list(gradients.values())) if names else None
        if names and (scale := optimizer.loss_scale_factor) is not None:
            measured = measured / tf.cast(scale, tf.float32)
        self._take(Application(column, to, names, self._rate_of(optimizer), measured))
        return gradients

    def _rate_of(self, optimizer: Any) -> Any:
        reads = self._takes_rates and self._optimizers.may_be_read(optimizer)
        rate = tf.convert_to_tensor(optimizer.learning_rate) if reads else None
        known = rate is not None and rate.shape.rank == 0
        return tf.cast(rate if known else np.nan, tf.float32)

    def _take(self, found: Application) -> None:
        if current_graph() is self.graph:
            self._found.append(replace(found, sites_before=self._sites.times()))
        else:
            self._sites.write(found)

    def finish(self) -> None:
        """The step is over: take what was found in other graphs too."""
        nested = self._sites.take()
        self._found += nested
        if nested:
            self._sites.count(self._found)

    def rates(self) -> list[tuple[Column, list[Any]]]:
        """The learning rate of every optimizer that was applied; of one applied more than once, the last."""
        found: dict[Column, Any] = {}
        for one in self._found if self._takes_rates else ():
            before = found.get(one.rate, np.float32(np.nan))
            sure = one.happened is None
            found[one.rate] = one.learning_rate if sure else tf.where(one.happened, one.learning_rate, before)
        return [(column, [rate]) for column, rate in found.items() if not self._optimizers.unread(column)]

    def names(self, first: Sequence[str]) -> tuple[str, ...]:
        """The variables that have norms: `first`, and what else was given a gradient."""
        return tuple(dict.fromkeys([*first, *(name for one in self._found for name in one.names)]))

    def norms(self, names: Sequence[str]) -> Any:
        """The norm of each variable's gradient, NaN without one; of several in a step the last."""
        found = [one for one in self._found if one.names]
        if len(found) == 1 and found[0].names == tuple(names):
            return found[0].norms
        nothing = tf.fill((len(names),), np.float32(np.nan))
        whole, own = nothing, [one for one in found if one.site is None]
        for one in found:
            where = [one.names.index(name) if name in one.names else len(one.names) for name in names]
            spread = tf.gather(tf.concat([one.norms, nothing[:1]], 0), where)
            has: Any = np.array([name in one.names for name in names])
            if one.site is not None:
                # What is applied at a site may come before what the step applies itself, or after.
                before = [tf.constant(0.0)] * len(names)
                for other in own:
                    times = other.sites_before.get(one.site, tf.constant(0.0))
                    before = [times if n in other.names else b for n, b in zip(names, before, strict=True)]
                has = has & (one.times > tf.stack(before))
            whole = tf.where(has, spread, whole)
        return whole

    @property
    def given_several(self) -> list[str]:
        """The variables that were surely given more than one gradient in this step."""
        # Of two branches one happens, and a function is traced once and called ever again: see `Sites`.
        counts = Counter(name for one in self._found if one.times is None for name in one.given)
        return sorted(name for name, count in counts.items() if count > 1)

    @property
    def once(self) -> bool:
        """Whether this step applies one optimizer once, whatever the numbers."""
        return len(self._found) == 1 and self._found[0].times is None
