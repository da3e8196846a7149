"""A network whose explanations are known in closed form: `scores = images . weights + bias`."""

import contextlib

import numpy as np

from tensorview_insitu.explain.network import Prediction


class LinearNetwork:
    """Scores linear in the pixels; its one layer, `copy`, answers the image itself.

    Args:
        weights: `(classes, *spatial, channels)`.
        bias: `(classes,)`.
        squashed: whether probabilities are the softmax of the scores, or the scores themselves.
    """

    score_is = "a linear function"
    gives_probabilities = False

    def __init__(self, weights, bias=0.0, *, squashed=True):
        self.table = np.asarray(weights, np.float32)
        self.bias = np.broadcast_to(np.asarray(bias, np.float32), len(self.table))
        self.squashed = squashed
        self.images_seen = 0

    @property
    def image_shape(self):
        return self.table.shape[1:]

    def predict(self, images):
        self.images_seen += len(images)
        scores = np.tensordot(images, self.table, axes=[range(1, images.ndim)] * 2) + self.bias
        if not self.squashed:
            return Prediction(scores, scores)
        grown = np.exp(scores - scores.max(axis=1, keepdims=True))
        return Prediction(scores, grown / grown.sum(axis=1, keepdims=True))

    def gradients(self, images, classes, of="score", rule="gradient"):
        answer = self.predict(images)
        at = np.arange(len(images)), classes
        if of == "score" or not self.squashed:
            return answer.scores[at], self.table[classes]
        mean = np.tensordot(answer.probabilities, self.table, axes=1)
        p = answer.probabilities[at]
        return p, p.reshape(-1, *[1] * (images.ndim - 1)) * (self.table[classes] - mean)

    def layers(self):
        return {"copy": self.image_shape}

    def default_layer(self):
        return "copy", "the only one"

    def activations(self, images, layer):
        return images

    def at_layer(self, images, layer, classes):
        return self.gradients(images, classes)[0], images, self.table[classes]

    def filter_gradients(self, images, layer, filters):
        space = tuple(range(1, images.ndim - 1))
        values = images.mean(axis=space)[np.arange(len(images)), filters]
        gradients = np.zeros_like(images)
        for one, filter_ in zip(gradients, filters, strict=True):
            one[..., filter_] = 1 / np.prod(images.shape[1:-1])
        return values, gradients

    def kernel(self, layer):
        return np.zeros((1,) * (len(self.image_shape) - 1) + (self.image_shape[-1], self.image_shape[-1]))

    def pull_back(self, images, layer, signal, rule):
        return signal

    def weights(self):
        return ["copy"]

    @contextlib.contextmanager
    def shuffled(self, layers, seed):
        kept = self.table
        flat = np.random.default_rng(seed).permutation(kept.ravel())
        self.table = flat.reshape(kept.shape)
        try:
            yield
        finally:
            self.table = kept
