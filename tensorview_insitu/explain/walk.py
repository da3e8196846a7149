"""Every layer of a model, once, under a stable path such as `base/conv2d`."""

from __future__ import annotations

from collections.abc import Collection

import keras


def walk(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    """`(path, layer)` of every layer, depth first, in the model's order; a shared one once."""
    found: list[tuple[str, keras.Layer]] = []
    seen = {id(model)}
    taken: set[str] = set()

    def visit(parent: keras.Layer, prefix: str) -> None:
        for layer in parent._flatten_layers(recursive=False, include_self=False):
            if id(layer) in seen or isinstance(layer, keras.layers.InputLayer):
                continue
            seen.add(id(layer))
            path = numbered(prefix + layer.name, taken)
            taken.add(path)
            found.append((path, layer))
            visit(layer, path + "/")

    visit(model, "")
    return found


def numbered(name: str, taken: Collection[str]) -> str:
    """The name; with `#2`, `#3`, ... where it is taken."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}#{number}", number + 1
    return free
