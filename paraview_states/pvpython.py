"""Write a scene as a pvpython script, as a ParaView user would have written it by hand."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from tensorview_insitu.text.python import Source, call, literal, name

from .proxies import PROXIES
from .scene import WINDOW, ArrayChoice, DataFile, Node, Scene, Series, Split, Value, View, rounded, tree

_HEAD = '''\
"""A view of a training, written by tensorview-insitu; yours to edit.

It finds its data beside itself, in the folder above.

    pvpython VIEW.py picture.png      saves a picture (without a display: xvfb-run -a pvpython ...)
    paraview --script=VIEW.py         opens it in the ParaView window
"""

import sys
from pathlib import Path

import paraview.simple
from paraview.simple import *
from vtkmodules.vtkRenderingCore import vtkTextRenderer

paraview.simple._DisableFirstRenderCameraReset()

EXPORT = Path(__file__).resolve().parent.parent


def data(file):
    return str(EXPORT / file)


'''

_TAIL = """\

# ---- run as a program: save a picture
if len(sys.argv) > 1 and sys.argv[-1].endswith(".png"):
    # Without this, VTK 9.2 draws the text of charts with a ghost where 3-D text is drawn beside it.
    vtkTextRenderer.GetInstance().SetScaleToPowerOfTwo(True)
    SaveScreenshot(sys.argv[-1], layout, ImageResolution=[1280, 720])
"""

_TAKEN = ("data", "EXPORT", "layout", "animation", "sys", "paraview", "Path", "vtkTextRenderer")


def pvpython(scene: Scene) -> str:
    """The script.

    Args:
        scene: what it shows.
    """
    return _Script(scene).text()


class _Script:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._source = Source(_TAKEN)
        self._names: dict[int, str] = {}

    def text(self) -> str:
        scene, source = self._scene, self._source
        source.comment(scene.title)
        source.section("what is opened, and what is done to it")
        for node in scene.sources:
            self._add_source(node)
        if scene.colour_maps:
            source.section("colours")
        for node in scene.colour_maps:
            variable = self._new_name(f"{node.name} colours", node)
            source.assign(name(variable), call(name("GetColorTransferFunction"), literal(node.name)))
            self._set(name(variable), node.kind, node.properties)
        for view in scene.views:
            self._add_view(view)
        self._add_layout()
        source.section("time: epochs")
        source.assign(name("animation"), call(name("GetAnimationScene")))
        source.do(call(name("animation", "UpdateAnimationUsingDataTimeSteps")))
        source.assign(name("animation", "AnimationTime"), literal(scene.times[-1]))
        return _HEAD + source.text() + _TAIL

    def _add_source(self, node: Node) -> None:
        variable = self._new_name(node.name, node)
        names = PROXIES[node.kind].properties
        first = {k: v for k, v in node.properties.items() if k in ("FileName", "FileNames", "Input")}
        rest = {k: v for k, v in node.properties.items() if k not in first}
        arguments = {"registrationName": literal(node.name)}
        arguments |= {names[key]: self._value(value) for key, value in first.items()}
        self._source.assign(name(variable), call(name(PROXIES[node.kind].python), **arguments))
        self._set(name(variable), node.kind, rest)
        self._set_inner(variable, node)

    def _add_view(self, view: View) -> None:
        source = self._source
        source.section(f"view: {view.name}")
        variable = self._new_name(f"{view.name} view", view)
        source.assign(name(variable), call(name("CreateView"), literal(PROXIES[view.kind].python)))
        source.do(call(name("RenameView"), literal(view.name), name(variable)))
        self._set(name(variable), view.kind, view.properties)
        self._set_inner(variable, view)
        for display in view.displays:
            shown = display.properties["Input"]
            assert isinstance(shown, Node)
            new = self._new_name(f"{shown.name} display", display)
            source.assign(
                name(new), call(name("Show"), self._value(shown), name(variable), literal(display.kind))
            )
            rest = {k: v for k, v in display.properties.items() if k != "Input"}
            self._set(name(new), display.kind, rest)
        for bar in view.colour_bars:
            colours = self._value(bar.properties["LookupTable"])
            new = self._new_name(f"{view.name} colour bar", bar)
            source.assign(name(new), call(name("GetScalarBar"), colours, name(variable)))
            rest = {k: v for k, v in bar.properties.items() if k != "LookupTable"}
            self._set(name(new), bar.kind, rest)

    def _add_layout(self) -> None:
        source = self._source
        assert self._scene.layout is not None
        source.section("how the views lie in the window")
        source.do(call(name("SetActiveView"), ast.Constant(None)))
        source.assign(name("layout"), call(name("CreateLayout"), name=literal(self._scene.title)))
        for at, cell in enumerate(tree(self._scene.layout)):
            if isinstance(cell, Split):
                split = name("layout", f"Split{cell.direction.capitalize()}")
                source.do(call(split, literal(at), literal(cell.fraction)))
            elif isinstance(cell, View):
                source.do(call(name("layout", "AssignView"), literal(at), self._value(cell)))
        source.do(call(name("layout", "SetSize"), *map(literal, WINDOW)))

    def _set(self, owner: ast.expr, kind: str, properties: Mapping[str, Value]) -> None:
        python_names = PROXIES[kind].properties
        for key, value in properties.items():
            target = ast.Attribute(owner, python_names[key], ast.Store())
            self._source.assign(target, self._value(value))

    def _set_inner(self, variable: str, node: Node) -> None:
        for inner, properties in node.inner.items():
            self._set(name(variable, inner), PROXIES[node.kind].inner[inner], properties)

    def _value(self, value: Value) -> ast.expr:
        if isinstance(value, Node):
            return name(self._names[id(value)])
        if isinstance(value, DataFile):
            return call(name("data"), literal(value.path))
        if isinstance(value, ArrayChoice):
            return literal([value.association, value.name])
        if isinstance(value, Series):
            return literal(_series(value))
        if isinstance(value, Sequence) and not isinstance(value, str):
            return ast.List([self._value(one) for one in value], ast.Load())
        if isinstance(value, bool):
            return literal(int(value))
        return literal(rounded(value) if isinstance(value, float) else value)

    def _new_name(self, text: str, node: Node) -> str:
        self._names[id(node)] = self._source.variable(text)
        return self._names[id(node)]


def _series(value: Series) -> list[str]:
    shown = list(value.by_array.items())
    if all(isinstance(said, bool) for _, said in shown):
        return [array for array, visible in shown if visible]
    parts = []
    for array, said in shown:
        values = said if isinstance(said, list | tuple) else [said]
        parts += [array, *(str(v) for v in values)]
    return parts
