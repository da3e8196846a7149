"""Whether a run that is gone on with is asked what it was asked before: other samples make another series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from .quantities import Probed

_SINGLE = (str, bytes, int, float, complex, bool, type(None))
_WHEN = ("every",)  # a series may be taken up more or less often


def fingerprints(quantities: Sequence[Probed]) -> dict[str, str]:
    """Of each quantity, by its label, a text that differs once its samples or settings do."""
    return {quantity.label: _of(quantity) for quantity in quantities}


def asked_otherwise(now: Mapping[str, str], before: Mapping[str, str], step: int) -> list[str]:
    """Sentences about the quantities that the run was asked otherwise before.

    Args:
        now: the `fingerprints` of what is recorded from here on.
        before: those of what was recorded before.
        step: the last one that was recorded.
    """
    return [
        f"{label}: the samples or settings are others than before step {step}: what is recorded "
        "after it does not continue what is recorded up to it"
        for label, text in now.items()
        if before.get(label, text) != text
    ]


def _of(quantity: Probed) -> str:
    digest = blake2b(digest_size=16)
    for name, value in sorted(vars(quantity).items()):
        if name not in _WHEN:
            for part in _parts(value):
                digest.update(f"{name} {len(part)} ".encode() + part)
    return digest.hexdigest()


def _parts(value: Any) -> list[bytes]:
    """What a setting consists of; of an object without a value of its own, its class."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "bif":
        # As the network sees it: however long the numbers are, and whatever holds them.
        number = np.asarray(value, np.float32 if value.dtype.kind == "f" else np.int64)
        return [f"{number.dtype.kind} {number.shape}".encode(), number.tobytes()]
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return [f"{value.dtype} {value.shape}".encode(), value.tobytes()]
    if isinstance(value, Mapping):
        return [part for key, one in value.items() for part in (repr(key).encode(), *_parts(one))]
    if isinstance(value, list | tuple) and value and all(type(one) in (int, float) for one in value):
        return _parts(np.array(value))
    if isinstance(value, list | tuple):
        return [str(len(value)).encode(), *(part for one in value for part in _parts(one))]
    return [(repr(value) if isinstance(value, _SINGLE) else type(value).__qualname__).encode()]
