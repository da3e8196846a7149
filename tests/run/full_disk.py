"""A disk that fills up while a program writes."""

import os


def fill_up(monkeypatch, name: str, works: int) -> list[int]:
    """From now on `os.<name>` works so many times, then the disk is full; the places of all its calls."""
    real, calls = getattr(os, name), []

    def full(descriptor, data, place):
        calls.append(place)
        if len(calls) > works:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, place)

    monkeypatch.setattr(os, name, full)
    return calls
