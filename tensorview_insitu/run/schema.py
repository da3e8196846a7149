"""What an HDF5 file of a run holds: a check of all its objects that reads none of its rows.

A run may come from a stranger. HDF5 follows links and external storage to any path that the reader may
read, loads plug-ins that a filter asks for, answers for chunks that were never written with a fill value,
and a file of some kilobytes can claim terabytes; a recorder writes none of these. What is left is numbers
with labels that fit them, so that the code that reads rows can rely on shapes, names and lengths.

Datasets of an unknown name (a later version's) need to be numbers with steps, no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5o, h5s, h5t, h5z
from numpy.typing import NDArray

from tensorview_insitu.run import layout
from tensorview_insitu.run.errors import DAMAGE, NotARunError
from tensorview_insitu.run.rows import Rows

# The limits of Keras' own HDF5 reader (keras/src/saving/saving_lib.py, since 3.12).
_BOMB_FLOOR_BYTES = 4 << 30
_BOMB_EXPANSION = 1000

_DEEPEST = 100  # models in models in models
_MOST_SEGMENTS = 10_000_000  # one a second for four months
_MOST_ATTRIBUTES = 200
_LAST_STEP = 2**53  # tables hold steps as float64
_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
_FLETCHER_BYTES = 4
_SIZES = {h5t.INTEGER: (1, 2, 4, 8), h5t.FLOAT: (2, 4, 8)}

_TABLES = (
    layout.STEPS, layout.BATCH_SCALARS, layout.EPOCH_SCALARS, layout.EVALUATE_SCALARS,
    layout.GRADIENT_NORMS, layout.UPDATE_NORMS, layout.WEIGHT_NORMS, layout.DEAD_FILTERS,
)  # fmt: skip
_ONE_ROW_A_STEP = (
    layout.STEPS, layout.BATCH_SCALARS, layout.GRADIENT_NORMS, layout.UPDATE_NORMS, layout.WEIGHT_NORMS,
)  # fmt: skip
_COUNTED = {layout.STEPS: layout.STEPS_COLUMNS, layout.EPOCH_SCALARS: ("epoch",)}
_ARRAYS = (
    layout.LAYERS, layout.STATISTICS, layout.HISTOGRAMS, layout.GRADIENTS, layout.FILTER_GRADIENT_NORMS,
    layout.ACTIVATIONS, layout.EXPLANATIONS, layout.PREDICTIONS,
)  # fmt: skip

Attributes = dict[str, Any]


def check(file: h5py.File, path: Path) -> None:
    """Raise unless everything in `file` is what a recorder writes.

    Raises:
        NotARunError: with the object, and what is wrong with it.
    """
    try:
        try:
            about = attributes(file.id)
        except NotARunError as error:
            raise NotARunError(f"{path}: {error}. No recorder wrote this file.") from error
        check_kind(about, path)
        _check_datasets(dict(_datasets(file.id, path)), path, file.id.get_filesize())
    except NotARunError:
        raise
    except DAMAGE as error:
        raise NotARunError(f"{path} is damaged: {error}") from error


def check_kind(about: Attributes, path: Path) -> None:
    """Raise unless these attributes of the file say that it is part of a run that this version reads."""
    if about.get("format") != layout.FORMAT:
        raise NotARunError(f"Expected an HDF5 file written by InSituRecorder. Received: {path}")
    version = about.get("version")
    if _is_count(version) and version > layout.VERSION:
        raise NotARunError(
            f"{path} is in format {version}; this tensorview-insitu reads up to {layout.VERSION}. "
            "Install a newer one."
        )
    first, last = about.get("first"), about.get("last")
    known = _is_count(version) and isinstance(about.get("run_id"), str)
    if not (known and _is_count(first) and _is_count(last) and first <= last < _MOST_SEGMENTS):
        raise NotARunError(f"{path} does not say rightly of which run and segments it is: {about}"[:500])


def check_rows(name: str, rows: Rows, where: Path | str) -> None:
    """Raise unless the numbers that all else hangs on are possible: steps never fall, tables count.

    Args:
        name: the dataset.
        rows: of it.
        where: the file or run that they come from.

    Raises:
        NotARunError: with the dataset, and what is wrong with it.
    """
    steps = rows.steps
    least = 1 if name in _ONE_ROW_A_STEP else 0
    if len(steps) and (steps[0] < 0 or steps[-1] > _LAST_STEP or np.any(np.diff(steps) < least)):
        raise NotARunError(f"Dataset /{name} of {where}: its steps fall, or are no steps")
    for column in _COUNTED.get(name, ()):
        values = rows.values[:, list(rows.attributes["columns"]).index(column)]
        if column == "wall_time":
            if not np.all(np.isfinite(values)):
                raise NotARunError(f"Dataset /{name} of {where}: its column {column} holds what is no time")
        else:
            whole_numbers(values, name, where)
        if name == layout.EPOCH_SCALARS and np.any(np.diff(values) <= 0):
            raise NotARunError(f"Dataset /{name} of {where}: its epochs fall")


def whole_numbers(values: NDArray[Any], name: str, where: Path | str) -> NDArray[np.int64]:
    """The same as integers.

    Raises:
        NotARunError: one of them is a fraction, NaN, negative or too large to be a count.
    """
    if not np.all((values >= 0) & (values <= _LAST_STEP)) or np.any(values != np.floor(values)):
        raise NotARunError(f"Dataset /{name} of {where}: it counts in what is no whole number")
    return values.astype(np.int64)


def attributes(thing: h5f.FileID | h5d.DatasetID) -> Attributes:
    """What an object says of itself: numbers and texts; a text that begins as a JSON list is one.

    Raises:
        NotARunError: an attribute is neither.
    """
    about: Attributes = {}
    count = h5a.get_num_attrs(thing)
    if count > _MOST_ATTRIBUTES:  # to find the last takes HDF5 as long as all before it
        raise NotARunError(f"it has {count} attributes")
    for number in range(count):
        attribute = h5a.open(thing, index=number)
        name = attribute.name.decode()
        about[name] = _attribute(attribute, name)
    return about


def _attribute(attribute: h5a.AttrID, name: str) -> Any:
    kind = attribute.get_type()
    if isinstance(kind, h5t.TypeStringID) and attribute.shape == ():
        if kind.is_variable_str():  # a recorder's are of fixed length, but h5py's are such
            value: NDArray[Any] = np.zeros((), attribute.dtype)
            attribute.read(value)
            text = _decoded(value[()])
        else:
            array = np.empty((), f"S{kind.get_size()}")
            attribute.read(array, mtype=kind)
            text = _decoded(array[()])
        return _list(text) if text.startswith(("[", '"')) else text
    if kind.get_class() not in _SIZES or kind.get_size() not in _SIZES[kind.get_class()]:
        raise NotARunError(f"attribute {name!r} is neither a number nor a text")
    space = attribute.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        raise NotARunError(f"attribute {name!r} is empty")
    numbers: NDArray[Any] = np.empty(attribute.shape, kind.dtype)
    attribute.read(numbers)
    return numbers if numbers.shape else numbers[()].item()


def _list(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a text of somebody's that begins so
        return text


def _decoded(text: Any) -> str:
    return text if isinstance(text, str) else bytes(text).decode()


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _datasets(file: h5f.FileID, path: Path) -> Iterator[tuple[str, h5d.DatasetID]]:
    """All datasets by name; groups are walked without recursion, hard links alone are followed."""
    seen: set[Any] = set()
    waiting: list[tuple[h5g.GroupID, str, int]] = [(h5g.open(file, b"/"), "", 0)]
    while waiting:
        group, prefix, depth = waiting.pop()
        links: list[tuple[bytes, Any]] = []
        group.links.iterate(
            lambda name, link, into=links: into.append((name, (link.type, link.u))), info=True
        )
        if prefix and not links:  # 20,000 of them would take long for nothing
            raise NotARunError(f"{path}: group /{prefix} is empty. No recorder wrote this file.")
        for name, (kind, address) in links:
            where = prefix + name.decode()
            if kind != h5py.h5l.TYPE_HARD:
                raise NotARunError(f"{path}: /{where} is a link to elsewhere. No recorder wrote this file.")
            # A hard link may lead back to a group that contains it.
            if address in seen:
                raise NotARunError(
                    f"{path}: /{where} is in the file twice, or contains itself. No recorder wrote this file."
                )
            seen.add(address)
            try:
                item = h5o.open(group, name)
            except DAMAGE as error:
                raise NotARunError(f"{path}: /{where} is damaged: {error}") from error
            if isinstance(item, h5d.DatasetID):
                yield where, item
            elif not isinstance(item, h5g.GroupID):
                raise NotARunError(f"{path}: /{where} holds no numbers. No recorder wrote this file.")
            elif depth == _DEEPEST:
                raise NotARunError(
                    f"{path}: /{where} lies deeper than any layer. No recorder wrote this file."
                )
            else:
                waiting.append((item, where + "/", depth + 1))


def _check_datasets(found: dict[str, h5d.DatasetID], path: Path, size: int) -> None:
    stored = claimed = 0
    for name, dataset in found.items():
        try:
            some, all_of_it = _check_storage(dataset, size)
            labels = found.get(name.removesuffix("_steps")) if name.endswith("_steps") else None
            if labels is not None:
                _check_steps(dataset, labels)
            elif name != layout.STEPS and layout.steps_dataset(name) not in found:
                raise NotARunError("no steps belong to it")
            else:
                _check_labels(name, dataset.shape, attributes(dataset))
        except NotARunError as error:
            raise NotARunError(f"{path}: /{name}: {error}. No recorder wrote this file.") from error
        except DAMAGE as error:
            raise NotARunError(f"{path}: /{name} is damaged: {error}") from error
        stored, claimed = stored + some, claimed + all_of_it
    if stored > size:
        raise NotARunError(f"{path}: its datasets share their bytes. No recorder wrote this file.")
    if claimed > _BOMB_FLOOR_BYTES and claimed > _BOMB_EXPANSION * stored:
        raise NotARunError(f"{path} claims {claimed / 1e9:.0f} GB, but {stored} bytes are stored.")


def _check_storage(dataset: h5d.DatasetID, file_bytes: int) -> tuple[int, int]:
    """The bytes that a dataset has, and those that it claims; all of it must be there."""
    kind = dataset.get_type()
    if kind.get_class() not in _SIZES or kind.get_size() not in _SIZES[kind.get_class()]:
        raise NotARunError("it holds no numbers")
    if dataset.dtype.kind not in "fiu":  # an enumeration, as h5py's bool, has passed so far
        raise NotARunError("it holds no numbers")
    space = dataset.get_space()
    if space.get_simple_extent_type() != h5s.SIMPLE or not dataset.shape:
        raise NotARunError("it has no rows")
    how = dataset.get_create_plist()
    if how.get_external_count() or how.get_layout() == h5d.VIRTUAL:
        raise NotARunError("it is stored in another file")
    claimed = math.prod(dataset.shape) * kind.get_size()
    if how.get_layout() == h5d.CHUNKED and claimed:
        return _check_chunks(dataset, how, kind.get_size(), file_bytes)
    if dataset.get_storage_size() < claimed:
        raise NotARunError(f"it claims {_told(claimed)}, but {dataset.get_storage_size()} bytes are stored")
    if how.get_layout() == h5d.CONTIGUOUS and claimed and (dataset.get_offset() or 0) + claimed > file_bytes:
        raise NotARunError("it is stored beyond the end of the file")
    return claimed, claimed


def _check_chunks(dataset: h5d.DatasetID, how: Any, item_bytes: int, file_bytes: int) -> tuple[int, int]:
    shape, chunk = dataset.shape, how.get_chunk()
    filters = {how.get_filter(number)[0] for number in range(how.get_nfilters())}
    if not filters <= _FILTERS:
        raise NotARunError(f"it is encoded by filters {sorted(filters - _FILTERS)}")
    count = math.prod(-(-length // part) for length, part in zip(shape, chunk, strict=True))
    whole = math.prod(chunk) * item_bytes
    extra = _FLETCHER_BYTES if h5z.FILTER_FLETCHER32 in filters else 0
    packed = h5z.FILTER_DEFLATE in filters
    places: set[tuple[int, ...]] = set()
    stored = 0

    def look(chunk_info: Any) -> None:
        nonlocal stored
        if chunk_info.chunk_offset in places:
            raise NotARunError("a chunk is there twice")
        places.add(chunk_info.chunk_offset)
        size = chunk_info.size
        if not (extra < size if packed else size == whole + extra):
            raise NotARunError(f"a chunk of {whole} bytes takes {size}")
        if chunk_info.byte_offset + size > file_bytes:
            raise NotARunError("it is stored beyond the end of the file")
        stored += size

    dataset.chunk_iter(look)
    if len(places) != count:  # for the others HDF5 would answer with a fill value
        raise NotARunError(f"it claims {_told(count * whole)}, but {_told(stored)} are stored")
    return stored, count * whole


def _told(size: int) -> str:
    return f"{size / 1e9:.0f} GB" if size >= 1e9 else f"{size} bytes"


def _check_steps(steps: h5d.DatasetID, labelled: h5d.DatasetID) -> None:
    if steps.get_type().get_class() != h5t.INTEGER or steps.shape != labelled.shape[:1]:
        raise NotARunError(f"expected {labelled.shape[:1]} whole numbers, received {steps.shape}")


def _check_labels(name: str, shape: tuple[int, ...], about: Attributes) -> None:
    """Raise unless `columns` or `dims` fit the shape."""
    group = name.split("/", 1)[0]
    if "columns" in about or name in _TABLES or _is_focus(name):
        columns = about.get("columns")
        if not _are_texts(columns) or len(shape) != 2 or len(columns) != shape[1]:
            raise NotARunError(f"its columns do not fit its shape {shape}")
        if len(set(columns)) < len(columns):
            raise NotARunError("two of its columns have one name")
        counted = _COUNTED.get(name, ())
        if columns[: len(counted)] != list(counted):
            raise NotARunError(f"it does not begin with the column {', '.join(counted)}")
    elif "dims" in about or group in _ARRAYS:
        if not _are_texts(about.get("dims")) or len(about["dims"]) != len(shape):
            raise NotARunError(f"its dims do not fit its shape {shape}")
        axis, stride = about.get("filter_axis", 0), about.get("stride", 1)
        if not _is_count(axis) or axis >= len(shape):
            raise NotARunError(f"its filter_axis is {axis}")
        if not _is_count(stride) or not stride:
            raise NotARunError(f"its stride is {stride}")
        _check_rank(name, shape)
        _check_description(name, shape, about)


def _check_rank(name: str, shape: tuple[int, ...]) -> None:
    expected = {
        layout.STATISTICS: 3,
        layout.HISTOGRAMS: 2,
        layout.FILTER_GRADIENT_NORMS: 2,
        layout.ACTIVATIONS: 3 if name.endswith("/statistics") else None,
    }.get(name.split("/", 1)[0])
    if expected is not None and len(shape) != expected:
        raise NotARunError(f"expected {expected} axes, received the shape {shape}")
    if name.startswith(layout.HISTOGRAMS) and name.endswith("/range") and shape[1] != 2:
        raise NotARunError(f"expected two limits, received the shape {shape}")


def _check_description(name: str, shape: tuple[int, ...], about: Attributes) -> None:
    statistics = about.get("statistics")
    if statistics is not None and (
        not _are_texts(statistics) or (len(shape), len(statistics)) != (3, shape[1])
    ):
        raise NotARunError(f"its statistics do not fit its shape {shape}")
    if name.startswith(layout.EXPLANATIONS + "/") and name.endswith("/maps"):
        layer = about.get("layer", ["", ""])
        if not isinstance(about.get("method"), str) or not _are_texts(layer) or len(layer) != 2:
            raise NotARunError("it does not say by which method it was made")


def _is_focus(name: str) -> bool:
    return name.startswith(layout.EXPLANATIONS + "/") and name.endswith("/focus")


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
