"""Put something of our own in place of an attribute of a Keras object, and take it away again."""

from __future__ import annotations

from typing import Any


class Shadows:
    """Attributes that are replaced for a while."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def put(self, thing: Any, name: str, replacement: Any) -> None:
        """Have `thing.name` be `replacement` until `remove`."""
        # Straight into __dict__: __setattr__ of Keras and TensorFlow would track what is assigned.
        self._before.append((thing, name, thing.__dict__.get(name)))
        thing.__dict__[name] = replacement

    def remove(self) -> None:
        """Put back what was there, the last replaced first."""
        for thing, name, before in reversed(self._before):
            if before is None:
                thing.__dict__.pop(name, None)
            else:
                thing.__dict__[name] = before
        self._before.clear()
