"""Read JSON of a bounded size: every way in which it can be wrong is one error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tensorview_insitu.loading.plain_file import ForeignFileError, read_bytes


def read_json(path: Path, most: int) -> Any:
    """What a JSON file says.

    Args:
        path: the file.
        most: the number of bytes that it may have.

    Raises:
        ForeignFileError: it is no JSON, is nested too deeply, or is too large.
        OSError: it is missing or cannot be read.
    """
    return parse_json(read_bytes(path, most), path)


def parse_json(data: bytes, path: Path | str) -> Any:
    """What `data` says; `path` is for the message.

    Raises:
        ForeignFileError: it is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ForeignFileError(f"{path} is damaged (it is nested too deeply).") from None
    except ValueError as error:
        raise ForeignFileError(f"{path} is damaged ({error}).") from None


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
