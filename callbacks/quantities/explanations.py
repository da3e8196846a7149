"""Why the network answers as it does, to a few fixed samples, while it learns."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.focus import rank_correlation, share_inside
from tensorview_insitu.explain.methods import OF_A_LAYER, WITHOUT_CLASS, method_named
from tensorview_insitu.explain.network import Explanation, Floats, Target
from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Rows

from ..layers import spatial_dims
from ..schedule import Every
from .quantity import Probed


class Explanations(Probed):
    """Maps of fixed samples by one method, at every epoch or as seldom as you say.

    With each map go the class it speaks of, the probability of that class, the rank correlation with the
    map before (`drift`: 1 where nothing moved), and the share of the map within a mask. The training waits
    meanwhile: Grad-CAM of 8 samples costs some two forward passes of them, LIME a thousand each.
    The samples themselves go into the run: mind whose images they are.

    Args:
        method: its name, as in `tensorview_insitu.explain.METHODS`: `"grad_cam"`, `"saliency"`, ...
        probe: `(samples, *spatial, channels)` as `predict` takes them.
        every: `"epoch"`, `"batch"`, a number of batches, or a schedule.
        layer: of Grad-CAM and its like: the layer's path; `"auto"` takes the last one with maps.
        target: the class to explain: one for all samples, or one for each; None takes what the network
            says at that moment, so that a map may change because the class did.
        mask: `(*spatial)` or `(samples, *spatial)`, 1 where the map should lie (the lung), or should not.
        name: what it is called in the run; by default as the method.
        map_size: the most rows and columns of a recorded map: of a larger one every n-th is kept.
        **settings: of the method.

    Raises:
        ValueError: no such method; the probe is empty; the mask has another shape.
    """

    def __init__(
        self,
        method: str,
        probe: Any,
        every: Every = "epoch",
        *,
        layer: str = "auto",
        target: Target = None,
        mask: Any = None,
        name: str | None = None,
        map_size: int = 128,
        **settings: Any,
    ) -> None:
        super().__init__(every)
        self.method = method
        self._explain = method_named(method)
        self.probe = np.asarray(probe, np.float32)
        if self.probe.ndim < 3 or not self.probe.size:
            raise ValueError(
                "Expected probe to be one or more samples, (samples, *spatial, channels). "
                f"Received: an array of shape {self.probe.shape}."
            )
        if map_size < 1:
            raise ValueError(f"Expected map_size >= 1. Received: map_size={map_size}.")
        self.mask = None if mask is None else np.asarray(mask, np.float32)
        if self.mask is not None:
            share_inside(np.zeros(self.probe.shape[:-1], np.float32), self.mask)
        self.name = name or method
        self._settings = dict(settings)
        if method in OF_A_LAYER:
            self._settings["layer"] = layer
        if method not in WITHOUT_CLASS:
            self._settings["target"] = target
        self._stride = max(1, *(-(-n // map_size) for n in self.probe.shape[1:-1]))
        self._network: Any = None
        self._last: Floats | None = None
        self._images_taken = False

    def take(self, model: keras.Model, step: int) -> dict[str, Rows]:
        """The rows of one moment.

        Raises:
            ExplainError: the method is not defined for this model.
        """
        from tensorview_insitu.explain.keras_network import KerasNetwork

        if self._network is None or self._network.model is not model:
            self._network, self._last = KerasNetwork(model), None
        found = self._explain(self._network, self.probe, **self._settings)
        at = np.array([step], np.int64)
        shown = found.maps[(slice(None), *[slice(None, None, self._stride)] * (found.maps.ndim - 1))]
        dims = ["snapshot", "sample", *spatial_dims(found.maps.ndim - 1)]
        about: dict[str, Any] = {"dims": dims, "method": self.method, "stride": self._stride}
        if "layer" in found.about:
            about["layer"] = [found.about["layer"], found.about["layer_why"]]
        if "score" in found.about:
            about["score"] = found.about["score"]
        columns, row = self._focus(found)
        block = {
            layout.explanation_dataset(self.name, "maps"): Rows(at, shown[None], about),
            layout.explanation_dataset(self.name, "focus"): Rows(at, row[None], {"columns": columns}),
        }
        if not self._images_taken:
            self._images_taken = True
            strided = (slice(None), *[slice(None, None, self._stride)] * (self.probe.ndim - 2))
            images = {"dims": [*dims, "channel"], "stride": self._stride}
            block[layout.explanation_dataset(self.name, "images")] = Rows(
                at, self.probe[strided][None], images
            )
        self._last = found.maps
        return block

    def _focus(self, found: Explanation) -> tuple[list[str], NDArray[np.float64]]:
        columns, values = [], []
        probabilities = self._network.predict(self.probe).probabilities
        inside = share_inside(found.maps, self.mask) if self.mask is not None else None
        for sample in range(len(self.probe)):
            if found.classes.size:
                chosen = int(found.classes[sample])
                columns += [f"class_{sample}", f"probability_{sample}"]
                values += [float(chosen), float(probabilities[sample, chosen])]
            columns.append(f"drift_{sample}")
            before = self._last
            values.append(
                rank_correlation(before[sample], found.maps[sample]) if before is not None else np.nan
            )
            if inside is not None:
                columns.append(f"inside_{sample}")
                values.append(float(inside[sample]))
        return columns, np.array(values)
