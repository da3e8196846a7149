"""What a method may ask of a model, and what it answers: no method knows more of a network than this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Of = Literal["score", "probability"]
Target = int | Sequence[int] | NDArray[np.integer[Any]] | None
"""A class for all images, or one for each; None is the one that scores highest."""
Rule = Literal["gradient", "deconvolution", "guided", "linear"]
"""How a ReLU passes a signal back: as its derivative does; as Zeiler and Fergus do (what is positive); only
where both agree (Springenberg et al.); or as if there were no ReLU."""


class ExplainError(ValueError):
    """What was asked cannot be done with this network; the message says what can."""


@dataclass(frozen=True)
class Prediction:
    """What a network answers.

    Args:
        scores: `(batch, classes)`, before the softmax or sigmoid; of a single sigmoid unit with score s
            the two classes have -s and s.
        probabilities: `(batch, classes)`; the scores again where the network has neither.
    """

    scores: Floats
    probabilities: Floats


@dataclass(frozen=True)
class Explanation:
    """What a method found.

    Args:
        maps: `(batch, *spatial)`, one value for each place of each image; no colours, no scaling.
        classes: `(batch,)`, the class that each map speaks of; empty where it is not about a class.
        about: what else is to be known: the layer and why it was taken, errors, weights, ...
    """

    maps: Floats
    classes: NDArray[np.int64]
    about: dict[str, Any] = field(default_factory=dict)


class Network(Protocol):
    """A trained network that takes images `(batch, *spatial, channels)`, two- or three-dimensional."""

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """`(*spatial, channels)`; None where any size will do."""

    @property
    def score_is(self) -> str:
        """What the scores are, in words."""

    @property
    def gives_probabilities(self) -> bool:
        """Whether what it answers are probabilities; else `Prediction.probabilities` are scores."""

    def predict(self, images: Floats) -> Prediction:
        """What it answers to images."""

    def gradients(
        self, images: Floats, classes: NDArray[np.int64], of: Of = "score", rule: Rule = "gradient"
    ) -> tuple[Floats, Floats]:
        """`(batch,)` the score or probability of each image's class; its gradient, shaped as the images."""

    def layers(self) -> Mapping[str, tuple[int | None, ...]]:
        """The layers that compute something, in their order; `(*spatial, filters)` of what each answers."""

    def default_layer(self) -> tuple[str, str]:
        """The layer that Grad-CAM looks at, and why that one."""

    def activations(self, images: Floats, layer: str) -> Floats:
        """What a layer answers to images, `(batch, *spatial, filters)`."""

    def at_layer(
        self, images: Floats, layer: str, classes: NDArray[np.int64]
    ) -> tuple[Floats, Floats, Floats]:
        """`(batch,)` the score of each image's class; what the layer answers; its gradient by that."""

    def filter_gradients(
        self, images: Floats, layer: str, filters: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """`(batch,)` the mean over space of one filter's answer to each image; its gradient by the image."""

    def pull_back(self, images: Floats, layer: str, signal: Floats, rule: Rule) -> Floats:
        """A signal `(batch, *spatial, filters)` at a layer, brought back to the image."""

    def weights(self) -> Sequence[str]:
        """The layers that have weights, from the input to the output."""

    def kernel(self, layer: str) -> Floats:
        """The kernel of a convolution, `(*grid, channels, filters)`."""

    def shuffled(self, layers: Sequence[str], seed: int) -> AbstractContextManager[None]:
        """While it lasts, the weights of these layers are in random order."""


def chosen_classes(network: Network, images: Floats, target: Target) -> NDArray[np.int64]:
    """The class to explain for each image: the one given, or the one that scores highest.

    Raises:
        ExplainError: there is no such class.
    """
    scores = network.predict(images).scores if target is None else None
    if scores is not None:
        best: NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
        return best
    classes = np.broadcast_to(np.asarray(target, np.int64), (len(images),))
    count = network.predict(images[:1]).scores.shape[1]
    if len(classes) and (classes.min() < 0 or classes.max() >= count):
        wrong = int(classes.min() if classes.min() < 0 else classes.max())
        raise ExplainError(f"Expected a class from 0 to {count - 1}. Received: {wrong}.")
    return classes


def answers_of(
    network: Network, images: Floats, classes: NDArray[np.int64], of: Of = "probability"
) -> Floats:
    """`(batch,)`: the probability, or the score, of each image's class."""
    answer = network.predict(images)
    values: Floats = (answer.scores if of == "score" else answer.probabilities)[
        np.arange(len(images)), classes
    ]
    return values


def check_filters(layer: str, count: int, filters: Any) -> None:
    """Raise unless each of `filters`, one or several, is one of a layer's.

    Raises:
        ExplainError: with those that there are.
    """
    if np.min(filters) < 0 or np.max(filters) >= count:
        raise ExplainError(f'Layer "{layer}" has the filters 0 to {count - 1}. Received: {filters}.')


def checked_images(network: Network, images: Any) -> Floats:
    """Images as a batch of float32.

    Raises:
        ExplainError: they are not `(batch, *spatial, channels)` of the size that the network takes.
    """
    array = np.asarray(images, np.float32)
    shape = network.image_shape
    fits = array.ndim == len(shape) + 1 and all(
        wanted is None or wanted == got for wanted, got in zip(shape, array.shape[1:], strict=True)
    )
    if not fits or not array.size:
        wanted = ", ".join("any" if n is None else str(n) for n in ("batch", *shape))
        raise ExplainError(f"Expected images of shape ({wanted}). Received: {array.shape}.")
    return array


def chosen_layer(network: Network, layer: str | None) -> tuple[str, str]:
    """The layer given, or the network's own choice; and why.

    Raises:
        ExplainError: there is no such layer.
    """
    if layer is None or layer == "auto":
        return network.default_layer()
    known = network.layers()
    if layer not in known:
        raise ExplainError(f'No layer "{layer}" in this model. It has: {", ".join(known)}.')
    return layer, "as asked for"


def spatial_layer(network: Network, layer: str) -> tuple[int | None, ...]:
    """The shape of what a layer answers.

    Raises:
        ExplainError: it answers no maps of as many dimensions as the image.
    """
    shape = network.layers()[layer]
    if len(shape) != len(network.image_shape):
        maps = [name for name, one in network.layers().items() if len(one) == len(network.image_shape)]
        raise ExplainError(
            f'Layer "{layer}" answers no maps but {shape}. Layers with maps: {", ".join(maps)}.'
        )
    return shape


def batches(count: int, size: int) -> list[slice]:
    """`count` things in portions."""
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]
