"""Every hostile file, handed to every command that reads one: a clear line, nothing run, nothing written."""

import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from hostile_files import ARRAYS, MODELS, PICTURES, edited, eps
from hostile_states import STATES

from tensorview_insitu.cli.main import main
from tensorview_insitu.loading.model import load_model
from tensorview_insitu.loading.pictures import open_picture

VIEW = "training_curve_3d"

pytestmark = pytest.mark.usefixtures("little_memory")


def told_in_a_line(command, capsys, rc=2):
    """What a command says on its way out, which has to be one line of a bounded length."""
    capsys.readouterr()
    ended, said = main([str(one) for one in command]), capsys.readouterr().err
    assert ended == rc, said
    assert said.startswith("tensorview-insitu: ") and said.count("\n") == 1 and len(said) < 1500, said
    assert said.isprintable() or said[:-1].isprintable(), said
    return said


def everything_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- states


@pytest.fixture(scope="module")
def with_export(run, tmp_path_factory):
    """A run with its export, to be copied."""
    folder = tmp_path_factory.mktemp("with_export") / "run"
    shutil.copytree(run.folder, folder)
    assert main(["export", str(folder)]) == 0
    return folder


@pytest.fixture
def stranger(with_export, tmp_path):
    """A copy of that run; and beside it, what it must not reach."""
    folder = Path(shutil.copytree(with_export, tmp_path / "stranger"))
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/secret.vtp").write_text("secret")
    return folder


def reading_states(run):
    """The commands that hand the states of a run to ParaView."""
    return [
        ["open", run, "--view", VIEW],
        ["render", run, "--view", VIEW],
        ["render", run / "paraview", "--view", VIEW, "--movie"],
        ["live", run, "--view", VIEW, "--wait", "0"],
        ["live", run, "--view", VIEW, "--wait", "0", "--gui"],
    ]


@pytest.mark.parametrize("name", STATES)
def test_a_hostile_state_reaches_no_paraview(name, stranger, tmp_path, witness, capsys, exhaustive):
    state = stranger / f"paraview/states/{VIEW}.pvsm"
    text = STATES[name](state.read_text(), str(tmp_path / "canary"))
    state.write_text(text.replace("{folder}", str(stranger / "paraview")))
    victim = everything_in(tmp_path / "victim")
    commands = reading_states(stranger)
    number = list(STATES).index(name)
    for command in commands if exhaustive else [commands[number % len(commands)]]:
        told = told_in_a_line(command, capsys)
        assert str(state) in told or "secret" in told, told
    assert not witness.exists() and not (tmp_path / "canary").exists()
    assert everything_in(tmp_path / "victim") == victim


def test_a_hostile_state_of_a_comparison_reaches_no_paraview(compared, run, tmp_path, witness, capsys):
    folder = Path(shutil.copytree(compared, tmp_path / "comparison"))
    state = folder / "states/compare.pvsm"
    state.write_text(STATES["own_definition"](state.read_text(), str(tmp_path / "canary")))
    runs = [run.folder, compared.parent / "other"]
    assert "could run code" in told_in_a_line(["compare", *runs, "-o", folder, "--render"], capsys)
    assert "could run code" in told_in_a_line(["open", folder], capsys)
    assert not witness.exists()


def test_the_witness_sees_a_state_that_is_loaded(stranger, witness, capsys):
    """The tests above can fail: a harmless state gets as far as that program."""
    for number, command in enumerate(reading_states(stranger)):
        witness.unlink(missing_ok=True)
        if "live" not in command:
            main([str(one) for one in command])
            assert witness.exists(), number


def fifo(path):
    import os

    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link(path, to):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def moved_out(path, out):
    shutil.move(path, out / path.name)
    path.symlink_to(out / path.name)


