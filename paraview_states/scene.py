"""Scene: what ParaView is to show, as plain data; it knows no file format.

A scene is a list of nodes (readers, filters, colour maps, views, displays), each with the properties
that differ from ParaView's defaults, under the names that ParaView's XML uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, Union

from tensorview_insitu.index import by_step
from tensorview_insitu.text.printable import shortened

from .proxies import PROXIES
from .theme import WHITE, Theme
from .written import as_drawn, checked


@dataclass(frozen=True)
class DataFile:
    """A file of the export, relative to the folder of index.json."""

    path: str


@dataclass(frozen=True)
class ArrayChoice:
    """An array of a data set.

    Args:
        association: `"POINTS"`, `"CELLS"` or `"ROWS"`.
        name: the array's name.
    """

    association: str
    name: str


@dataclass(frozen=True)
class Series:
    """What a chart says of its series, by the name of their arrays."""

    by_array: Mapping[str, Any]


Scalar = bool | int | float | str
Value = Union[Scalar, DataFile, ArrayChoice, Series, "Node", Sequence["Scalar | DataFile | Node"]]


@dataclass(eq=False)
class Node:
    """One proxy.

    Args:
        kind: its key in `proxies.PROXIES`.
        name: what ParaView's pipeline browser calls it; no two nodes of a scene share one.
        properties: by their XML names.
        inner: properties of a proxy that this one owns (a view's AxesGrid, a filter's Transform).
    """

    kind: str
    name: str
    properties: dict[str, Value] = field(default_factory=dict)
    inner: dict[str, dict[str, Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # ParaView passes over a name that it does not know, in silence.
        known = PROXIES[self.kind]
        for name in self.properties:
            if name not in known.properties:
                raise KeyError(f"{self.kind} has no property {name!r} in proxies.py")
        for inner, properties in self.inner.items():
            for name in properties:
                if name not in PROXIES[known.inner[inner]].properties:
                    raise KeyError(f"{known.inner[inner]} has no property {name!r} in proxies.py")
        self.name = shortened(checked(self.name), _LONGEST_NAME)
        for held in (self.properties, *self.inner.values()):
            for name, value in held.items():
                held[name] = _written(name, value)


def _written(name: str, value: Value) -> Value:
    """The value with its texts as ParaView is to be told them: what is drawn apart from what names data."""
    if isinstance(value, str):
        return as_drawn(name, value)
    if isinstance(value, ArrayChoice):
        checked(value.name)
    if isinstance(value, Series):
        said = {
            checked(array): v if not isinstance(v, str) else as_drawn(name, v)
            for array, v in value.by_array.items()
        }
        return Series(said)
    if isinstance(value, list | tuple) and any(isinstance(one, str) for one in value):
        return [as_drawn(name, one) if isinstance(one, str) else one for one in value]
    return value


@dataclass(eq=False)
class View(Node):
    """A view, what it displays, and its colour bars."""

    theme: Theme = WHITE
    displays: list[Node] = field(default_factory=list)
    colour_bars: list[Node] = field(default_factory=list)

    def show(self, source: Node, kind: str, **properties: Value) -> None:
        """Display `source` as a representation of this kind."""
        name = f"{source.name} in {self.name}"
        self.displays.append(Node(kind, name, {"Input": source, **properties}))

    def colour_bar(self, colours: Node, title: str, **properties: Value) -> None:
        """Show what the colours mean."""
        bar = {"LookupTable": colours, "Title": title, **properties}
        self.colour_bars.append(
            Node("ScalarBarWidgetRepresentation", f"bar {colours.name} in {self.name}", bar)
        )


_Node = TypeVar("_Node", bound=Node)


@dataclass(frozen=True)
class Split:
    """A part of the window, divided in two.

    Args:
        direction: `"horizontal"` (side by side) or `"vertical"` (one above the other).
        first: a view or a split: left, or above.
        second: right, or below.
        fraction: the share of `first`.
    """

    direction: str
    first: Split | View
    second: Split | View
    fraction: float = 0.5


@dataclass
class Scene:
    """Everything that one ParaView state holds.

    Args:
        title: a sentence that says what it shows.
        times: the times of its animation.
        theme: what it is drawn on.
        by_step: whether its time counts steps, and not epochs.
        run: the name of the run, for captions.
        sources: readers and filters, each after its input.
        colour_maps: shared by displays.
        views: in the order in which they were made.
        layout: how they lie in the window.
        followed: the names of the settings that it follows.
        lacks: why parts of what it would show are not there, in sentences.
    """

    title: str
    times: list[float]
    theme: Theme = WHITE
    by_step: bool = False
    run: str = ""
    sources: list[Node] = field(default_factory=list)
    colour_maps: list[Node] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    layout: Split | View | None = None
    followed: frozenset[str] = frozenset()
    lacks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.title = shortened(checked(self.title), _LONGEST_NAME)

    def read(self, file: str) -> Node:
        """Add the reader of a file of the export; like ParaView, it is called as the file."""
        kind = _READERS[file.rsplit(".", 1)[1]]
        if kind == "PVDReader" and self.by_step:
            file = by_step(file)
        known = [node for node in self.sources if node.name == file.rsplit("/", 1)[-1]]
        for node in known:  # a file that several views show is read once
            if _files(node) == [file]:
                return node
        # A .pvd is one file; the other readers take a list of them.
        names: Value = DataFile(file) if kind == "PVDReader" else [DataFile(file)]
        # Two files of one name lie in different folders.
        name = file.rsplit("/", 1)[-1] if not known else file
        return self.source(kind, name, **{"FileNames" if kind == "XdmfReader" else "FileName": names})

    def source(self, kind: str, name: str, **properties: Value) -> Node:
        """Add a filter, or a source that reads no file."""
        return self._add(Node(kind, name, properties), self.sources)

    def transform(self, name: str, source: Node, **transform: Value) -> Node:
        """Add a filter that moves and scales: `Scale=[x, y, z]`, `Position=[x, y, z]`."""
        node = Node("TransformFilter", name, {"Input": source}, {"Transform": transform})
        return self._add(node, self.sources)

    def upright(self, name: str, source: Node) -> Node:
        """Add a filter that stands up what lies in the plane z = 0: y becomes z."""
        node = Node("TransformFilter", name, {"Input": source}, {"Transform": {"Rotation": [90.0, 0.0, 0.0]}})
        return self._add(node, self.sources)

    def colour_map(self, name: str, **properties: Value) -> Node:
        """Add a colour map."""
        return self._add(Node("PVLookupTable", name, properties), self.colour_maps)

    def view(
        self,
        kind: str,
        name: str,
        properties: dict[str, Value],
        axes: dict[str, Value] | None = None,
    ) -> View:
        """Add a view; `axes` are the properties of its axes grid."""
        view = View(kind, name, properties, {"AxesGrid": axes} if axes else {}, self.theme)
        return self._add(view, self.views)

    @staticmethod
    def _add(node: _Node, others: list[_Node]) -> _Node:
        # ParaView finds a colour map by its name: two of one name would be one.
        taken, name, number = {other.name for other in others}, node.name, 2
        while node.name in taken:
            node.name, number = f"{name} ({number})", number + 1
        others.append(node)
        return node


def _files(node: Node) -> list[str]:
    value = node.properties.get("FileName", [])
    return [one.path for one in (value if isinstance(value, list) else [value]) if isinstance(one, DataFile)]


WINDOW = (1280, 720)
_LONGEST_NAME = 140

_READERS = {
    "vtp": "XMLPolyDataReader",
    "vti": "XMLImageDataReader",
    "pvd": "PVDReader",
    "csv": "CSVReader",
    "xmf": "XdmfReader",
    "vtkhdf": "HDFReader",
}


def rounded(value: float) -> float:
    """A number as a person would write it: seven digits, which is all that a picture shows."""
    return float(f"{value:.7g}")


def sizes(layout: Split | View, window: tuple[int, int] = WINDOW) -> dict[int, list[int]]:
    """How large each view is when the layout fills the window, by the view's `id`."""
    width, height = window
    if isinstance(layout, View):
        return {id(layout): [width, height]}
    if layout.direction == "horizontal":
        first = round(width * layout.fraction)
        parts = [(first, height), (width - first, height)]
    else:
        first = round(height * layout.fraction)
        parts = [(width, first), (width, height - first)]
    return {**sizes(layout.first, parts[0]), **sizes(layout.second, parts[1])}


def tree(layout: Split | View) -> list[Split | View | None]:
    """The layout as a complete binary tree in heap order: the children of i are 2i+1 and 2i+2."""
    cells: dict[int, Split | View] = {}

    def place(at: int, part: Split | View) -> None:
        cells[at] = part
        if isinstance(part, Split):
            place(2 * at + 1, part.first)
            place(2 * at + 2, part.second)

    place(0, layout)
    return [cells.get(i) for i in range(max(cells) + 1)]
