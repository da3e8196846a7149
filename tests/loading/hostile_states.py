"""States that do harm when ParaView loads them, each made of a harmless one.

Those of `RUNNING` leave the file `canary` behind: a test with ParaView shows that they do, where nobody looks
at them first.
"""

import re

_CODE = "open({canary!r}, 'w').close()"


def _escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").replace("\n", "&#10;")


def _property(name, *values):
    elements = "".join(f'<Element index="{i}" value="{_escaped(value)}"/>' for i, value in enumerate(values))
    return f'<Property name="{name}" id="9.{name}" number_of_elements="{len(values)}">{elements}</Property>'


def _to(name, number):
    proxy = f'<Proxy value="{number}" output_port="0"/>'
    return f'<Property name="{name}" id="9.{name}" number_of_elements="1">{proxy}</Property>'


def _proxy(group, kind, *properties, number=99999):
    return f'<Proxy group="{group}" type="{kind}" id="{number}" servers="1">{"".join(properties)}</Proxy>'


def _first_source(text):
    return re.search(r'group="sources" type="\w+" id="(\d+)"', text)[1]


def _with(text, *proxies, before=""):
    return text.replace("<Proxy ", before + "".join(proxies) + "<Proxy ", 1)


def _as_source(text, *proxies, before=""):
    """With proxies, of which 99999 is one that ParaView brings up to date."""
    item = (
        '<ProxyCollection name="sources"><Item id="99999" name="x"/></ProxyCollection></ServerManagerState>'
    )
    return _with(text, *proxies, before=before).replace("</ServerManagerState>", item, 1)


def programmable_source(text, canary):
    code = _CODE.format(canary=canary)
    return _as_source(text, _proxy("sources", "ProgrammableSource", _property("InformationScript", code)))


def programmable_filter(text, canary):
    code = _CODE.format(canary=canary)
    source = _to("Input", _first_source(text))
    return _as_source(text, _proxy("filters", "ProgrammableFilter", source, _property("Script", code)))


def own_definition(text, canary):
    """Proxy and property have harmless names; the state itself says what they are."""
    definition = (
        '<CustomProxyDefinitions><CustomProxyDefinition name="SphereSource" group="mine">'
        '<SourceProxy name="SphereSource" class="vtkPythonProgrammableFilter">'
        '<StringVectorProperty name="Radius" command="SetInformationScript" number_of_elements="1" '
        'default_values=""/></SourceProxy></CustomProxyDefinition></CustomProxyDefinitions>'
    )
    proxy = _proxy("mine", "SphereSource", _property("Radius", _CODE.format(canary=canary)))
    return _as_source(text, proxy, before=definition)


def python_calculator(text, canary):
    source = _to("Input", _first_source(text))
    code = f"open({canary!r}, 'w').write('x') * 1.0"
    return _as_source(text, _proxy("filters", "PythonCalculator", source, _property("Expression", code)))


def query_selection(text, canary):
    """A selection by a query, which is Python; nothing in its name says so."""
    query = _property("QueryString", f"__import__('os').system('touch {canary}') >= 0")
    selection = _proxy("sources", "SelectionQuerySource", query, _property("ElementType", "0"), number=99998)
    inputs = _to("Input", _first_source(text)) + _to("Selection", 99998)
    return _as_source(text, selection, _proxy("filters", "ExtractSelection", inputs))


RUNNING = (programmable_source, programmable_filter, own_definition, python_calculator, query_selection)


# ---- refused as well, whether or not this ParaView would do harm with them


def _file(text, name):
    """The first file of a reader is another one."""
    return re.sub(
        r'(name="FileName"[^>]*>\s*<Element index="0" value=")[^"]*', lambda m: m[1] + name, text, count=1
    )


def _display(text, *properties):
    return text.replace('<Property name="Input"', "".join(properties) + '<Property name="Input"', 1)


def _calculating(text, function):
    source = _to("Input", _first_source(text))
    return _as_source(text, _proxy("filters", "Calculator", source, _property("Function", function)))


def _kind(group, kind, *properties):
    return lambda text, canary: _as_source(text, _proxy(group, kind, *properties))


def _laughs(text, canary):
    entities = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    return f'<!DOCTYPE x [<!ENTITY l0 "lol">{entities}]><ParaView a="&l9;"/>'


STATES = {
    **{one.__name__: one for one in RUNNING},
    "program": _kind("misc", "ExecutableRunner", _property("Command", "touch x")),
    "plugin": _kind("misc", "PluginLoader"),
    "python view": _kind("views", "PythonView", _property("Script", "x")),
    "python cue": _kind("animation", "PythonAnimationCue", _property("Script", "x")),
    "python annotation": _kind("filters", "PythonAnnotation", _property("Expression", "x")),
    "writer": _kind("writers", "XMLPolyDataWriter", _property("FileName", "/tmp/x.vtp")),
    "reader of anything": _kind("sources", "LegacyVTKFileReader", _property("FileNames", "/tmp/x.vtk")),
    "reader of python": _kind("sources", "OpenPMDReader", _property("FileName", "x")),
    "file reader of run.h5": _kind("sources", "XdmfReader", _property("FileNames", "x.xmf")),
    "known kind in another group": _kind("misc", "SphereSource"),
    "no kind": lambda text, canary: _with(text, '<Proxy id="9" servers="1"/>'),
    "a font": lambda text, canary: _display(text, _property("TitleFontFile", "/tmp/x.ttf")),
    "a shader": lambda text, canary: _display(text, _property("ShaderReplacements", "{}")),
    "a graphics program": lambda text, canary: _display(text, _property("CustomShader", "while(true);")),
    "a format that writes": lambda text, canary: _display(text, _property("LabelFormat", "%n")),
    "a format that reads": lambda text, canary: _display(text, _property("RangeLabelFormat", "%5.1s")),
    "a format without end": lambda text, canary: _display(text, _property("Format", "{time:9999999999}")),
    "a loop": lambda text, canary: _calculating(text, "while (1) { 1 }"),
    "absolute path": lambda text, canary: _file(text, "/etc/passwd.csv"),
    "parent folder": lambda text, canary: _file(text, "../../../secret.csv"),
    "parent folder of the export": lambda text, canary: _file(text, "{folder}/../secret.vtp"),
    "another host": lambda text, canary: _file(text, "//host/share/secret.vtp"),
    "another host for Windows": lambda text, canary: _file(text, r"\\host\share\secret.vtp"),
    "an address": lambda text, canary: _file(text, "http://host/secret.vtp"),
    "a file that names others": lambda text, canary: _file(text, "curves/training.vtp.series"),
    "unknown element": lambda text, canary: _with(text, "<Macro/>"),
    "unknown attribute": lambda text, canary: text.replace("<Proxy ", '<Proxy compound_name="x" ', 1),
    "proxy in a property": lambda text, canary: text.replace(
        '<Property name="Input"', '<Property name="A"><Proxy group="sources" type="X" id="7"/></Property>'
        '<Property name="Input"', 1
    ),
    "another root": lambda text, canary: text.replace("<ParaView>", "<X>").replace("</ParaView>", "</X>"),
    "no state": lambda text, canary: "no XML at all",
    "nothing": lambda text, canary: "",
    "half a state": lambda text, canary: text[: len(text) // 2],
    "an entity": lambda text, canary: "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>" + text,
    "entities of entities": _laughs,
    "another encoding": lambda text, canary: '<?xml version="1.0" encoding="cp037"?>' + text,
    "without end": lambda text, canary: "<a>" * 1_000_000,
}  # fmt: skip
