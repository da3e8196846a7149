"""Write a scene as a ParaView state (.pvsm), with no ParaView present."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from tensorview_insitu.text.xml import fragment

from .proxies import PROXIES
from .scene import ArrayChoice, DataFile, Node, Scene, Series, Split, Value, View, rounded, sizes, tree

# Newer ParaViews convert older states; a later version than the names we use would stop that.
_VERSION = "5.11.0"

_SERVERS = {"sources": "1", "filters": "1", "extended_sources": "1", "misc": "16", "animation": "16"}
_ON_CLIENT = "21"
_ASSOCIATIONS = {"POINTS": 0, "CELLS": 1, "ROWS": 6}
_DIRECTIONS = {"vertical": "1", "horizontal": "2"}

# ParaView takes a proxy from these properties only when it stands in their domain too.
_LISTED_IN_DOMAIN = ("AxesGrid", "Transform")


def pvsm(scene: Scene, folder: Path) -> str:
    """The state as XML.

    Args:
        scene: what it shows.
        folder: the absolute path of the export: ParaView takes relative ones from where it was started.

    Raises:
        NotXmlError: the path holds what no state can, as a control character.
    """
    return _State(scene, folder).text()


class _State:
    def __init__(self, scene: Scene, folder: Path) -> None:
        self._scene = scene
        self._folder = folder
        self._ids: dict[int, int] = {}
        self._element_of: dict[int, Element] = {}
        self._next = 4000
        self._root = Element("ParaView")
        self._state = SubElement(self._root, "ServerManagerState", version=_VERSION)
        self._collections: dict[str, list[tuple[int, str]]] = {}

    def text(self) -> str:
        scene = self._scene
        for node in scene.sources:
            self._add(node, "sources")
        for node in scene.colour_maps:
            opacity = self._add_opacity(node)
            element = self._element_of[self._add(node, "lookup_tables", name=f"{node.name}.PVLookupTable")]
            self._proxies(element, "ScalarOpacityFunction", [opacity])
        assert scene.layout is not None
        size_of = sizes(scene.layout)
        for view in scene.views:
            view.properties["ViewSize"] = size_of[id(view)]
            for display in view.displays:
                self._add(display, "representations")
            for bar in view.colour_bars:
                self._add(bar, "scalar_bars")
            number = self._add(view, "views", Representations=[*view.displays, *view.colour_bars])
            for name in view.inner:
                self._register(f"pq_helper_proxies.{number}", self._inner_id(view, name), name)
        self._add_time()
        self._add_layout()
        for group, items in self._collections.items():
            collection = SubElement(self._state, "ProxyCollection", name=group)
            for number, name in items:
                SubElement(collection, "Item", id=str(number), name=name)
        return fragment(self._root, indent=" ")

    def _add(self, node: Node, collection: str, name: str | None = None, **lists: list[Node]) -> int:
        proxy = PROXIES[node.kind]
        for inner_name, properties in node.inner.items():
            kind = proxy.inner[inner_name]
            inner_id = self._new_id()
            self._ids[hash((id(node), inner_name))] = inner_id
            element = self._proxy(PROXIES[kind].group, kind, inner_id)
            for key, value in properties.items():
                self._property(element, key, value)
        number = self._id(node)
        element = self._proxy(proxy.group, node.kind, number)
        for key, value in node.properties.items():
            self._property(element, key, value)
        for inner_name in node.inner:
            self._proxies(element, inner_name, [self._inner_id(node, inner_name)])
        for key, nodes in lists.items():
            self._proxies(element, key, [self._id(one) for one in nodes])
        self._register(collection, number, name or node.name)
        return number

    def _add_opacity(self, colours: Node) -> int:
        # Nothing here is drawn by opacity, but ParaView's colour map editor wants a function to show.
        number = self._new_id()
        points = colours.properties.get("RGBPoints") or [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        assert isinstance(points, list)
        element = self._proxy("piecewise_functions", "PiecewiseFunction", number)
        self._property(element, "Points", [points[0], 0.0, 0.5, 0.0, points[-4], 1.0, 0.5, 0.0])
        self._property(element, "ScalarRangeInitialized", 1)
        self._register("piecewise_functions", number, f"{colours.name}.PiecewiseFunction")
        return number

    def _add_time(self) -> None:
        keeper, animation, cue = self._new_id(), self._new_id(), self._new_id()
        views = [self._id(view) for view in self._scene.views]
        element = self._proxy("misc", "TimeKeeper", keeper)
        self._proxies(element, "TimeSources", [self._id(source) for source in self._scene.sources])
        self._proxies(element, "Views", views)
        self._register("timekeeper", keeper, "TimeKeeper1")
        element = self._proxy("animation", "TimeAnimationCue", cue)
        self._proxies(element, "AnimatedProxy", [keeper])
        self._property(element, "AnimatedPropertyName", "Time")
        self._property(element, "UseAnimationTime", 1)
        self._register("animation", cue, "TimeAnimationCue1")
        element = self._proxy("animation", "AnimationScene", animation)
        self._proxies(element, "Cues", [cue])
        self._property(element, "PlayMode", 2)  # by the time steps of the data
        times = self._scene.times
        for name, time in (("StartTime", times[0]), ("EndTime", times[-1]), ("AnimationTime", times[-1])):
            self._property(element, name, repr(time))
        self._proxies(element, "TimeKeeper", [keeper])
        self._proxies(element, "ViewModules", views)
        self._register("animation", animation, "AnimationScene1")

    def _add_layout(self) -> None:
        number = self._new_id()
        element = self._proxy("misc", "ViewLayout", number, servers="20")
        assert self._scene.layout is not None
        cells = tree(self._scene.layout)
        layout = SubElement(element, "Layout", number_of_elements=str(len(cells)))
        for cell in cells:
            is_split = isinstance(cell, Split)
            direction = _DIRECTIONS[cell.direction] if isinstance(cell, Split) else "0"
            fraction = str(cell.fraction) if isinstance(cell, Split) else "0.5"
            view = str(self._id(cell)) if isinstance(cell, View) and not is_split else "0"
            SubElement(layout, "Item", direction=direction, fraction=fraction, view=view)
        self._register("layouts", number, self._scene.title)

    # ---- elements

    def _proxy(self, group: str, kind: str, number: int, servers: str | None = None) -> Element:
        on = servers or _SERVERS.get(group, _ON_CLIENT)
        self._element_of[number] = SubElement(
            self._state, "Proxy", group=group, type=kind, id=str(number), servers=on
        )
        return self._element_of[number]

    def _property(self, proxy: Element, name: str, value: Value) -> None:
        if isinstance(value, Node):
            self._proxies(proxy, name, [self._id(value)], is_input=name == "Input")
            return
        if isinstance(value, list) and value and isinstance(value[0], Node):
            self._proxies(proxy, name, [self._id(one) for one in value], is_input=name == "Input")
            return
        values = self._elements(value)
        element = self._property_element(proxy, name, len(values))
        for i, text in enumerate(values):
            SubElement(element, "Element", index=str(i), value=text)

    def _elements(self, value: Value) -> list[str]:
        if isinstance(value, ArrayChoice):
            return ["", "", "", str(_ASSOCIATIONS[value.association]), value.name]
        if isinstance(value, Series):
            return [text for array, said in value.by_array.items() for text in _series(array, said)]
        if isinstance(value, list | tuple):
            return [text for one in value for text in self._elements(one)]
        if isinstance(value, DataFile):
            return [str(self._folder / value.path)]
        if isinstance(value, bool):
            return [str(int(value))]
        return [repr(rounded(value)) if isinstance(value, float) else str(value)]

    def _proxies(self, proxy: Element, name: str, numbers: list[int], *, is_input: bool = False) -> None:
        element = self._property_element(proxy, name, len(numbers))
        for number in numbers:
            SubElement(element, "Proxy", {"value": str(number)} | ({"output_port": "0"} if is_input else {}))
        if name in _LISTED_IN_DOMAIN:
            domain = SubElement(element, "Domain", name="proxy_list", id=f"{element.get('id')}.proxy_list")
            SubElement(domain, "Proxy", value=str(numbers[0]))

    def _property_element(self, proxy: Element, name: str, count: int) -> Element:
        return SubElement(
            proxy,
            "Property",
            name=name,
            id=f"{proxy.get('id')}.{name}",
            number_of_elements=str(count),
        )

    # ---- numbers

    def _new_id(self) -> int:
        self._next += 1
        return self._next

    def _id(self, node: Node) -> int:
        if id(node) not in self._ids:
            self._ids[id(node)] = self._new_id()
        return self._ids[id(node)]

    def _inner_id(self, node: Node, name: str) -> int:
        return self._ids[hash((id(node), name))]

    def _register(self, collection: str, number: int, name: str) -> None:
        self._collections.setdefault(collection, []).append((number, name))


def _series(array: str, said: object) -> list[str]:
    values = said if isinstance(said, list | tuple) else [said]
    return [array, *(str(int(v)) if isinstance(v, bool) else str(v) for v in values)]
