"""The methods that give each image a map of the class it speaks for, by name."""

from __future__ import annotations

from collections.abc import Callable

from tensorview_insitu.explain.deconvolution import deconvolution, guided_backpropagation
from tensorview_insitu.explain.grad_cam import (
    grad_cam,
    grad_cam_plus_plus,
    guided_grad_cam,
    tutorial_grad_cam,
)
from tensorview_insitu.explain.integrated_gradients import integrated_gradients
from tensorview_insitu.explain.lime import lime
from tensorview_insitu.explain.meaningful_perturbation import meaningful_perturbation
from tensorview_insitu.explain.network import ExplainError, Explanation
from tensorview_insitu.explain.occlusion import occlusion
from tensorview_insitu.explain.rise import rise
from tensorview_insitu.explain.saliency import gradient_times_input, saliency, smooth_grad

Method = Callable[..., Explanation]

METHODS: dict[str, Method] = {
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "guided_grad_cam": guided_grad_cam,
    "tutorial_grad_cam": tutorial_grad_cam,
    "saliency": saliency,
    "smooth_grad": smooth_grad,
    "gradient_times_input": gradient_times_input,
    "integrated_gradients": integrated_gradients,
    "guided_backpropagation": guided_backpropagation,
    "deconvolution": deconvolution,
    "occlusion": occlusion,
    "lime": lime,
    "rise": rise,
    "meaningful_perturbation": meaningful_perturbation,
}

OF_A_LAYER = ("grad_cam", "grad_cam_plus_plus", "guided_grad_cam", "tutorial_grad_cam", "deconvolution")
"""Those that look at one layer, and take `layer=`."""

WITHOUT_CLASS = ("deconvolution",)
"""Those that are about a filter, and take no `target`."""

SIGNED = ("gradient_times_input", "integrated_gradients", "occlusion", "lime")
"""Those whose maps speak against a class where they are negative."""


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        ExplainError: there is none; with those that there are.
    """
    if name not in METHODS:
        raise ExplainError(f'No method "{name}". There are: {", ".join(METHODS)}.')
    return METHODS[name]
