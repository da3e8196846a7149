"""Many samples of one kind: some of them by default, all with `pytest --exhaustive`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(number: int, cases: Iterable[Any]) -> list[Any]:
    """The cases of a parametrized test, of which every n-th is tried by default.

    Args:
        number: n.
        cases: values; a tuple where the test has several arguments.
    """
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.exhaustive)
        if place % number
        else case
        for place, case in enumerate(cases)
    ]
