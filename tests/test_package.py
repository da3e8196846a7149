"""The package: what an import brings in, what a wheel holds, how fast it answers."""

import configparser
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("keras", "tensorflow", "vtk", "vtkmodules", "paraview", "pandas")
FOLDERS = {
    "tensorview_insitu": "tensorview_insitu",
    "callbacks": "tensorview_insitu/callbacks",
    "paraview_states": "tensorview_insitu/paraview_states",
    "scripts": "tensorview_insitu/scripts",
}


def imported_by(statement: str) -> list[str]:
    program = f"import sys; {statement}; print([m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return eval(answer.stdout, {"__builtins__": {}})


@pytest.mark.parametrize(
    "module",
    [
        "tensorview_insitu",
        "tensorview_insitu.run.reader",
        "tensorview_insitu.cli.main",
        "tensorview_insitu.index",
        "tensorview_insitu.paraview_states.states",
    ],
)
def test_an_import_brings_in_nothing_heavy(module):
    assert imported_by(f"import {module}") == []


def test_the_check_of_imports_can_fail():
    assert imported_by("import pandas") == ["pandas"]
    assert "vtkmodules" in imported_by("from tensorview_insitu import export_run")


def test_views_import_only_the_standard_library_and_the_index():
    program = (
        "import sys; before = set(sys.modules); import tensorview_insitu.paraview_states.states;"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["tensorview_insitu"]


def test_the_version_is_told_in_less_than_a_third_of_a_second():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        command = [sys.executable, "-m", "tensorview_insitu", "--version"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert answer.stdout.strip().count(".") == 2
    assert min(seconds) < 0.3


def test_every_folder_with_modules_is_a_package_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {
        (FOLDERS[top] + str(path.parent.relative_to(ROOT))[len(top) :]).replace("/", ".")
        for top in FOLDERS
        for path in (ROOT / top).rglob("*.py")
    }
    assert listed == found


def test_a_wheel_holds_every_module_on_disk(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {n for n in zipfile.ZipFile(wheel).namelist() if "dist-info" not in n}
    on_disk = {
        FOLDERS[top] + str(path.relative_to(ROOT))[len(top) :]
        for top in FOLDERS
        for path in [*(ROOT / top).rglob("*.py"), *(ROOT / top).rglob("py.typed")]
    }
    assert held == on_disk


def test_the_project_names_no_path_of_one_machine():
    try:
        command = ["git", "ls-files"]
        tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not in a git checkout")
    for name in tracked.split("\n"):
        path = ROOT / name
        if name and path.is_file() and path.suffix in (".py", ".md", ".sh", ".cfg", ".toml", ""):
            text = path.read_text()
            for machine in ("/ho" + "me/", "/wo" + "rk/", "/ro" + "ot/"):
                assert machine not in text, f"{name}: {machine}"
