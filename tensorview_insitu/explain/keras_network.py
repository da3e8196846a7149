"""`Network` over any Keras model, with TensorFlow: the one door of the explanations to a backend.

Each question is traced once into a `tf.function` that takes any number of images. Layers are heard while
the model is traced, so that those of nested, shared and subclassed models are found alike; softmax and
sigmoid are found in the traced graph, whatever put them there, and the score is what goes into them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow
from numpy.typing import NDArray

from tensorview_insitu.explain.hearing import FiltersLast, has_answers, hearing
from tensorview_insitu.explain.network import (
    ExplainError,
    Floats,
    Of,
    Prediction,
    Rule,
    batches,
)
from tensorview_insitu.explain.relu_rules import operations_between, ruling, signal_back
from tensorview_insitu.explain.untouched import Written, as_they_were, random_as_it_was, written_by
from tensorview_insitu.explain.walk import walk

_AT_A_TIME = 2
_MEMORY = (1536 << 20) // _AT_A_TIME  # of the answers of all layers to one batch, and their gradients
_MOST_IMAGES = 32
_UNBENT = ("Identity", "Cast")
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_POOLING = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
)


@dataclass(frozen=True)
class _Pass:
    """One traced forward pass."""

    scores: Any
    probabilities: Any
    heard: dict[str, Any]
    ending: str  # the operation that makes probabilities of scores, or ""


@dataclass(frozen=True)
class _Facts:
    """What one trace tells of a model."""

    layers: dict[str, tuple[int | None, ...]]
    connected: list[str]  # those whose answers the scores depend on
    ending: str
    of_regions: bool  # whether the output has a place for each pixel


@dataclass(frozen=True)
class _Function:
    """A traced question, and the variables that the model may write while it is asked."""

    traced: Any
    written: list[Written]


class KerasNetwork:
    """A Keras model to be explained; it is not changed, and what it learns meanwhile is seen.

    Args:
        model: any: functional, sequential, subclassed, nested at any depth.
        output: of a model with several, which one: its number, or its name in a dict.
        image: of a model with several inputs, which one is explained: its number or its name.
        others: what the other inputs get for every image: by name, or in their order; `(1, ...)` each.
        region: `(*spatial)`, of a model that answers with a picture: which of its pixels are summed up
            (weights); by default all.
        image_shape: `(*spatial, channels)`, for a model that does not know it.
        batch_size: how many images go through the model at once; by default what takes some 1.5 GB.

    Raises:
        ExplainError: the backend is not TensorFlow; an output or input has to be chosen, or is not there.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        output: int | str | None = None,
        image: int | str = 0,
        others: Mapping[str, Any] | Sequence[Any] = (),
        region: Any = None,
        image_shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ExplainError(
                "Explanations need Keras on TensorFlow (KERAS_BACKEND=tensorflow). "
                f"Received: {keras.backend.backend()}."
            )
        self.model = model
        self._output, self._image = output, image
        self._place = image if isinstance(image, int) else 0
        named = isinstance(others, Mapping)
        self._other_names = list(others) if named else None
        values = [others[name] for name in others] if isinstance(others, Mapping) else list(others)
        self._others = [tf.convert_to_tensor(value) for value in values]
        self._region = None if region is None else np.asarray(region, np.float32)
        self._shape = tuple(image_shape) if image_shape is not None else self._known_shape()
        self._batch_size = batch_size
        self._functions: dict[tuple[Any, ...], _Function] = {}
        self._filters_last = FiltersLast(model)
        self._known: _Facts | None = None
        self._looks_bent = False
        self.traces = 0

    # ---- what is known of the model

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """`(*spatial, channels)`; None where any size will do."""
        return self._shape

    def _known_shape(self) -> tuple[int | None, ...]:
        inputs = getattr(self.model, "inputs", None)
        if inputs:
            names = [tensor.name for tensor in inputs]
            if isinstance(self._image, str) and self._image not in names:
                raise ExplainError(f'No input "{self._image}" in this model. It has: {", ".join(names)}.')
            number = names.index(self._image) if isinstance(self._image, str) else self._image
            self._place = number
            if len(inputs) != 1 + len(self._others):
                raise ExplainError(
                    f"This model has the inputs {', '.join(names)}. Expected others= to give all but "
                    f"the image, {len(inputs) - 1}. Received: {len(self._others)}."
                )
            return tuple(inputs[number].shape[1:])
        shapes = getattr(self.model, "_build_shapes_dict", None) or {}
        known = next(iter(shapes.values()), None)
        if (
            known is None
            or not isinstance(known, list | tuple)
            or not all(n is None or isinstance(n, int) for n in known)
        ):
            raise ExplainError(
                "This model does not know the shape of its images: pass image_shape=(224, 224, 3)."
            )
        return tuple(known[1:])

    @property
    def score_is(self) -> str:
        """What the scores are, in words."""
        ending = self._facts().ending
        if ending:
            return f"the {'logit' if ending == 'Sigmoid' else 'score'} before the {ending.lower()}"
        if self._looks_bent:
            return "the model's output as it is: it sums to one, but no softmax was found to pass by"
        return "the model's output as it is; it has no softmax or sigmoid"

    @property
    def gives_probabilities(self) -> bool:
        """Whether its answers come out of a softmax or sigmoid, or sum to one."""
        return bool(self._facts().ending) or self._looks_bent

    def layers(self) -> Mapping[str, tuple[int | None, ...]]:
        """The layers that compute something, in their order; `(*spatial, filters)` of what each answers."""
        return self._facts().layers

    def default_layer(self) -> tuple[str, str]:
        """The last layer with maps before the answer; where that is a picture, the last of the smallest maps.

        Raises:
            ExplainError: no layer answers maps.
        """
        facts = self._facts()
        kinds = dict(walk(self.model))
        maps = {
            name: int(np.prod([n or 1 << 10 for n in shape[:-1]]))
            for name, shape in facts.layers.items()
            if len(shape) == len(self._shape)
            and name in facts.connected
            and not isinstance(kinds[_without_call(name, kinds)], _POOLING)
        }
        maps = {name: places for name, places in maps.items() if places > 1}
        if not maps:
            raise ExplainError("No layer of this model answers maps, as a convolution does: pass layer=...")
        if facts.of_regions:
            smallest = min(maps.values())
            name = [one for one, places in maps.items() if places == smallest][-1]
            return name, f"the last of those with the smallest maps, of {len(maps)} layers with maps"
        name = list(maps)[-1]
        return name, f"the last of {len(maps)} layers with maps, pooling apart"

    def _facts(self) -> _Facts:
        if self._known is None:
            found: list[_Facts] = []

            def look(images: Any, *others: Any) -> Any:
                forward = self._forward(images, others)
                upstream = set(operations_between(images, forward.scores))
                output = self._chosen(forward.heard.pop(""))
                shapes = {
                    name: tuple(self._filters_last(name, answer).shape[1:])
                    for name, answer in forward.heard.items()
                }
                connected = [name for name, answer in forward.heard.items() if answer.op in upstream]
                found.append(_Facts(shapes, connected, forward.ending, len(output.shape) > 2))
                return forward.scores

            self._function(("facts",), look)
            self._known = found[-1]
        return self._known

    # ---- tracing

    def _function(self, key: tuple[Any, ...], build: Callable[..., Any], *more: Any) -> _Function:
        """The traced function for a question; made when it is asked for the first time."""
        if key not in self._functions:
            signature = [
                tf.TensorSpec((None, *self._shape), tf.float32),
                *more,
                *[tf.TensorSpec(other.shape, other.dtype) for other in self._others],
            ]

            def counted(*arguments: Any) -> Any:
                self.traces += 1
                return build(*arguments)

            traced = tf.function(counted, input_signature=signature, autograph=False)
            with random_as_it_was():
                concrete = traced.get_concrete_function()
            self._functions[key] = _Function(concrete, written_by(concrete))
        return self._functions[key]

    def _forward(self, images: Any, others: Sequence[Any], rule: Rule = "gradient") -> _Pass:
        heard: dict[str, Any] = {}
        with ruling(rule), hearing(self.model, _computes, heard.__setitem__):
            arguments = self._arguments(images, others)
            if self.model._call_has_training_arg:
                outputs = self.model(arguments, training=False)
            else:
                outputs = self.model(arguments)
        heard[""] = outputs
        output = self._chosen(outputs)
        scores, probabilities, ending = _ending(output)
        if len(output.shape) > 2:
            space = list(range(1, len(output.shape) - 1))
            region = tf.ones_like(scores[..., :1]) if self._region is None else self._weights(scores)
            probabilities = tf.reduce_sum(probabilities * region, space) / tf.reduce_sum(region, space)
            scores = tf.reduce_sum(scores * region, space)
        return _Pass(scores, probabilities, heard, ending)

    def _weights(self, scores: Any) -> Any:
        assert self._region is not None
        wanted = tuple(scores.shape[1:-1])
        if len(wanted) != self._region.ndim or any(
            n not in (None, m) for n, m in zip(wanted, self._region.shape, strict=True)
        ):
            raise ExplainError(
                f"Expected region to be of the output's shape {wanted}. Received: {self._region.shape}."
            )
        return tf.ones_like(scores[..., :1]) * self._region[None, ..., None]

    def _arguments(self, images: Any, others: Sequence[Any]) -> Any:
        if not others:
            return {self._image: images} if isinstance(self._image, str) else images
        count = tf.shape(images)[0]
        repeated = [tf.repeat(other, count, axis=0) for other in others]
        if self._other_names is not None:
            name = self._image if isinstance(self._image, str) else self.model.inputs[self._image].name
            return {name: images, **dict(zip(self._other_names, repeated, strict=True))}
        repeated.insert(self._place, images)
        return repeated

    def _chosen(self, outputs: Any) -> Any:
        if isinstance(outputs, Mapping):
            if len(outputs) == 1 and self._output is None:
                return next(iter(outputs.values()))
            if self._output not in outputs:
                raise ExplainError(
                    f"Expected output= to be one of {', '.join(outputs)}. Received: {self._output}."
                )
            return outputs[self._output]
        if isinstance(outputs, list | tuple):
            if len(outputs) == 1 and self._output is None:
                return outputs[0]
            names = list(getattr(self.model, "output_names", range(len(outputs))))
            number = names.index(self._output) if self._output in names else self._output
            if not isinstance(number, int) or not 0 <= number < len(outputs):
                raise ExplainError(
                    f"Expected output= to be a number below {len(outputs)}, or one of "
                    f"{', '.join(map(str, names))}. Received: {self._output}."
                )
            return outputs[number]
        return outputs

    def _heard(self, forward: _Pass, layer: str) -> Any:
        if layer not in forward.heard:
            raise ExplainError(f'No layer "{layer}" in this model. It has: {", ".join(self.layers())}.')
        return forward.heard[layer]

    def _run(self, function: _Function, images: Floats, *more: Any) -> list[Floats]:
        def ask(part: slice) -> list[Floats]:
            answer = function.traced(
                tf.constant(images[part], tf.float32),
                *[tf.constant(one[part]) for one in more],
                *self._others,
            )
            return [np.asarray(one, np.float32) for one in answer]

        parts = list(batches(len(images), self._at_once(images)))
        with as_they_were(function.written):
            if len(parts) == 1:
                return ask(parts[0])
            # Two at a time: one computes where the other has nothing for all cores.
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                return [np.concatenate(column) for column in zip(*pool.map(ask, parts), strict=True)]

    def _at_once(self, images: Floats) -> int:
        if self._batch_size is None:
            filled = zip(images.shape[1:], self._shape, strict=True)
            scale = float(np.prod([got for got, known in filled if known is None], dtype=float))
            values = sum(float(np.prod([n or 1 for n in shape])) for shape in self.layers().values())
            self._batch_size = int(np.clip(_MEMORY / (12 * values * scale + 1), 1, _MOST_IMAGES))
        return self._batch_size

    # ---- what the methods ask

    def predict(self, images: Floats) -> Prediction:
        """What it answers to images."""

        def build(images: Any, *others: Any) -> Any:
            forward = self._forward(images, others)
            return forward.scores, forward.probabilities

        scores, probabilities = self._run(self._function(("predict",), build), images)
        self._looks_bent = not self._facts().ending and bool(
            scores.shape[1] > 1 and np.allclose(scores.sum(axis=1), 1, atol=1e-4) and scores.min() >= 0
        )
        return Prediction(scores, probabilities)

    def gradients(
        self, images: Floats, classes: NDArray[np.int64], of: Of = "score", rule: Rule = "gradient"
    ) -> tuple[Floats, Floats]:
        """The score or probability of each image's class, and its gradient by the image."""

        def build(images: Any, classes: Any, *others: Any) -> Any:
            forward = self._forward(images, others, rule)
            values = tf.gather(
                forward.scores if of == "score" else forward.probabilities, classes, batch_dims=1
            )
            return values, signal_back(values, images, rule)

        function = self._function(("gradients", of, rule), build, _PER_IMAGE)
        values, gradients = self._run(function, images, classes)
        return values, gradients

    def activations(self, images: Floats, layer: str) -> Floats:
        """What a layer answers to images, `(batch, *spatial, filters)`."""

        def build(images: Any, *others: Any) -> Any:
            answer = self._heard(self._forward(images, others), layer)
            return (tf.cast(self._filters_last(layer, answer), tf.float32),)

        return self._run(self._function(("activations", layer), build), images)[0]

    def at_layer(
        self, images: Floats, layer: str, classes: NDArray[np.int64]
    ) -> tuple[Floats, Floats, Floats]:
        """The score of each image's class; what the layer answers; the score's gradient by that."""

        def build(images: Any, classes: Any, *others: Any) -> Any:
            forward = self._forward(images, others)
            values = tf.gather(forward.scores, classes, batch_dims=1)
            answer = self._heard(forward, layer)
            gradient = tf.gradients(values, answer)[0]
            if gradient is None:
                raise ExplainError(f'The score does not depend on what layer "{layer}" answers.')
            return values, self._filters_last(layer, answer), self._filters_last(layer, gradient)

        values, answers, gradients = self._run(
            self._function(("at_layer", layer), build, _PER_IMAGE), images, classes
        )
        return values, answers, gradients

    def filter_gradients(
        self, images: Floats, layer: str, filters: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """The mean over space of one filter's answer to each image, and its gradient by the image."""

        def build(images: Any, filters: Any, *others: Any) -> Any:
            answer = self._filters_last(layer, self._heard(self._forward(images, others), layer))
            means = tf.reduce_mean(answer, list(range(1, len(answer.shape) - 1)))
            values = tf.gather(means, filters, batch_dims=1)
            return values, signal_back(values, images, "gradient")

        values, gradients = self._run(self._function(("filter", layer), build, _PER_IMAGE), images, filters)
        return values, gradients

    def pull_back(self, images: Floats, layer: str, signal: Floats, rule: Rule) -> Floats:
        """A signal `(batch, *spatial, filters)` at a layer, brought back to the image."""

        def build(images: Any, signal: Any, *others: Any) -> Any:
            answer = self._filters_last(layer, self._heard(self._forward(images, others, rule), layer))
            return (signal_back(answer, images, rule, tf.cast(signal, answer.dtype)),)

        of_signal = tf.TensorSpec((None, *self.layers()[layer]), tf.float32)
        return self._run(self._function(("pull", layer, rule), build, of_signal), images, signal)[0]

    def weights(self) -> Sequence[str]:
        """The layers that have weights, from the input to the output."""
        kinds = dict(walk(self.model))
        return [name for name in self.layers() if name in kinds and kinds[name].trainable_variables]

    def kernel(self, layer: str) -> Floats:
        """The kernel of a convolution, `(*grid, channels, filters)`; a depthwise one has one channel.

        Raises:
            ExplainError: the layer has none.
        """
        kinds = dict(walk(self.model))
        found = kinds.get(_without_call(layer, kinds))
        kernels = [v for v in getattr(found, "_trainable_variables", []) if v.name.endswith("kernel")]
        kernels += [v for v in getattr(found, "_non_trainable_variables", []) if v.name.endswith("kernel")]
        if not kernels or len(kernels[0].shape) != len(self._shape) + 1:
            raise ExplainError(f'Layer "{layer}" has no kernel with a grid, as a convolution has.')
        values = np.asarray(kernels[0], np.float32)
        if isinstance(found, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
            return values.reshape(*values.shape[:-2], 1, -1)
        if isinstance(found, _TRANSPOSED):
            return np.swapaxes(values, -1, -2)
        return values

    @contextlib.contextmanager
    def shuffled(self, layers: Sequence[str], seed: int) -> Iterator[None]:
        """While it lasts, the weights of these layers are in random order."""
        kinds = dict(walk(self.model))
        rng = np.random.default_rng(seed)
        kept = [(v, np.array(v)) for name in layers for v in kinds[name].trainable_variables]
        try:
            for variable, values in kept:
                variable.assign(rng.permutation(values.ravel()).reshape(values.shape))
            yield
        finally:
            for variable, values in kept:
                variable.assign(values)


_PER_IMAGE = tf.TensorSpec((None,), tf.int64)


def _without_call(name: str, paths: Collection[str]) -> str:
    """The path of the layer, of which `path@2` is the second call."""
    return name if name in paths else name.rsplit("@", 1)[0]


def _computes(path: str, layer: keras.Layer) -> bool:
    return has_answers(layer)


def _ending(output: Any) -> tuple[Any, Any, str]:
    """Scores and probabilities `(batch, ..., classes)`, and what makes the one of the other."""
    tensor = output
    while tensor.op.type in _UNBENT and len(tensor.op.inputs) == 1:
        tensor = tensor.op.inputs[0]
    ending = tensor.op.type if tensor.op.type in ("Softmax", "Sigmoid") else ""
    scores = tf.cast(tensor.op.inputs[0] if ending else output, tf.float32)
    probabilities = tf.cast(output, tf.float32)
    if len(scores.shape) == 1:
        scores, probabilities = scores[:, None], probabilities[:, None]
    if ending == "Sigmoid" and scores.shape[-1] == 1:
        scores = tf.concat([-scores, scores], axis=-1)
        probabilities = tf.concat([1 - probabilities, probabilities], axis=-1)
    return scores, probabilities, ending
