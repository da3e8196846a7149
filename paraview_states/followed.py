"""Which settings a view follows: those that it reads; the others it ignores, and that is said."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from .scene import Scene
from .settings import Settings

_NAMES = frozenset(field.name for field in fields(Settings))


class Watched(Settings):
    """Settings that remember which of them were read."""

    @classmethod
    def of(cls, settings: Settings) -> Watched:
        """The same settings, none of which was read yet."""
        watched = cls(**{name: getattr(settings, name) for name in _NAMES})
        watched.__dict__["_read"] = set()
        return watched

    def __getattribute__(self, name: str) -> Any:
        if name in _NAMES:
            object.__getattribute__(self, "__dict__").setdefault("_read", set()).add(name)
        return object.__getattribute__(self, name)

    def followed(self, scene: Scene) -> frozenset[str]:
        """Those that the scene shows."""
        read = frozenset(self.__dict__["_read"])
        # ParaView's charts are white on any background.
        has_background = any(view.kind == "RenderView" for view in scene.views)
        return read if has_background else read - {"background"}


def ignored(settings: Settings, scene: Scene) -> list[str]:
    """What was set and is not followed by the scene."""
    return [name for name in settings.changed() if name not in scene.followed]
