"""Whether a model can take a probe: told before the training, where the model knows what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import NDArray

Shape = tuple[int | None, ...]


def check_probe(model: keras.Model, probe: Any, *, exact: bool = False) -> None:
    """Raise when the arrays of a probe are not those that `model` takes.

    A model that its first batch builds, or that is subclassed, does not say what it takes.

    Args:
        model: the model.
        probe: an array, or a list or dict of arrays.
        exact: without the last axis of one that Keras adds, or drops.

    Raises:
        ValueError: with what the model takes.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return
    names = [str(tensor.name) for tensor in inputs]
    shapes: list[Shape] = [tuple(tensor.shape) for tensor in inputs]
    given = _in_order(probe, _keys(model, names))
    if (
        given is None
        or len(given) != len(shapes)
        or not all(_fits(shape, array, exact=exact) for shape, array in zip(shapes, given, strict=True))
    ):
        wanted = ", ".join(f"{name} {_told(shape)}" for name, shape in zip(names, shapes, strict=True))
        raise ValueError(
            f"Expected a probe that {model.name} can take: {wanted}. Received: {_received(probe)}."
        )


def _keys(model: keras.Model, names: list[str]) -> list[str]:
    """The keys of a dict of inputs: those of the dict that the model was made with, or the inputs' names."""
    struct = getattr(model, "_inputs_struct", None)
    if isinstance(struct, dict):
        by_tensor = {id(tensor): key for key, tensor in struct.items()}
        return [
            str(by_tensor.get(id(tensor), name)) for tensor, name in zip(model.inputs, names, strict=True)
        ]
    return names


def _in_order(probe: Any, keys: Sequence[str]) -> list[NDArray[Any]] | None:
    if isinstance(probe, dict):
        return [probe[key] for key in keys] if set(keys) <= set(probe) else None
    arrays: list[NDArray[Any]] = keras.tree.flatten(probe)
    return arrays


def _fits(shape: Shape, array: NDArray[Any], *, exact: bool) -> bool:
    wanted, got = shape[1:], tuple(array.shape[1:])
    if exact:
        pass
    elif len(got) == len(wanted) + 1 and got[-1] == 1:
        got = got[:-1]
    elif len(got) == len(wanted) - 1 and wanted[-1] == 1:
        got = (*got, 1)
    return len(got) == len(wanted) and all(w is None or w == g for w, g in zip(wanted, got, strict=True))


def _told(shape: Shape) -> str:
    return "(" + ", ".join(["samples", *("any" if n is None else str(n) for n in shape[1:])]) + ")"


def _received(probe: Any) -> str:
    if isinstance(probe, dict):
        return ", ".join(f"{key} {value.shape}" for key, value in probe.items())
    return ", ".join(str(array.shape) for array in keras.tree.flatten(probe)) or "nothing"
