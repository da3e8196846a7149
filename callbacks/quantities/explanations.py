"""Why the network answers as it does, to a few fixed samples, while it learns."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tensorview_insitu.explain.focus import rank_correlation, share_inside
from tensorview_insitu.explain.methods import OF_A_LAYER, WITHOUT_CLASS, method_named
from tensorview_insitu.explain.network import Explanation, Floats, Target
from tensorview_insitu.explain.walk import walk
from tensorview_insitu.run import layout
from tensorview_insitu.run.rows import Block, Rows

from ..layers import check_names, spatial_dims
from ..probe import check_probe
from ..schedule import Every
from .frozen import array, freeze, frozen
from .quantity import Probed


@dataclass(frozen=True, eq=False, init=False)
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

    method: str
    probe: NDArray[np.float32] = field(repr=False)
    every: Every
    mask: NDArray[np.float32] | None = field(repr=False)
    name: str
    map_size: int
    settings: dict[str, Any]

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
        samples = array(probe, np.float32)
        if samples.ndim < 3 or not samples.size:
            raise ValueError(
                "Expected probe to be one or more samples, (samples, *spatial, channels). "
                f"Received: an array of shape {samples.shape}."
            )
        if map_size < 1:
            raise ValueError(f"Expected map_size >= 1. Received: map_size={map_size}.")
        inside = None if mask is None else array(mask, np.float32)
        if inside is not None:
            share_inside(np.zeros(samples.shape[:-1], np.float32), inside)
        if method in OF_A_LAYER:
            settings["layer"] = layer
        if method not in WITHOUT_CLASS:
            settings["target"] = target
        _network, _images, *known = inspect.signature(method_named(method)).parameters
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(f"Expected settings of {method}: {', '.join(known)}. Received: {unknown[0]}=...")
        freeze(self, method=method, probe=samples, every=every, mask=inside, name=name or method)
        freeze(self, map_size=map_size, settings=frozen(settings))
        self.__post_init__()

    @property
    def label(self) -> str:
        """Several may be recorded, each under a name of its own."""
        return f"Explanations called {self.name}"

    @property
    def stride(self) -> int:
        """Of the rows and columns of a map every so-many-th is kept."""
        return int(max([1, *(-(-n // self.map_size) for n in self.probe.shape[1:-1])]))

    def check(self, model: keras.Model) -> None:
        """Raise a ValueError when `model` lacks the layer that is named, or cannot take the probe."""
        layer = str(self.settings.get("layer") or "auto")
        paths = [path for path, _ in walk(model)]
        # `path@2` is the second call of a shared layer.
        if layer != "auto" and layer.rpartition("@")[0] not in paths:
            check_names(model, [layer])
        check_probe(model, self.probe, exact=True)

    def begin(self, model: keras.Model) -> Callable[[int], Block]:
        """What gives the rows of one moment.

        Raises:
            ExplainError: the method is not defined for this model; also when it is asked.
        """
        return _Maps(self, model).take


class _Maps:
    """The maps of one model in one run: each knows the one before."""

    def __init__(self, quantity: Explanations, model: keras.Model) -> None:
        from tensorview_insitu.explain.keras_network import KerasNetwork

        self._quantity = quantity
        self._network = KerasNetwork(model)
        self._explain = method_named(quantity.method)
        self._last: Floats | None = None
        self._answer = ""  # what the numbers of a class are: its probability, or its score
        self._images_taken = False

    def take(self, step: int) -> dict[str, Rows]:
        """The rows of one moment."""
        name, probe, stride = self._quantity.name, self._quantity.probe, self._quantity.stride
        found = self._explain(self._network, probe, **self._quantity.settings)
        at = np.array([step], np.int64)
        shown = found.maps[(slice(None), *[slice(None, None, stride)] * (found.maps.ndim - 1))]
        dims = ["snapshot", "sample", *spatial_dims(found.maps.ndim - 1)]
        about: dict[str, Any] = {"dims": dims, "method": self._quantity.method, "stride": stride}
        if "layer" in found.about:
            about["layer"] = [found.about["layer"], found.about["layer_why"]]
        if "score" in found.about:
            about["score"] = found.about["score"]
        columns, row = self._focus(found)
        block = {
            layout.explanation_dataset(name, "maps"): Rows(at, shown[None], about),
            layout.explanation_dataset(name, "focus"): Rows(at, row[None], {"columns": columns}),
        }
        if not self._images_taken:
            self._images_taken = True
            strided = (slice(None), *[slice(None, None, stride)] * (probe.ndim - 2))
            images = {"dims": [*dims, "channel"], "stride": stride}
            block[layout.explanation_dataset(name, "images")] = Rows(at, probe[strided][None], images)
        self._last = found.maps
        return block

    def _focus(self, found: Explanation) -> tuple[list[str], NDArray[np.float64]]:
        columns, values = [], []
        mask = self._quantity.mask
        probabilities = self._network.predict(self._quantity.probe).probabilities
        if not self._answer:  # once: a table has the same columns to its end
            self._answer = "probability" if self._network.gives_probabilities else "score"
        inside = share_inside(found.maps, mask) if mask is not None else None
        for sample in range(len(self._quantity.probe)):
            if found.classes.size:
                chosen = int(found.classes[sample])
                columns += [f"class_{sample}", f"{self._answer}_{sample}"]
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
