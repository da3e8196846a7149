"""Why did the network answer so? One method per file, each a function of arrays over a `Network`.

Example:
    >>> from tensorview_insitu.explain import KerasNetwork, grad_cam
    >>> found = grad_cam(KerasNetwork(model), images)     # doctest: +SKIP
    >>> found.maps.shape                                  # doctest: +SKIP
    (8, 224, 224)
"""

from typing import TYPE_CHECKING, Any

from tensorview_insitu.explain.activation_maps import activation_maps, dead_filters
from tensorview_insitu.explain.activation_maximization import maximize_class, maximize_filter
from tensorview_insitu.explain.deconvolution import deconvolution, guided_backpropagation
from tensorview_insitu.explain.exciting_images import exciting_images
from tensorview_insitu.explain.filter_kernels import filter_kernels
from tensorview_insitu.explain.focus import rank_correlation, share_inside
from tensorview_insitu.explain.grad_cam import (
    grad_cam,
    grad_cam_plus_plus,
    guided_grad_cam,
    tutorial_grad_cam,
)
from tensorview_insitu.explain.integrated_gradients import integrated_gradients
from tensorview_insitu.explain.lime import lime
from tensorview_insitu.explain.meaningful_perturbation import meaningful_perturbation
from tensorview_insitu.explain.methods import METHODS
from tensorview_insitu.explain.network import ExplainError, Explanation, Network
from tensorview_insitu.explain.occlusion import occlusion
from tensorview_insitu.explain.randomization import randomization_check
from tensorview_insitu.explain.rise import rise
from tensorview_insitu.explain.saliency import gradient_times_input, saliency, smooth_grad
from tensorview_insitu.explain.scores import deletion_curve, insertion_curve

if TYPE_CHECKING:
    from tensorview_insitu.explain.keras_network import KerasNetwork as KerasNetwork

__all__ = [
    "METHODS",
    "ExplainError",
    "Explanation",
    "KerasNetwork",
    "Network",
    "activation_maps",
    "dead_filters",
    "deconvolution",
    "deletion_curve",
    "exciting_images",
    "filter_kernels",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_times_input",
    "guided_backpropagation",
    "guided_grad_cam",
    "insertion_curve",
    "integrated_gradients",
    "lime",
    "maximize_class",
    "maximize_filter",
    "meaningful_perturbation",
    "occlusion",
    "randomization_check",
    "rank_correlation",
    "rise",
    "saliency",
    "share_inside",
    "smooth_grad",
    "tutorial_grad_cam",
]


# The methods need numpy only; the network needs a backend, and is looked up on first use.
def __getattr__(name: str) -> Any:
    if name == "KerasNetwork":
        from tensorview_insitu.explain.keras_network import KerasNetwork

        return KerasNetwork
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
