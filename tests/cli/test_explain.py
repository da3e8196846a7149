"""`explain`: a saved model and pictures in; maps, overlays, a sheet and a state out."""

import io
import re
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOXML import vtkXMLImageDataReader

from tensorview_insitu.cli.main import main
from tensorview_insitu.cli.pictures import load_images
from tensorview_insitu.cli.render import size_of
from tensorview_insitu.demo import images as demo_images
from tensorview_insitu.explain import KerasNetwork, grad_cam, occlusion, saliency
from tensorview_insitu.index import read_index


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model, its file, and two pictures."""
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(0)
    image = keras.Input((24, 32, 1))
    x = keras.layers.Conv2D(6, 3, activation="relu", name="conv", bias_initializer="random_normal")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="answer")(x))
    model.save(folder / "model.keras")
    rng = np.random.default_rng(0)
    paths = []
    for name, shape in (("lung", (24, 32)), ("other size", (48, 64))):
        paths.append(folder / f"{name}.png")
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(paths[-1])
    return model, folder / "model.keras", paths


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_everything_is_written_and_is_what_the_methods_say(saved, tmp_path, capsys):
    model, file, paths = saved
    out = tmp_path / "out"
    arguments = ["--method", "grad_cam", "--method", "occlusion", "--class", "1", "-o", str(out)]
    assert main(["explain", str(file), *map(str, paths), *arguments]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert (
        printed[0] == str(out / "contact_sheet.png") and str(out / "states/explanation_grid.pvsm") in printed
    )
    picture = pixels(paths[0]).astype(np.float32)[None, ..., None] / 255
    for name, method in (("grad_cam", grad_cam), ("occlusion", occlusion)):
        expected = method(KerasNetwork(model), picture, 1).maps[0]
        held = np.load(out / f"maps/{name}/0_lung.npy")
        np.testing.assert_allclose(held, expected, atol=1e-5 * np.abs(expected).max())
        reader = vtkXMLImageDataReader()
        reader.SetFileName(str(out / f"maps/{name}/0_lung.vti"))
        reader.Update()
        array = vtk_to_numpy(reader.GetOutput().GetCellData().GetArray("map")).reshape(24, 32)
        np.testing.assert_array_equal(array[::-1], held)
        assert pixels(out / f"overlays/{name}/1_other_size.png").shape == (24, 32, 3)
    height, width, _ = pixels(out / "contact_sheet.png").shape
    assert width > 5 * 192 and height > 2 * 192
    index = read_index(out)
    assert [one["name"] for one in index["explanations"]] == ["grad_cam", "occlusion"]
    assert index["explanation_grid"]["samples"] == 2


def test_what_black_is_may_be_negative(saved, tmp_path):
    model, file, paths = saved
    arguments = ["--method", "saliency", "--class", "1", "--pixels", "-1,1", "-o", str(tmp_path / "out")]
    assert main(["explain", str(file), str(paths[0]), *arguments]) == 0
    picture = pixels(paths[0]).astype(np.float32)[None, ..., None] / 127.5 - 1
    expected = saliency(KerasNetwork(model), picture, 1).maps[0]
    held = np.load(tmp_path / "out/maps/saliency/0_lung.npy")
    np.testing.assert_allclose(held, expected, atol=1e-5 * np.abs(expected).max())


def test_what_makes_no_difference_is_said_to_be_ignored(saved, tmp_path, capsys):
    _, file, paths = saved
    np.save(tmp_path / "x.npy", np.zeros((24, 32, 1)))
    arguments = ["explain", str(file), str(tmp_path / "x.npy"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--method", "saliency"]) == 0
    assert "ignored" not in capsys.readouterr().out
    changes = ["--layer", "conv", "--pixels", "0,255", "--size", "8x8"]
    assert main([*arguments, "--method", "saliency", "--method", "grad_cam", *changes]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ignored: ")]
    assert said == [
        "ignored: --layer, by saliency: of no layer",
        "ignored: --pixels, by x.npy: arrays are taken as they are",
        "ignored: --size: arrays are taken as they are",
    ]
    picture = [*arguments[:2], str(paths[0]), *arguments[3:]]
    assert main([*picture, "--method", "deconvolution", "--class", "1", "--size", "8x8"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ignored: ")]
    assert said == [
        "ignored: --class, by deconvolution: of a filter, of no class",
        "ignored: --size: the model takes pictures of 32 x 24 pixels",
    ]


def test_a_volume_comes_as_an_array(tmp_path, capsys):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 8, 10, 1))
    x = keras.layers.Conv3D(3, 3, activation="relu", bias_initializer="random_normal")(image)
    x = keras.layers.GlobalAveragePooling3D()(x)
    keras.Model(image, keras.layers.Dense(2, activation="softmax")(x)).save(tmp_path / "volume.keras")
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).random((6, 8, 10, 1)))
    out = tmp_path / "out"
    arguments = [str(tmp_path / "volume.keras"), str(tmp_path / "scan.npy"), "-o", str(out)]
    assert main(["explain", *arguments, "--method", "saliency"]) == 0
    assert np.load(out / "maps/saliency/0_scan.npy").shape == (6, 8, 10)
    assert (out / "states/explanation.pvsm").exists() and capsys.readouterr().out


def with_lambda(path):
    """A model whose Lambda layer would leave a file behind."""
    image = keras.Input((8, 8, 1))
    mark = str(path.parent / "mark")
    x = keras.layers.Lambda(lambda x: (open(mark, "w").close(), x)[1])(image)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    model.save(path)
    (path.parent / "mark").unlink()
    return path


def test_code_in_a_model_does_not_run_unless_it_is_trusted(saved, tmp_path, capsys):
    file = with_lambda(tmp_path / "lambda.keras")
    np.save(tmp_path / "x.npy", np.zeros((8, 8, 1)))
    arguments = [
        "explain",
        str(file),
        str(tmp_path / "x.npy"),
        "--method",
        "saliency",
        "-o",
        str(tmp_path / "o"),
    ]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "holds code of its own" in error and "--trust-model" in error and error.count("\n") == 1
    assert not (tmp_path / "mark").exists()
    assert main([*arguments, "--trust-model"]) == 0 and (tmp_path / "mark").exists()


def test_an_h5_model_is_refused_unless_it_is_trusted(saved, tmp_path, capsys):
    model, _, paths = saved
    model.save(tmp_path / "old.h5")
    arguments = ["explain", str(tmp_path / "old.h5"), str(paths[0]), "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "can run any code when it is loaded" in capsys.readouterr().err
    assert main([*arguments, "--trust-model"]) == 0


def test_a_keras_whose_safe_mode_has_a_hole_loads_no_strangers_model(saved, tmp_path, capsys, monkeypatch):
    _, file, paths = saved
    monkeypatch.setattr(keras, "__version__", "3.10.0")
    assert main(["explain", str(file), str(paths[0]), "-o", str(tmp_path / "out")]) == 2
    assert "CVE-2025-9906" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, t: [*a, "--method", "gradcam"], 'No method "gradcam". There are: grad_cam, '),
        (lambda a, t: [*a, "--layer", "conv9"], 'No layer "conv9" in this model. It has: conv, '),
        (lambda a, t: [*a, "--class", "3"], "Expected a class from 0 to 2. Received: 3."),
        (lambda a, t: [*a, "--pixels", "1"], "Expected --pixels as LOW,HIGH, such as 0,255. Received: 1"),
        (
            lambda a, t: [*a, "--size", "24"],
            "Expected --size as WIDTHxHEIGHT in pixels, as 1920x1080. Received: 24",
        ),
        (lambda a, t: [*a, "--method", "deconvolution", "--layer", "answer"], "answers no maps"),
        (lambda a, t: [a[0], a[1], str(t / "none.png")], "No file at "),
        (lambda a, t: [a[0], str(t / "text.keras"), a[2]], "Expected a model saved as .keras. Received: "),
        (lambda a, t: [a[0], str(t / "zip.keras"), a[2]], "cannot be loaded: "),
        (lambda a, t: [a[0], a[1], str(t / "text.keras")], "Expected a picture. Received: "),
        (lambda a, t: [a[0], a[1], str(t / "wrong.npy")], r"Expected images of shape \(24, 32, 1\)"),
        (lambda a, t: [a[0], a[1], str(t / "text.npy")], "is no NumPy array"),
    ],
)
def test_mistakes_are_told_in_a_line(saved, tmp_path, capsys, change, said):
    _, file, paths = saved
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "wrong.npy", np.zeros((3, 3, 1)))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("hello.txt", "hello")
    (tmp_path / "zip.keras").write_bytes(held.getvalue())
    arguments = change(["explain", str(file), str(paths[0])], tmp_path)
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(said, error), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["uint8", "uint16", "int32", "float32"])
def test_a_picture_means_to_explain_what_it_meant_to_the_demos_training(tmp_path, mode):
    grey = np.linspace(0, 200, 200 * 200).reshape(200, 200)
    scale = {"uint8": 1, "uint16": 257, "int32": 1000, "float32": 0.01}[mode]
    kind = ".png" if mode in ("uint8", "uint16") else ".tiff"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray((grey * scale).astype(mode)).save(tmp_path / name / f"one{kind}")
        if kind == ".tiff":  # the demo takes png and jpg by their names; what is in them Pillow finds out
            (tmp_path / name / "one.tiff").rename(tmp_path / name / "one.png")
    trained_on = demo_images.load_images(tmp_path).images[0]
    explained = load_images([tmp_path / "a/one.png"], (200, 200, 1), None, 0, 1)[0]
    np.testing.assert_array_equal(explained, trained_on)
    assert explained.min() == 0 and explained.max() == pytest.approx(200 / 255 if mode == "uint8" else 1)


def test_a_size_is_width_by_height_as_everywhere(tmp_path):
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(tmp_path / "one.png")
    assert load_images([tmp_path / "one.png"], (None, None, 1), (40, 20), 0, 1).shape == (1, 20, 40, 1)


def test_a_network_may_take_pictures_smaller_than_any_that_is_rendered():
    assert size_of("8x6", smallest=1) == (8, 6)
    for text in ("9x100", "100x9", "0x100", "100"):
        with pytest.raises(ValueError, match="Expected --size as WIDTHxHEIGHT"):
            size_of(text)
