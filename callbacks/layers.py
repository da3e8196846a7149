"""Every layer of a model, once, under a stable path such as `base/conv2d`; and its variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tensorview_insitu.explain.walk import numbered, walk

_SPACE = {1: ("position",), 2: ("row", "column"), 3: ("depth", "row", "column")}

_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    *_DEPTHWISE,
    *_SEPARABLE,
    *_TRANSPOSED,
)


@dataclass(frozen=True)
class LayerVariable:
    """One variable of one layer.

    Args:
        layer: the layer's path.
        name: `kernel`, `bias`, ...
        variable: the Keras variable.
        dims: a name for each of its axes.
        filter_axis: the axis along which the output channels lie.
        frozen: whether nobody trains it, though it can be trained; or its layer is not to be trained.
        is_packed: whether its numbers stand for others: those of a layer that was quantized to integers.
    """

    layer: str
    name: str
    variable: Any
    dims: tuple[str, ...]
    filter_axis: int
    frozen: bool = False
    is_packed: bool = False

    @property
    def path(self) -> str:
        """`layer/name`."""
        return f"{self.layer}/{self.name}"

    @property
    def is_adapter(self) -> bool:
        """Whether it is one of a LoRA, as `enable_lora` of Keras calls them."""
        return self.name.startswith("lora_")

    @property
    def size(self) -> int:
        """The number of its values."""
        return int(np.prod(self.variable.shape))


def layers_of(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    """`(path, layer)` of every layer, and first of the model itself where it has variables of its own.

    A subclassed model may have: a class token, the scale of a loss. It goes by its name.
    """
    inside = walk(model)
    if not model._trainable_variables and not model._non_trainable_variables:
        return inside
    return [(numbered(str(model.name), [path for path, _ in inside]), model), *inside]


def variables(path: str, layer: keras.Layer) -> Iterator[LayerVariable]:
    """The layer's own variables (not those of layers inside it)."""
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    trained = {id(variable) for variable in layer._trainable_variables}
    quantized = getattr(layer, "quantization_mode", None) is not None
    names: dict[str, int] = {}
    for variable in own:
        names[variable.name] = names.get(variable.name, 0) + 1
        name = variable.name if names[variable.name] == 1 else f"{variable.name}#{names[variable.name]}"
        dims, filter_axis = _axes(layer, variable.name, len(variable.shape))
        frozen = not variable.trainable and (id(variable) in trained or not layer.trainable)
        packed = quantized and not keras.backend.is_float_dtype(
            keras.backend.standardize_dtype(variable.dtype)
        )
        yield LayerVariable(path, name, variable, dims, filter_axis, frozen, packed)


def trainable_parameters(model: keras.Model) -> int:
    """How many numbers a training changes."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


class Names:
    """The name of each variable of a model in the run: `layer/variable`.

    Args:
        model: the model; its layers may be built later.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._known: dict[int, str] = {}

    def __call__(self, variable: Any) -> str:
        """The name of `variable`; Keras' own path where no layer has it."""
        if id(variable) not in self._known:
            for path, layer in layers_of(self._model):
                for own in variables(path, layer):
                    # A wrapper or a tied layer holds another's variable: it goes by the layer that made it.
                    made_here = own.path.split("/")[-2:] == str(own.variable.path).split("/")[-2:]
                    if made_here or id(own.variable) not in self._known:
                        self._known[id(own.variable)] = own.path
        if id(variable) not in self._known:  # no layer of this model has it
            others = [name for name in self._known.values() if name.split("#")[0] == variable.path]
            number = f"#{len(others) + 1}" if others else ""
            self._known[id(variable)] = f"{variable.path}{number}"
        return self._known[id(variable)]


def described(model: keras.Model) -> list[dict[str, Any]]:
    """Every layer of a model, as run.json tells of it."""
    return [
        {
            "path": path,
            "class": type(layer).__name__,
            "trainable": bool(layer.trainable),
            "variables": {v.name: list(v.variable.shape) for v in variables(path, layer)},
        }
        for path, layer in layers_of(model)
    ]


def spatial_dims(count: int) -> tuple[str, ...]:
    """Names for `count` axes in space, such as `("row", "column")`."""
    return _SPACE.get(count, tuple(f"axis_{i}" for i in range(count)))


def _axes(layer: keras.Layer, name: str, rank: int) -> tuple[tuple[str, ...], int]:
    space = spatial_dims(rank - 2) if rank > 2 else ()
    if isinstance(layer, _TRANSPOSED) and name == "kernel":
        return (*space, "filter", "channel"), rank - 2
    if (isinstance(layer, _DEPTHWISE) and name == "kernel") or name == "depthwise_kernel":
        return (*space, "channel", "multiplier"), rank - 2
    convolution = isinstance(layer, CONVOLUTIONS)
    between = tuple(f"axis_{i}" for i in range(1, rank - 1))
    if name.startswith("lora_") and rank > 1:
        if name.endswith("_b"):
            return ("rank", *between, "filter"), rank - 1
        return (*space, "channel", "rank") if convolution else ("channel", *between, "rank"), rank - 1
    if convolution and name in ("kernel", "pointwise_kernel"):
        return (*space, "channel", "filter"), rank - 1
    if name.endswith("kernel") and rank > 1:  # of a recurrent layer, an EinsumDense, ...
        return ("channel", *between, "filter"), rank - 1
    if isinstance(layer, keras.layers.Dense | keras.layers.Embedding) and rank == 2:
        return ("channel", "filter"), 1
    if rank == 1:
        return ("filter",), 0
    return tuple(f"axis_{i}" for i in range(rank)), max(0, rank - 1)


def is_named(path: str, names: Sequence[str]) -> bool:
    """Whether a layer is among those named, or inside of one of them, as a cell is in its LSTM."""
    return any(path == name or path.startswith(f"{name}/") for name in names)


def check_names(model: keras.Model, names: Sequence[str] | None) -> None:
    """Raise when a layer is named that the model does not have.

    Raises:
        ValueError: with the layers that there are.
    """
    paths = [path for path, _ in layers_of(model)]
    for name in names or ():
        if name not in paths:
            raise ValueError(f'No layer "{name}" in this model. It holds: {", ".join(paths)}.')