# What is done to a run, and with a folder outside of it.
FOLDERS = {
    "the export is a link": lambda run, out: moved_out(run / "paraview", out),
    "the states are a link": lambda run, out: link(run / "paraview/states", out),
    "a folder of data is a link": lambda run, out: link(run / "paraview/layers", out),
    "a folder for pictures is a link": lambda run, out: link(run / "paraview/images", out),
    "a state is a link": lambda run, out: link(run / f"paraview/states/{VIEW}.pvsm", out / "secret.vtp"),
    "a state is a device": lambda run, out: link(run / f"paraview/states/{VIEW}.pvsm", "/dev/zero"),
    "a state is a FIFO": lambda run, out: fifo(run / f"paraview/states/{VIEW}.pvsm"),
    "the hashes are a FIFO": lambda run, out: fifo(run / "paraview/states/.written.json"),
    "data is a FIFO": lambda run, out: fifo(run / "paraview/curves/training.vtp"),
    "data is a link": lambda run, out: link(run / "paraview/curves/training.vtp", out / "secret.vtp"),
    "a temporary name is a link": lambda run, out: link(
        run / f"paraview/states/.{VIEW}.pvsm.tmp", out / "secret.vtp"
    ),
    "a temporary name of a picture is a link": lambda run, out: link(
        run / f"paraview/layers/{VIEW}.png.tmp.png", out / "secret.vtp"
    ),
    "the index is a link": lambda run, out: link(run / "paraview/index.json", out / "secret.vtp"),
    "the index would be written through a link": lambda run, out: link(
        run / "paraview/.index.json.tmp", out / "secret.vtp"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_is_read_or_written_through_a_link(name, stranger, tmp_path, witness, capsys):
    FOLDERS[name](stranger, tmp_path / "victim")
    before = everything_in(tmp_path / "victim")
    for command in [*reading_states(stranger), ["export", stranger]]:
        if (
            name != "the export is a link" or command[1] != stranger / "paraview"
        ):  # named so, it is that folder
            told = told_in_a_line(command, capsys)
            assert "is a link that leads out of" in told or "Expected a plain file" in told
    assert not witness.exists() and everything_in(tmp_path / "victim") == before


def test_a_link_that_stays_in_its_folder_is_followed(stranger, witness, capsys):
    curves = stranger / "paraview/curves"
    shutil.move(curves, stranger / "paraview/moved")
    curves.symlink_to("moved")
    main(["render", str(stranger), "--view", VIEW])
    assert witness.exists()


@pytest.mark.parametrize(
    "name", ["../../../secret.vti", "/etc/x.vtp", "//host/x.vtp", "x.vtm", "{out}/secret.vtp"]
)
def test_a_collection_that_names_other_files_is_refused(name, stranger, tmp_path, witness, capsys):
    export = tmp_path / "export"  # away from its run, out of which the file would be written anew
    shutil.move(stranger / "paraview", export)
    (export / ".files.json").unlink()
    collection = export / "curves/now.pvd"
    text = collection.read_text()
    file = text.split('file="')[1].split('"')[0]
    collection.write_text(text.replace(file, name.format(out=tmp_path / "victim"), 1))
    for command in reading_states(export)[:2]:
        assert "names the file" in told_in_a_line(command, capsys)
    assert not witness.exists()


# ---- index.json


def test_every_path_in_an_index_has_to_lie_in_its_folder(stranger, witness, capsys):
    import json

    path = stranger / "paraview/index.json"
    whole = path.read_text()
    index = json.loads(whole)
    paths = {
        text for text in texts(index) if text.endswith((".vtp", ".vti", ".pvd", ".csv")) or "layers/" in text
    }
    assert len(paths) > 50
    bad = [
        "/etc/x.vtp",
        "../x.vtp",
        "a/../../x.csv",
        "//host/x.vti",
        "http://host/x.vtp",
        "C:/x.vtp",
        r"..\\x.vtp",
        "\\u0000.vtp",
    ]
    for number, text in enumerate(sorted(paths)):
        path.write_text(whole.replace(json.dumps(text), f'"{bad[number % len(bad)]}"'))
        for command in ("open", "render") if number < len(bad) else ("open",):
            told = told_in_a_line([command, stranger, "--view", VIEW], capsys)
            assert "names the file" in told and "Export the run again" in told, (text, told)
    assert not witness.exists()


def texts(value):
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


INDEXES = {
    "no JSON": "{",
    "nothing": "",
    "a list": "[]",
    "another format": '{"format": "x"}',
    "no number": '{"format": "tensorview-insitu export", "version": NaN}',
    "a version that is a text": '{"format": "tensorview-insitu export", "version": "1"}',
    "without the rest": '{"format": "tensorview-insitu export", "version": 1}',
    "brackets": "[" * 100_000,
    "digits": '{"version": ' + "9" * 100_000 + "}",
    "no text": b"\xff\xfe\x00",
    "a format of any width": ("{step:07d}", "{step:0999999999d}"),
    "a format of any attribute": ("{step:07d}", "{step.__class__.__mro__}"),
    "an endless number": ('"every": 1', '"every": 1e999'),
    "a truth": ('"every": 1', '"every": true'),
}


@pytest.mark.parametrize("name", INDEXES)
def test_a_hostile_index_is_told_in_a_line_and_written_anew_by_export(name, stranger, witness, capsys):
    path = stranger / "paraview/index.json"
    change = INDEXES[name]
    data = path.read_text().replace(*change) if isinstance(change, tuple) else change
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    for command in reading_states(stranger)[:3]:
        assert "Export the run again" in told_in_a_line(command, capsys)
    assert not witness.exists()
    assert main(["export", str(stranger)]) == 0
    main(["render", str(stranger), "--view", VIEW])
    assert witness.exists()


def test_a_large_index_is_not_read(stranger, witness, capsys):
    with open(stranger / "paraview/index.json", "r+b") as file:
        file.truncate(1 << 40)
    assert "1,099,511,627,776 bytes" in told_in_a_line(["render", stranger], capsys)


def test_an_index_whose_parts_do_not_fit_costs_the_view(stranger, capsys):
    import json

    path = stranger / "paraview/index.json"
    index = json.loads(path.read_text())
    index["epochs"]["epochs"] = []
    path.write_text(json.dumps(index))
    assert "does not fit together" in told_in_a_line(["open", stranger, "--view", VIEW], capsys)


# ---- pictures, arrays and models


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file of 24 x 24 grey pixels."""
    keras.utils.set_random_seed(0)
    image = keras.Input((24, 24, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = keras.layers.Activation("tanh")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    # By its name: an unnamed one is called by how many this process has made.
    made = keras.Model(image, keras.layers.Dense(2, activation="softmax", name="dense")(x))
    path = tmp_path_factory.mktemp("model") / "model.keras"
    made.save(path)
    return path


def explain(model, image, out):
    return ["explain", model, image, "--method", "saliency", "-o", out / "out"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_hostile_picture_is_told_in_a_line(name, model, tmp_path, witness, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("L", (9, 9)).save(tmp_path / folder / "good.png")
    picture = tmp_path / "a/picture.png"
    PICTURES[name](picture)
    for command in (explain(model, picture, tmp_path), ["demo", tmp_path / "out", "--images", tmp_path]):
        if name in ("a folder", "a FIFO", "a device") and command[0] == "explain":
            assert "No file at" in told_in_a_line(command, capsys)
        else:
            assert str(picture) in told_in_a_line(command, capsys)
    assert not witness.exists() and not (tmp_path / "out").exists()


def test_pillow_left_alone_runs_postscript(tmp_path, witness):
    """The test above can fail."""
    eps(tmp_path / "a.png")
    with pytest.raises(Exception), Image.open(tmp_path / "a.png") as picture:  # noqa: B017 - of many kinds
        picture.load()
    assert "gs" in witness.read_text()


@pytest.mark.parametrize("name", ARRAYS)
def test_a_hostile_array_is_told_in_a_line(name, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ARRAYS[name](tmp_path / "array.npy")
    assert str(tmp_path / "array.npy") in told_in_a_line(
        explain(model, tmp_path / "array.npy", tmp_path), capsys
    )
    assert not (tmp_path / "canary").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", MODELS)
def test_a_hostile_model_is_told_in_a_line(name, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/model.keras"
    MODELS[name](model, path)
    np.save(tmp_path / "in/x.npy", np.zeros((24, 24, 1)))
    assert str(path) in told_in_a_line(explain(path, tmp_path / "in/x.npy", tmp_path), capsys)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in"], "something was written"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "ten gigabytes of weights",
            "declares more weights than it holds. Its layer dense wants 4,000,000,000",
        ),
        ("as much in a model in the model", "declares more weights than it holds. Its layer large wants"),
        ("an output of terabytes", "gives 19,360,000,000,000 numbers for each image"),
        ("a layer of their own", "it needs 'Mine' of 'mine.layers', which is no part of models of Keras"),
        ("a Lambda layer", "holds code of its own (a Lambda layer)"),
        ("a vocabulary from a file", "would read the file '/etc/passwd'"),
        ("a bomb of zeros", "claims 209,715,200 bytes, of which"),
        ("weights by a link", "holds a link to elsewhere"),
        ("weights that are claimed", "claims 4,000,000,000,000 bytes"),
    ],
)
def test_the_cause_is_the_one_that_is_told(name, why, model, tmp_path):
    MODELS[name](model, tmp_path / "model.keras")
    with pytest.raises(ValueError) as told:
        load_model(tmp_path / "model.keras", trust=False)
    assert why in str(told.value)


# ---- and what is right stays right


def test_models_of_many_kinds_load_as_keras_loads_them(tmp_path):
    layers = keras.layers
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(3, 2), layers.BatchNormalization()])
    image = keras.Input((8, 8, 1))
    x = layers.Rescaling(2.0)(layers.RandomFlip()(image))
    x = inner(layers.Conv2D(4, 3, kernel_initializer="orthogonal", kernel_regularizer="l2")(x))
    x = layers.SeparableConv2D(4, 2, activation=keras.activations.gelu)(keras.ops.relu(x) + 1.0)
    x = layers.MultiHeadAttention(2, 3)(layers.Reshape((16, 4))(x), layers.Reshape((16, 4))(x))
    x = layers.Bidirectional(layers.LSTM(3))(layers.SpectralNormalization(layers.Dense(3))(x))
    model = keras.Model(image, layers.Dense(2, dtype="mixed_float16")(x))
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    model.fit(rng.random((4, 8, 8, 1)), rng.random((4, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    images = rng.random((3, 8, 8, 1))
    loaded = load_model(tmp_path / "model.keras", trust=False)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    # Zipped again by somebody, with compression, it is the same.
    edited(tmp_path / "model.keras", tmp_path / "again.keras")
    again = load_model(tmp_path / "again.keras", trust=False)
    np.testing.assert_array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


def test_layers_make_as_many_weights_as_they_like_again_afterwards(model, tmp_path):
    MODELS["ten gigabytes of weights"](model, tmp_path / "model.keras")
    with pytest.raises(ValueError, match="declares more"):
        load_model(tmp_path / "model.keras", trust=False)
    assert keras.Sequential([keras.Input((2,)), keras.layers.Dense(20_000)]).count_params() == 60_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"])
def test_a_picture_is_read_by_what_it_is(kind, tmp_path):
    Image.new("L", (9, 9), 100).save(tmp_path / "picture.png", kind)
    assert open_picture(tmp_path / "picture.png").convert("L").getpixel((4, 4)) == pytest.approx(100, abs=1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_a_picture_of_any_mode_keeps_its_values(mode, tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(
            np.where(grey < 128, 0, 255).astype(np.uint8) if mode == "1" else grey
        ).convert(mode)
    picture.save(tmp_path / "picture", "TIFF" if mode == "CMYK" else "PNG")
    opened = open_picture(tmp_path / "picture")
    np.testing.assert_array_equal(np.asarray(opened.convert(picture.mode)), np.asarray(picture))


@pytest.mark.parametrize("kind", ["f2", "<f4", ">f8", "?", "u1", ">i2", "i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_real_kind_keeps_its_values(kind, order, tmp_path):
    from tensorview_insitu.loading.arrays import read_array

    values = np.asarray(np.arange(24).reshape(2, 3, 4) % 5, kind, order=order)
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(
        read_array(tmp_path / "a.npy", lambda shape: None), values.astype(np.float32)
    )
