"""Nothing here opens a file but the door, and the places that this list names with their reason."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("callbacks", "paraview_states", "scripts", "tensorview_insitu")

# Calls that read a file, parse what was in one, or run it, by the function's name, whatever it is called on.
READING = {
    "LoadState", "LoadPlugin", "OpenDataFile", "load_model", "load_weights", "load_state_dict", "read_text",
    "read_bytes", "read_csv", "read_table", "read_excel", "read_hdf", "read_pickle", "read_json", "read_xml",
    "read_parquet", "genfromtxt", "loadtxt", "fromfile", "memmap", "open_memmap", "imread", "ParserCreate",
    "XMLParser", "fromstring", "iterparse", "ZipFile", "TarFile", "Unpickler", "run_path", "exec", "eval",
    "import_module", "__import__", "XdmfReader", "unpack_archive", "read_array",
}  # fmt: skip
# Those whose name is too common: by what they are called on as well.
READING_OF = {
    ("np", "load"), ("numpy", "load"), ("h5py", "File"), ("json", "load"), ("json", "loads"),
    ("pickle", "load"), ("pickle", "loads"), ("marshal", "loads"), ("yaml", "load"), ("tomllib", "load"),
    ("ElementTree", "parse"), ("ElementTree", "XML"), ("minidom", "parse"), ("os", "open"), ("io", "open"),
    ("io", "FileIO"), ("Image", "open"), ("Pillow", "open"), ("keras", "load"), ("tf", "load"),
}  # fmt: skip

DOOR = "tensorview_insitu/loading/"

# Where else, what, and why that is no way around the door.
ELSEWHERE = {
    "HDF5 of runs: looked at by run/ itself before it is opened": {
        "tensorview_insitu/run/": {
            "h5py.File", "read_json", "read_text", "read_bytes", "json.loads", "json.load", "open", "os.open",
            "io.FileIO",
        },
    },
    "by a path that the door has given": {
        "tensorview_insitu/index.py": {"read_json"},
        "tensorview_insitu/cli/demo.py": {"read_json"},
        "tensorview_insitu/export/manifest.py": {"read_json", "read_bytes"},
        "tensorview_insitu/cli/explain.py": {"load_model"},
        "tensorview_insitu/cli/follow.py": {"read_bytes"},
        "tensorview_insitu/cli/pictures.py": {"read_array"},
        "paraview_states/states.py": {"read_json", "read_bytes"},
        "paraview_states/foreign_state.py": {"read_bytes", "read_xml"},
    },
    "pvpython, on a state that cli/exported.ready_state has checked, and a job that its parent wrote": {
        "scripts/render_frames.py": {"LoadState", "open", "json.load"},
        "scripts/live_frames.py": {"LoadState", "open", "json.loads"},
        "scripts/live_window.py": {"LoadState"},
    },
    "an export's own new file, against what is there": {
        "tensorview_insitu/export/table.py": {"read_bytes", "read_csv"},
        "tensorview_insitu/export/poly_data.py": {"read_bytes"},
    },
    "run.h5, whose rows ParaView is to read, and which Run.open has looked at": {
        "tensorview_insitu/export/vtkhdf.py": {"h5py.File"},
    },
    "pictures that were rendered just before": {
        "tensorview_insitu/cli/encode_movie.py": {"vtkPNGReader"},
        "scripts/gallery.py": {"Image.open"},
    },
    "a pipe of a child process, and its log": {
        "tensorview_insitu/cli/paraview_process.py": {"open"},
        "tensorview_insitu/cli/follow.py": {"json.loads"},
        "tensorview_insitu/cli/render.py": {"json.loads"},
    },
    "an environment variable": {"callbacks/recorder.py": {"json.loads"}},
    "ParaView's own plugin: it runs without this package, and follows no links": {
        "scripts/plugin/tensorview_reader.py": {"h5py.File", "json.loads"},
    },
    "the names of the package itself": {"tensorview_insitu/__init__.py": {"import_module"}},
    "studies and benchmarks of this repository, on their own files": {
        "scripts/fuzz_": {"json.loads", "read_text", "read_bytes", "h5py.File"},
        "scripts/benchmark_": {"json.loads", "json.load", "open", "read_text", "read_bytes", "h5py.File"},
        "scripts/shortcut_study.py": {"Image.open"},
        "scripts/soak.py": {"read_text"},
        "scripts/mutation.py": {"read_text"},
    },
}  # fmt: skip


def reads(path):
    """What a file calls that reads: `{name}`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            owner = getattr(getattr(function, "value", None), "id", "")
            if name in READING or (name.startswith("vtk") and name.endswith("Reader")):
                found.add(name)
            elif (owner, name) in READING_OF:
                found.add(f"{owner}.{name}")
            elif name == "open" and owner not in ("Run", "Self", "cls") and not _only_writes(node):
                found.add("open")
    return found


def _only_writes(call):
    """Whether an `open` has a mode that reads nothing."""
    at = 1 if isinstance(call.func, ast.Name) else 0
    modes = [*call.args[at : at + 1], *(one.value for one in call.keywords if one.arg == "mode")]
    return any(
        isinstance(mode, ast.Constant) and mode.value in ("w", "wb", "a", "ab", "x", "xb") for mode in modes
    )


def readers():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found = reads(path)
            name = str(path.relative_to(ROOT))
            if found and not name.startswith(DOOR):
                yield name, found


def listed():
    return [(name, calls) for places in ELSEWHERE.values() for name, calls in places.items()]


def test_files_are_read_by_the_door_and_where_this_list_says():
    for name, found in readers():
        allowed = {call for place, calls in listed() if name.startswith(place) for call in calls}
        assert found <= allowed, f"{name} reads by {', '.join(sorted(found - allowed))}: go through {DOOR}"


def test_the_list_names_nothing_that_is_gone():
    found = dict(readers())
    for place, calls in listed():
        here = {call for name, some in found.items() if name.startswith(place) for call in some}
        assert here or place.endswith("_"), f"{place} reads nothing any more"
        assert place.endswith(("/", "_")) or calls <= here, (place, calls - here)


def test_every_state_that_a_program_loads_comes_from_ready_state():
    telling = ("--state=", "INSITU_STATE", '"state":')
    tellers = {
        path.name: text
        for path in (ROOT / "tensorview_insitu").rglob("*.py")
        if any(word in (text := path.read_text()) for word in telling)
    }
    assert sorted(tellers) == ["follow.py", "live.py", "open_state.py", "render.py"]
    assert all("ready_state(" in text for text in tellers.values())


def test_the_search_finds_what_it_looks_for(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import h5py, json\nh5py.File('x')\njson.load(open('y'))\nopen('z', 'w')\nPath('a').open()\n"
        "Path('b').open('wb')\neval('1')\nvtkXMLReader()\nImage.open('c')\nRun.open('d')\n"
    )
    assert reads(program) == {"h5py.File", "json.load", "open", "eval", "vtkXMLReader", "Image.open"}
