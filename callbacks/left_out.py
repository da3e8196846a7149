"""Which variables of a model are not recorded, or once only, and why."""

from __future__ import annotations

from .begun import Begun
from .layers import LayerVariable, is_named, layers_of, variables

FROZEN = "not trained: recorded before training, and again only when it changed"


def left_out(begun: Begun) -> dict[str, str]:
    """The reason for each variable, by its path; none where no values of variables were asked for."""
    kinds = [v for v in begun.variables if v.keeps_values]
    if not kinds:
        return {}
    chosen = {v.path: v for one in kinds for v in begun.selected(one)}
    found: dict[str, str] = {}
    for path, layer in layers_of(begun.model):
        own = list(variables(path, layer))
        for v in own:
            if v.path in chosen:
                if v.frozen:
                    found[v.path] = FROZEN
                continue
            found[v.path] = _reason(begun, v) or next(
                (why for one in kinds if (why := begun.why_not(one, layer, v))),
                "no quantity that was given records it",
            )
        for variable in layer.variables:
            if variable.path.endswith("seed_generator_state"):
                found.setdefault(f"{path}/seed_generator_state", "the state of a random generator")
    return found


def _reason(begun: Begun, v: LayerVariable) -> str | None:
    if v.is_packed:
        return "quantized: its integers are no weights until they are scaled"
    named = [one.quantity.layers for one in begun.variables]
    if all(layers is not None and not is_named(v.layer, layers) for layers in named):
        return "of a layer that was not named"
    return None
