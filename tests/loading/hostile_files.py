"""Pictures, arrays and models that are not what they say: by name, what writes each to a path."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
from PIL import Image

# ---- pictures


def _saved(kind, **options):
    def write(path, picture):
        picture.save(path, kind, **options)

    return write


def _grey(value=100, size=(24, 24)):
    return Image.new("L", size, value)


def _png(path, width, height):
    """A picture that says that it is larger than it is."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks
        )
    )


def eps(path):
    """A program in PostScript, which Pillow hands to Ghostscript."""
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 24\n%%EndComments\n"
        b"(canary) (w) file closefile\n%%EOF\n"
    )


def _half(kind):
    def write(path):
        held = io.BytesIO()
        Image.effect_noise((64, 64), 90).save(held, kind)
        path.write_bytes(held.getvalue()[: len(held.getvalue()) // 2])

    return write


def _broken_png(path):
    held = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(held, "PNG")
    data = bytearray(held.getvalue())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _palette_with_a_hole(path):
    picture = _grey().convert("P")
    picture.putpixel((0, 0), 7)
    picture.save(path, "PNG", transparency=7)


PICTURES = {
    "PostScript": eps,
    "PDF": lambda path: _grey().save(path, "PDF"),
    "an icon": lambda path: _grey().save(path, "ICO"),
    "drawing by text": lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "nothing": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no picture"),
    "half a PNG": _half("PNG"),
    "half a JPEG": _half("JPEG"),
    "half a TIFF": _half("TIFF"),
    "a PNG with a flipped bit": _broken_png,
    "huge": lambda path: _png(path, 60_000, 60_000),
    "wide": lambda path: _png(path, 2_000_000_000, 1),
    "without pixels": lambda path: _png(path, 0, 0),
    "several pictures": lambda path: _grey().save(path, "GIF", save_all=True, append_images=[_grey(9)]),
    "a moving PNG": lambda path: _grey().save(path, "PNG", save_all=True, append_images=[_grey(9)]),
    "several pages": lambda path: _grey().save(path, "TIFF", save_all=True, append_images=[_grey(9)]),
    "transparent": lambda path: Image.new("RGBA", (24, 24), (9, 9, 9, 128)).save(path, "PNG"),
    "a palette with a hole": _palette_with_a_hole,
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}

# ---- arrays


def _npy(path, header, version=1, length=None, data=b""):
    text = header.encode() + b" " * (-len(header) % 64) + b"\n"
    count = len(text) if length is None else length
    path.write_bytes(
        b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", count) + text + data
    )


def _claim(path, shape, kind="<f4"):
    _npy(path, f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", data=b"\0" * 64)


def _array(values):
    def write(path):
        with open(path, "wb") as file:
            np.save(file, values)

    return write


class _Runs:
    def __reduce__(self):
        return os.system, ("touch canary",)


def _pickled(path):
    with open(path, "wb") as file:
        np.save(file, np.array([_Runs()], object), allow_pickle=True)


def _zipped(path):
    with open(path, "wb") as file:
        np.savez(file, np.zeros((24, 24, 1)))


ARRAYS = {
    "claims terabytes": lambda path: _claim(path, (10**6, 10**6, 1)),
    "claims the right shape": lambda path: _claim(path, (24, 24, 1)),
    "claims more than a number holds": lambda path: _claim(path, (2**63, 2**63, 2**63)),
    "of negative size": lambda path: _claim(path, (-24, -24, 1)),
    "of no whole size": lambda path: _claim(path, (24.5, 24, 1)),
    "objects": _pickled,
    "a pickle": lambda path: path.write_bytes(pickle.dumps(_Runs())),
    "complex": _array(np.zeros((24, 24, 1), complex)),
    "structured": _array(np.zeros((24, 24, 1), [("a", "f4"), ("b", "f4")])),
    "texts": _array(np.full((24, 24, 1), "a")),
    "dates": _array(np.zeros((24, 24, 1), "datetime64[s]")),
    "not a number": _array(np.full((24, 24, 1), np.nan)),
    "more than float32 holds": _array(np.full((24, 24, 1), 1e300)),
    "another shape": _array(np.zeros((24, 25, 1))),
    "a zip of arrays": _zipped,
    "a header of four gigabytes": lambda path: _npy(path, "{", version=2, length=2**32 - 1),
    "a header that calls": lambda path: _npy(path, "__import__('os').system('touch canary')"),
    "a header of brackets": lambda path: _npy(path, "(" * 9000),
    "a later version": lambda path: _npy(path, "{}", version=9),
    "nothing": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no array"),
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}

# ---- models


def edited(model, path, change=lambda config: config, weights=None, more=(), kind=zipfile.ZIP_DEFLATED):
    """Write the model file `model` again with another config or other weights in it.

    Args:
        model: a .keras file.
        path: where to.
        change: of the config, as what JSON says, or its text.
        weights: changes model.weights.h5, opened; or its bytes.
        more: `(name, content)` of more members.
        kind: how the members are stored.
    """
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w", kind) as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = change(json.loads(data))
                data = config if isinstance(config, bytes) else json.dumps(config).encode()
            if name == "model.weights.h5" and callable(weights):
                held = io.BytesIO(data)
                with h5py.File(held, "r+") as file:
                    weights(file)
                data = held.getvalue()
            elif name == "model.weights.h5" and weights is not None:
                data = weights
            target.writestr(name, data)
        for name, content in more:
            target.writestr(name, content)


def _layer(config, kind):
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == kind)


def _set(kind, **settings):
    def change(config):
        _layer(config, kind)["config"].update(settings)
        return config

    return change


def _become(kind, name, module="keras.layers", **settings):
    def change(config):
        layer = _layer(config, kind)
        layer.update(class_name=name, module=module, config={"name": "new", **settings})
        return config

    return change


def _of_utils(kind, config):
    return {"module": "keras.utils", "class_name": kind, "config": config, "registered_name": None}


def _nested(config):
    inner = {
        "module": "keras", "class_name": "Sequential", "registered_name": None, "name": "inner",
        "build_config": {"input_shape": [None, 4]},
        "config": {"name": "inner", "layers": [{
            "module": "keras.layers", "class_name": "Dense", "registered_name": None,
            "build_config": {"input_shape": [None, 4]},
            "config": {"name": "large", "units": 10**9, "trainable": True, "dtype": "float32"},
        }]},
    }  # fmt: skip
    layer = _layer(config, "Dense")
    layer.update(inner, inbound_nodes=layer["inbound_nodes"])
    return config


def _replaced(make):
    def weights(file):
        path = next(name for name in _datasets(file))
        shape = file[path].shape
        del file[path]
        make(file, path, shape)

    return weights


def _datasets(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def _external(file, path, shape):
    file.create_dataset(path, shape, "f4", external=[("/etc/passwd", 0, 4 * int(np.prod(shape)))])


def _virtual(file, path, shape):
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource("/etc/x.h5", "x", shape)
    file.create_virtual_dataset(path, layout)


def _link(link):
    def make(file, path, shape):
        file[path] = link

    return make


MODELS = {
    "no zip": lambda model, path: path.write_text("no model"),
    "half a zip": lambda model, path: path.write_bytes(model.read_bytes()[:-300]),
    "nothing": lambda model, path: path.write_bytes(b""),
    "a zip of something else": lambda model, path: zipfile.ZipFile(path, "w").writestr("a.txt", "hello"),
    "a flipped bit": lambda model, path: path.write_bytes(_flipped(model.read_bytes())),
    "a member outside": lambda model, path: edited(model, path, more=[("../../canary", b"x")]),
    "a member at a root": lambda model, path: edited(model, path, more=[("/tmp/canary", b"x")]),
    "a program as a member": lambda model, path: edited(model, path, more=[("layers.py", b"x")]),
    "a bomb of zeros": lambda model, path: edited(model, path, weights=bytes(200 << 20)),
    "a bomb of a config": lambda model, path: edited(model, path, lambda c: b" " * (200 << 20)),
    "config that is no JSON": lambda model, path: edited(model, path, lambda c: b"{"),
    "config that is a list": lambda model, path: edited(model, path, lambda c: [1, 2]),
    "config without end": lambda model, path: edited(model, path, lambda c: b"[" * 100_000),
    "a lambda": lambda model, path: edited(
        model, path, _set("Dense", activation={"class_name": "__lambda__", "config": {"value": "x"}})
    ),
    "a Lambda layer": lambda model, path: edited(
        model, path, _become("GlobalAveragePooling2D", "Lambda", function={"class_name": "__lambda__"})
    ),
    "another program's layer": lambda model, path: edited(
        model, path, _become("Dense", "TFSMLayer", filepath="/x")
    ),
    "a layer of their own": lambda model, path: edited(model, path, _become("Dense", "Mine", "mine.layers")),
    "a class of Python": lambda model, path: edited(model, path, _become("Dense", "Popen", "subprocess")),
    "a function of Keras that downloads": lambda model, path: edited(
        model, path, _set("Dense", activation=_of_utils("get_file", {}))
    ),
    "a function that is named": lambda model, path: edited(
        model, path, _set("Dense", activation=_of_utils("function", "get_file"))
    ),
    "a kind that is no name": lambda model, path: edited(model, path, _become("Dense", ["a"], ["b"])),
    "a vocabulary from a file": lambda model, path: edited(
        model, path, _become("GlobalAveragePooling2D", "StringLookup", vocabulary="/etc/passwd")
    ),
    "ten gigabytes of weights": lambda model, path: edited(model, path, _set("Dense", units=10**9)),
    "as much in a convolution": lambda model, path: edited(
        model, path, _set("Conv2D", kernel_size=[40_000, 40_000], padding="same")
    ),
    "as much in a model in the model": lambda model, path: edited(model, path, _nested),
    "more weights than are held": lambda model, path: edited(model, path, _set("Dense", units=100_000)),
    "other weights than are held": lambda model, path: edited(model, path, _set("Dense", units=5)),
    "an output of terabytes": lambda model, path: edited(
        model, path, _become("Activation", "UpSampling2D", size=[100_000, 100_000])
    ),
    "weights that are no HDF5": lambda model, path: edited(model, path, weights=b"no weights"),
    "half of the weights": lambda model, path: edited(model, path, weights=_half_of_weights(model)),
    "weights of another file": lambda model, path: edited(model, path, weights=_replaced(_external)),
    "weights that are virtual": lambda model, path: edited(model, path, weights=_replaced(_virtual)),
    "weights by a link": lambda model, path: edited(
        model, path, weights=_replaced(_link(h5py.ExternalLink("/etc/x.h5", "/x")))
    ),
    "weights by a soft link": lambda model, path: edited(
        model, path, weights=_replaced(_link(h5py.SoftLink("/layers")))
    ),
    "weights that are claimed": lambda model, path: edited(
        model, path, weights=lambda file: file.create_dataset("x", (10**6, 10**6), "f4", chunks=(1000, 1000))
    ),
    "a group in itself": lambda model, path: edited(
        model, path, weights=lambda file: file["layers"].__setitem__("again", file["layers"])
    ),
    "a FIFO": lambda model, path: os.mkfifo(path),
    "a folder": lambda model, path: os.mkdir(path),
    "a device": lambda model, path: path.symlink_to("/dev/zero"),
}  # fmt: skip


def _flipped(data):
    changed = bytearray(data)
    changed[len(data) // 2] ^= 255
    return bytes(changed)


def _half_of_weights(model):
    with zipfile.ZipFile(model) as archive:
        data = archive.read("model.weights.h5")
    return data[: len(data) // 2]
