"""What parts of an export each view is drawn from: where one failed, its views say so."""

from __future__ import annotations

import re

from tensorview_insitu.index import Index

from .settings import Settings

_KERNEL = r"layers/.*kernel"
_CURVES = (r"data/(epochs|metrics)", r"tables/epochs.*", "curve")
_NORMS = (r"(data/)?gradient_norms",)

DRAWN_FROM: dict[str, tuple[str, ...]] = {
    "dashboard": (*_CURVES, *_NORMS, _KERNEL, f"{_KERNEL}/(sheets|grids)", "feature_maps/.*"),
    "training_curve_3d": _CURVES,
    "training_curves": _CURVES,
    "kernel_propagation": (_KERNEL, f"{_KERNEL}/sheets"),
    "kernel_grids": (_KERNEL, f"{_KERNEL}/grids"),
    "biases": (r"layers/.*bias(/sheets)?",),
    "weight_trajectory": (_KERNEL, f"{_KERNEL}/trajectory", "data/batches"),
    "feature_maps": ("feature_maps/.*", "tables/dead_filters"),
    "explanation": ("explanations/.*",),
    "explanation_grid": ("explanations/.*", "explanation_grid"),
    "network": ("network", _KERNEL, "data/gradient_norms"),
    "gradient_norms": (*_NORMS, "data/epochs"),
    "layer_health": (
        r"health/.*",
        r"data/.*norms",
        "data/epochs",
        r"layers/.*/(?!sheets|grids|traj|distr)[^/]*",
    ),
    "distributions": (r"layers/.*/(?!sheets|grids|trajectory)[^/]*",),
    "quantities": ("quantities.*",),
    "compare": ("comparison/.*",),
}
"""Patterns of the names of parts (`tensorview_insitu.export.parts`), by view."""

_OF_ONE_LAYER = (
    "kernel_propagation",
    "kernel_grids",
    "biases",
    "weight_trajectory",
    "feature_maps",
    "distributions",
)


def failed_parts(view: str, index: Index, settings: Settings) -> dict[str, str]:
    """Of the parts that failed, those that the view would be drawn from, with the reasons."""
    patterns = [re.compile(pattern) for pattern in DRAWN_FROM[view]]
    found = {
        part: why
        for part, why in index["failed"].items()
        if any(pattern.fullmatch(part) for pattern in patterns)
    }
    if settings.layer is not None and view in _OF_ONE_LAYER:
        own = (f"layers/{settings.layer}/", f"feature_maps/{settings.layer}")
        others = ("layers/", "feature_maps/")
        found = {
            part: why for part, why in found.items() if part.startswith(own) or not part.startswith(others)
        }
    return found
