"""Write a scene as a pvpython script, as a ParaView user would have written it by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .proxies import PROXIES
from .scene import WINDOW, ArrayChoice, DataFile, Node, Scene, Series, Split, Value, View, rounded, tree

_HEAD = '''\
"""{title}

Written by tensorview-insitu; yours to edit. It finds its data beside itself, in the folder above.

    pvpython {name}.py picture.png      saves a picture (without a display: xvfb-run -a pvpython ...)
    paraview --script={name}.py         opens it in the ParaView window
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


def pvpython(scene: Scene, name: str) -> str:
    """The script.

    Args:
        scene: what it shows.
        name: the script's file name, without its ending.
    """
    return _Script(scene).text(name)


class _Script:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._lines: list[str] = []
        self._names: dict[int, str] = {}
        self._taken = {"data", "EXPORT", "layout", "animation", "sys", "paraview", "Path"}

    def text(self, name: str) -> str:
        scene = self._scene
        self._say("# ---- what is opened, and what is done to it")
        for node in scene.sources:
            self._source(node)
        if scene.colour_maps:
            self._say("# ---- colours")
        for node in scene.colour_maps:
            variable = self._new_name(f"{node.name} colours", node)
            self._say(f"{variable} = GetColorTransferFunction({node.name!r})")
            self._set(variable, node.kind, node.properties)
        for view in scene.views:
            self._view(view)
        self._layout()
        self._say("# ---- time: epochs")
        self._say("animation = GetAnimationScene()")
        self._say("animation.UpdateAnimationUsingDataTimeSteps()")
        self._say(f"animation.AnimationTime = {scene.times[-1]!r}")
        return _HEAD.format(title=scene.title, name=name) + "\n".join(self._lines) + "\n" + _TAIL

    def _source(self, node: Node) -> None:
        variable = self._new_name(node.name, node)
        names = PROXIES[node.kind].properties
        first = {k: v for k, v in node.properties.items() if k in ("FileName", "FileNames", "Input")}
        rest = {k: v for k, v in node.properties.items() if k not in first}
        arguments = [f"registrationName={node.name!r}"]
        arguments += [f"{names[key]}={self._value(value)}" for key, value in first.items()]
        constructor = PROXIES[node.kind].python
        call = f"{variable} = {constructor}({', '.join(arguments)})"
        if len(call) > 110:
            call = f"{variable} = {constructor}(\n    " + ",\n    ".join(arguments) + ",\n)"
        self._say(call)
        self._set(variable, node.kind, rest)
        self._set_inner(variable, node)

    def _view(self, view: View) -> None:
        self._say(f"# ---- view: {view.name}")
        variable = self._new_name(f"{view.name} view", view)
        self._say(f"{variable} = CreateView({PROXIES[view.kind].python!r})")
        self._say(f"RenameView({view.name!r}, {variable})")
        self._set(variable, view.kind, view.properties)
        self._set_inner(variable, view)
        for display in view.displays:
            source = display.properties["Input"]
            assert isinstance(source, Node)
            name = self._new_name(f"{source.name} display", display)
            self._say(f"{name} = Show({self._names[id(source)]}, {variable}, {display.kind!r})")
            self._set(name, display.kind, {k: v for k, v in display.properties.items() if k != "Input"})
        for bar in view.colour_bars:
            colours = bar.properties["LookupTable"]
            name = self._new_name(f"{view.name} colour bar", bar)
            self._say(f"{name} = GetScalarBar({self._value(colours)}, {variable})")
            self._set(name, bar.kind, {k: v for k, v in bar.properties.items() if k != "LookupTable"})

    def _layout(self) -> None:
        assert self._scene.layout is not None
        self._say("# ---- how the views lie in the window")
        self._say("SetActiveView(None)")
        self._say(f"layout = CreateLayout(name={self._scene.title!r})")
        for at, cell in enumerate(tree(self._scene.layout)):
            if isinstance(cell, Split):
                self._say(f"layout.Split{cell.direction.capitalize()}({at}, {cell.fraction})")
            elif isinstance(cell, View):
                self._say(f"layout.AssignView({at}, {self._names[id(cell)]})")
        self._say(f"layout.SetSize{WINDOW}")

    def _set(self, variable: str, kind: str, properties: dict[str, Value]) -> None:
        python_names = PROXIES[kind].properties
        for key, value in properties.items():
            line = f"{variable}.{python_names[key]} = {self._value(value)}"
            if isinstance(value, list | tuple) and len(line) > 110:
                line = f"{variable}.{python_names[key]} = [\n{self._rows(value)}]"
            self._say(line)

    def _set_inner(self, variable: str, node: Node) -> None:
        for name, properties in node.inner.items():
            self._set(f"{variable}.{name}", PROXIES[node.kind].inner[name], properties)

    def _value(self, value: Value) -> str:
        if isinstance(value, Node):
            return self._names[id(value)]
        if isinstance(value, DataFile):
            return f"data({value.path!r})"
        if isinstance(value, ArrayChoice):
            return repr([value.association, value.name])
        if isinstance(value, Series):
            return _series(value)
        if isinstance(value, list | tuple):
            return "[" + ", ".join(self._value(one) for one in value) + "]"
        if isinstance(value, bool):
            return str(int(value))
        return repr(rounded(value)) if isinstance(value, float) else repr(value)

    def _rows(self, values: Sequence[Any]) -> str:
        # Colour maps are points of four numbers, texts and colours come in pairs and triples.
        width = 4 if len(values) % 4 == 0 else 3 if len(values) % 3 == 0 else 2
        rows = [values[i : i + width] for i in range(0, len(values), width)]
        return "".join("    " + ", ".join(self._value(v) for v in row) + ",\n" for row in rows)

    def _new_name(self, text: str, node: Node) -> str:
        plain = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower() or "it"
        plain = plain if plain[0].isalpha() else f"_{plain}"
        name, number = plain, 2
        while name in self._taken:
            name, number = f"{plain}_{number}", number + 1
        self._taken.add(name)
        self._names[id(node)] = name
        return name

    def _say(self, line: str) -> None:
        if line.startswith("# ----") and self._lines:
            self._lines.append("")
        self._lines.append(line)


def _series(value: Series) -> str:
    shown = list(value.by_array.items())
    if all(isinstance(said, bool) for _, said in shown):
        return repr([array for array, visible in shown if visible])
    parts = []
    for array, said in shown:
        values = said if isinstance(said, list | tuple) else [said]
        parts += [array, *(str(v) for v in values)]
    return repr(parts)
