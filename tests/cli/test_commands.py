"""The command line: every command, and a line for every mistake."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tensorview_insitu.paraview_states.views import VIEWS

from tensorview_insitu.cli import demo, explain, export, info, open_state, pack, render, verify
from tensorview_insitu.cli.main import main
from tensorview_insitu.demo.images import load_images
from tensorview_insitu.run.reader import Run

COMMANDS = {
    "demo": demo, "info": info, "export": export, "open": open_state, "render": render, "pack": pack,
    "verify": verify, "explain": explain,
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  tensorview-insitu {command}" in capsys.readouterr().out


def test_python_m_is_the_same_command():
    answer = subprocess.run(
        [sys.executable, "-m", "tensorview_insitu", "--help"], capture_output=True, text=True
    )
    assert answer.returncode == 0 and all(command in answer.stdout for command in COMMANDS)


def test_info_tells_a_person(run, capsys):
    assert main(["info", str(run.folder)]) == 0
    told = capsys.readouterr().out
    for text in ("finished", "52 steps, 4 of 4 epochs", "digits on tensorflow, 6 layers", "val_accuracy"):
        assert text in told
    assert "/layers/conv1/kernel" in told and "5 x 3 x 3 x 1 x 8" in told


def test_a_reader_that_has_read_enough_ends_a_command_quietly(run):
    command = f"{sys.executable} -m tensorview_insitu info {run.folder} | true; echo ${{PIPESTATUS[0]}}"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert answer.stdout.split()[-1] == "141" and not answer.stderr


def test_info_tells_a_program(run, capsys):
    assert main(["info", str(run.folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert facts["status"] == "finished" and facts["steps"] == 52
    assert facts["datasets"]["gradient_norms"] == [52, 8]
    assert facts["layers"][0] == {
        "path": "conv1",
        "class": "Conv2D",
        "trainable": True,
        "variables": {"kernel": [3, 3, 1, 8], "bias": [8]},
    }
    assert facts["packages"]["keras"]


def test_export_tells_what_it_made(copied_run, capsys):
    assert main(["export", str(copied_run.folder), "--every", "2"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].endswith("paraview/index.json")
    assert sum(line.endswith(".pvsm") for line in lines) == len(VIEWS) - 1  # all but `compare`


def test_packing_a_packed_run_does_no_harm(copied_run, capsys):
    before = (copied_run.folder / "run.h5").read_bytes()
    assert main(["pack", str(copied_run.folder)]) == 0
    assert (copied_run.folder / "run.h5").read_bytes() == before


def images(folder, **classes):
    """A folder of images: `name=[(mode, size), ...]`."""
    rng = np.random.default_rng(0)
    for name, kinds in classes.items():
        (folder / name).mkdir(parents=True)
        for i, (mode, size, ending) in enumerate(kinds):
            grey = rng.integers(0, 256, size[::-1], np.uint8)
            image = (
                Image.fromarray(grey.astype(np.uint16) * 256)
                if mode == "I;16"
                else Image.fromarray(grey).convert(mode)
            )
            image.save(folder / name / f"{i}.{ending}")
    return folder


def test_images_of_any_size_and_mode_become_grey_200_by_200(tmp_path):
    kinds = [
        ("L", (30, 40), "png"),
        ("RGB", (300, 200), "jpg"),
        ("RGBA", (9, 9), "png"),
        ("I;16", (50, 60), "png"),
    ]
    samples = load_images(
        images(tmp_path / "x", sick=kinds, well=[("P", (20, 20), "png"), ("1", (8, 8), "PNG")])
    )
    assert samples.images.shape == (6, 200, 200, 1) and samples.images.dtype == np.float32
    assert 0 <= samples.images.min() and samples.images.max() <= 1 and samples.images[3].max() > 0.5
    assert list(samples.labels) == [0, 0, 0, 0, 1, 1] and samples.classes == ["sick", "well"]
    training, validation = samples.split(0)
    assert len(training.images) == 4 and len(validation.images) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["info", "{tmp}/nowhere"], "No run at {tmp}/nowhere: there is no such folder."),
        (["info", "{tmp}"], "{tmp} holds no run.json, so it is no run."),
        (["info", "{tmp}/file.txt"], "Expected the folder of a run. Received a file: {tmp}/file.txt"),
        (["pack", "{tmp}/nowhere"], "No run at {tmp}/nowhere"),
        (["verify", "{tmp}"], "{tmp} holds no run.json"),
        (["export", "{tmp}"], "{tmp} holds no run.json"),
        (["export", "{run}", "-o", "{tmp}/o", "--layer", "conv9"], 'No layer "conv9" in this run. It holds'),
        (["export", "{run}", "-o", "{tmp}/o", "--every", "0"], "Expected every to be a positive int."),
        (["export", "{run}", "-o", "{tmp}/file.txt"], "File exists: '{tmp}/file.txt'"),
        (["render", "{run}", "--view", "loss"], 'No view "loss". There are: dashboard,'),
        (["render", "{run}", "--size", "big"], "Expected --size as WIDTHxHEIGHT in pixels, as"),
        (["render", "{run}", "--jobs", "0"], "Expected --jobs to be a positive number. Received: 0"),
        (["open", "{run}", "--view", "loss"], 'No view "loss". There are'),
        (["demo", "{tmp}/o", "--images", "{tmp}/nowhere"], "No folder of images at {tmp}/nowhere."),
        (["demo", "{tmp}/o", "--images", "{tmp}"], "Expected a folder with a sub-folder of png or jpg"),
        (["demo", "{tmp}/o", "--epochs", "0"], "Expected --epochs to be a positive number. Received: 0"),
        (["demo", "{tmp}/taken"], "{tmp}/taken/digits already holds a run"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(arguments, told, tmp_path, run, capsys):
    (tmp_path / "file.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    if "taken" in arguments[1]:
        import shutil

        shutil.copytree(run.folder, tmp_path / "taken/digits")
    places = {"tmp": tmp_path, "run": run.folder}
    assert main([argument.format(**places) for argument in arguments]) == 2
    answer = capsys.readouterr()
    assert answer.out == "" and answer.err.count("\n") == 1
    assert told.format(**places) in answer.err


def test_a_file_that_is_no_image_is_named(tmp_path, capsys):
    folder = images(tmp_path / "x", a=[("L", (9, 9), "png")], b=[("L", (9, 9), "png")])
    (folder / "b/broken.png").write_text("no image")
    assert main(["demo", str(tmp_path / "o"), "--images", str(folder)]) == 2
    assert "b/broken.png" in capsys.readouterr().err


def test_a_live_run_is_not_packed(tmp_path, capsys):
    from tensorview_insitu.run.writer import RunWriter

    writer = RunWriter(tmp_path / "run")
    assert main(["pack", str(tmp_path / "run")]) == 2
    assert "is being written by process" in capsys.readouterr().err
    writer.finish("finished")


def test_the_demo_trains_the_papers_network_on_a_folder_of_images(tmp_path, capsys, monkeypatch):
    """On made-up images, without ParaView: what it does with pictures is tested with ParaView."""
    monkeypatch.setenv("PVPYTHON", "/nowhere/pvpython")
    folder = images(tmp_path / "faces", a=[("L", (30, 30), "png")] * 4, b=[("RGB", (40, 20), "jpg")] * 4)
    command = ["demo", str(tmp_path / "out"), "--images", str(folder), "--epochs", "1"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "training paper on 5 images of 2 classes (3 for validation)" in told
    assert "no pictures: PVPYTHON=/nowhere/pvpython is no program" in told
    assert re.search(rf"^  (\S*/)?tensorview-insitu open {tmp_path}/out/faces$", told, re.MULTILINE)
    run = Run.open(tmp_path / "out/faces")
    assert run.variable("conv2", "kernel").values.shape == (2, 3, 3, 64, 64)
    assert [layer["class"] for layer in run.identity["layers"]] == [
        "Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D",
        "Conv2D", "BatchNormalization", "ReLU", "Flatten", "Dense",
    ]  # fmt: skip
    # A second call uses the training that is there.
    assert main(command) == 0
    assert "holds this training already" in capsys.readouterr().out
    assert main([*command, "--seed", "1"]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_the_demo_runs_on_real_chest_x_rays(cxr, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PVPYTHON", "/nowhere/pvpython")
    assert main(["demo", str(tmp_path), "--images", str(cxr), "--epochs", "2"]) == 0
    run = Run.open(tmp_path / cxr.resolve().name)
    assert len(run.scalars("batch")) == 2 * 5  # 38 of 56 images, eight at a time
    batches = run.scalars("batch")
    assert np.isfinite(batches["loss"]).all() and batches["accuracy"].between(0, 1).all()
