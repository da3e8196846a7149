"""Put something of our own in place of an attribute of a Keras object, and take it away again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakSet


@dataclass(eq=False)
class _Shadow:
    thing: Any
    name: str
    replacement: Any
    before: Any


_present: WeakSet[_Shadow] = WeakSet()


class Shadows:
    """Attributes that are replaced for a while; those of several may lie over each other."""

    def __init__(self) -> None:
        self._own: list[_Shadow] = []

    def put(self, thing: Any, name: str, replacement: Any) -> None:
        """Have `thing.name` be `replacement` until `remove`."""
        shadow = _Shadow(thing, name, replacement, thing.__dict__.get(name))
        self._own.append(shadow)
        _present.add(shadow)
        # Straight into __dict__: __setattr__ of Keras and TensorFlow would track what is assigned.
        thing.__dict__[name] = replacement

    def remove(self) -> None:
        """Put back what was there, the last replaced first."""
        while self._own:
            shadow = self._own.pop()
            _present.discard(shadow)
            over = [s for s in _present if s.thing is shadow.thing and s.before is shadow.replacement]
            if over:  # of two recorders the first ends first: the other is to put back what both found
                over[0].before = shadow.before
            elif shadow.before is None:
                shadow.thing.__dict__.pop(shadow.name, None)
            else:
                shadow.thing.__dict__[shadow.name] = shadow.before
