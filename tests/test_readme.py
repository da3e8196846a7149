"""Every code block of the README runs, in the order in which a reader meets them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fits import SAMPLES, digits, network

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory for all blocks."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def namespace():
    """What a reader has of their own: a compiled model and data."""
    x, y = digits()
    return {"model": network(), "x": x[:SAMPLES], "y": y[:SAMPLES]}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_readme_runs(number, place, namespace, monkeypatch):
    language, block = BLOCKS[number]
    monkeypatch.chdir(place)
    if language == "python":
        exec(compile(block, f"README block {number}", "exec"), namespace)
        return
    assert language == "bash"
    for command in block.strip().split("\n"):
        run_command(command)


def run_command(command):
    words = shlex.split(command)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    expected = 0
    if words[:2] == ["bash", "scripts/test.sh"]:
        subprocess.run(["bash", "-n", ROOT / "scripts/test.sh"], check=True)  # it is what runs this
        return
    if words[:2] == ["bash", "scripts/demo.sh"]:
        if not (ROOT / ".venv/installed").exists():
            pytest.skip("scripts/setup.sh has not made .venv here")
        words[1] = str(ROOT / "scripts/demo.sh")
    if words[:2] == ["tensorview-insitu", "open"]:
        # A window is opened in tests/in_paraview; here there is no display, which is told.
        environment.pop("DISPLAY", None)
        environment.pop("WAYLAND_DISPLAY", None)
        expected = 1
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)
    if "was not found" in done.stderr and not os.environ.get("CI"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == expected, done.stdout + done.stderr


def test_the_demo_of_the_readme_made_all_it_promises(place):
    if not (place / "out").exists():
        pytest.skip("the demo did not run here")
    run = place / "out/digits"
    assert (run / "run.h5").is_file() and (run / "paraview/tables/epochs.csv").is_file()
    for view in ("training_curve_3d", "training_curves", "kernel_propagation", "gradient_norms"):
        for file in (f"states/{view}.pvsm", f"states/{view}.py", f"images/{view}.png"):
            assert (run / "paraview" / file).is_file()


def test_pictures_that_the_readme_shows_are_there():
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file()


def test_commands_in_the_readmes_text_exist():
    from tensorview_insitu.cli.main import _parser

    known = next(a for a in _parser()._actions if a.choices)
    named = set(re.findall(r"tensorview-insitu ([a-z]+)", README))
    assert named and named <= set(known.choices)
