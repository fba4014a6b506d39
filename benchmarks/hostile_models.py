"""Networks, data sets and files of models as an enemy would make them; see ``fuzz.py``."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hostile_values import SWOLLEN, Bomb, deep, flipped, header, npy, zeros

NAN = float("nan")
Content = bytes | Iterable[bytes]


def _zipped(members: dict[str, Content], target: Any, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                for piece in [content] if isinstance(content, bytes) else content:
                    member.write(piece)


# --- architectures ---


def _keras(class_name: str, config: Any, module: str = "keras.layers") -> dict[str, Any]:
    """A part of a model as Keras writes it."""
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": None,
        "build_config": None,
    }


def _initializer(class_name: str, **config: Any) -> dict[str, Any]:
    return _keras(class_name, config, "keras.initializers")


_CODE = {"class_name": "__lambda__", "config": {"value": "4wEAAA==", "defaults": None}}
_OS_SYSTEM = {**_keras("function", "system", "os"), "registered_name": "system"}
_NUMPY = {"class_name": "__numpy__", "config": {"value": [[1]] * 9, "dtype": "object"}}

#: Number of a layer -> name -> what is changed in its config.
_CONFIGS: dict[int, dict[str, dict[str, Any]]] = {
    0: {
        "images of 1e6": {"batch_shape": [None, 10**6, 10**6, 1]},
        "batches of 1e6": {"batch_shape": [10**6, 28, 28, 1]},
    },
    1: {
        "a kernel of 1e6": {"kernel_size": [10**6, 10**6]},
        "2e9 filters": {"filters": 2 * 10**9},
        "NaN in a config": {"strides": [NAN, NAN]},
    },
    -1: {
        **{f"{n:g} units": {"units": n} for n in (2_000_000_000, 100_000, -3, 1e308)},
        "a function of os": {"activation": _OS_SYSTEM},
        "an unknown activation": {"activation": "os.system"},
        "a policy of its own": {"dtype": _keras("DTypePolicy", {"name": "float16"}, "keras")},
        "a name with escapes": {"name": "\x1b[2J<b>"},
        "a huge name": {"name": "x" * 3_000_000},
        "a value of NumPy's": {"bias_initializer": _NUMPY},
        "a constant of 1e308": {"bias_initializer": _initializer("Constant", value=1e308)},
        "an identity of 5e4": {
            "kernel_initializer": _initializer("Identity", gain=1.0),
            "units": 50_000,
        },
    },
}
#: In the place of the first layer.
_INSTEAD = {
    "a Lambda": _keras("Lambda", {"name": "x", "function": _CODE}),
    "os.system": _keras("system", "touch sprung", "os"),
    "builtins.eval": _keras("eval", {"value": "open('sprung', 'w')"}, "builtins"),
    "a module to import": _keras("Fly", {}, "antigravity"),
    "a private module": _keras("get_file", {}, "keras.src.utils.file_utils"),
    "a registered name": {**_keras("Own", {}, "own"), "registered_name": "package>Own"},
    "a TFSMLayer": _keras("TFSMLayer", {"filepath": "/etc", "name": "x"}),
    "a StringLookup": _keras("StringLookup", {"vocabulary": "/etc/passwd", "name": "x"}),
}
#: A layer more: where, and which.
_MORE = {
    "upsampling by 1e5": (1, _keras("UpSampling2D", {"name": "up", "size": [10**5, 10**5]})),
    "padding by 1e5": (1, _keras("ZeroPadding2D", {"name": "up", "padding": [[10**5] * 2] * 2})),
    "a vector 1e9 times": (-1, _keras("RepeatVector", {"name": "up", "n": 10**9})),
}


def _thousand(layers: list[dict[str, Any]]) -> None:
    last = layers[-1]
    layers += [{**last, "config": {**last["config"], "name": f"d{i}"}} for i in range(1000)]


#: What becomes of the list of layers.
_LAYERS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    **{
        name: lambda layers, at=at, config=config: layers[at]["config"].update(config)
        for at, configs in _CONFIGS.items()
        for name, config in configs.items()
    },
    **{name: lambda layers, part=part: layers[1].update(part) for name, part in _INSTEAD.items()},
    **{name: lambda layers, more=more: layers.insert(*more) for name, more in _MORE.items()},
    "a layer called twice": lambda layers: layers.append(layers[-1]),
    "no layers": lambda layers: layers.clear(),
    "a thousand layers": _thousand,
}


def _nested(sound: str) -> str:
    for i in range(300):
        config = f'{{"name":"s{i}","layers":[{sound}]}}'
        sound = f'{{"module":"keras","class_name":"Sequential","config":{config}}}'
    return sound


#: What becomes of the whole text.
_WHOLE: dict[str, Callable[[str], str]] = {
    "layers that are a text": lambda sound: json.dumps(
        {**json.loads(sound), "config": {"name": "cnn", "layers": "abc"}}
    ),
    "a config that is a list": lambda sound: json.dumps({**json.loads(sound), "config": [1]}),
    "models in models": _nested,
    "deep JSON": lambda sound: deep(),
    "deep configs": lambda sound: deep(
        9000, '{"class_name":"Sequential","config":{"layers":[', "]}}"
    ),
}
#: All architectures, each of which the check must refuse.
ARCHITECTURES = (*_LAYERS, *_WHOLE)


def architecture(kind: str, sound: str) -> str:
    """An architecture made of the sound one."""
    if kind in _WHOLE:
        return _WHOLE[kind](sound)
    values = json.loads(sound)
    _LAYERS[kind](values["config"]["layers"])
    return json.dumps(values)


# --- weights ---

#: Members that are changed in the archive of weights, made of the first one.
_MEMBERS: dict[str, Callable[[np.ndarray], dict[str, Content]]] = {
    "other shapes": lambda w: {"w000.npy": npy(np.zeros((9, 9), "f4"))},
    "4 TiB": lambda w: {"w000.npy": header((1 << 40,))},
    "pickles": lambda w: {"w000.npy": npy(np.array([Bomb()], object))},
    "../ names": lambda w: {"../sprung": b"x", "/sprung": b"x"},
    "NaN": lambda w: {"w000.npy": npy(np.full_like(w, np.nan))},
    "1e38": lambda w: {"w000.npy": npy(np.full_like(w, 3e38))},
    "other weights": lambda w: {"w000.npy": npy(w * 1.5)},
    "float64": lambda w: {"w000.npy": npy(w.astype("f8") + 1e-12)},
    "texts": lambda w: {"w000.npy": npy(np.array(["a"]))},
    "no .npy": lambda w: {"w000.npy": b"nonsense"},
    "a zip bomb": lambda w: {"w000.npy": zeros(SWOLLEN, header((SWOLLEN // 4,), "<f4", b""))},
    "a bomb beside": lambda w: {"w999.npy": zeros(SWOLLEN)},
}
_ARCHIVES: dict[str, Callable[[bytes, random.Random], Any]] = {
    "cut short": lambda sound, rng: sound[: rng.randint(1, len(sound) - 1)],
    "empty": lambda sound, rng: b"",
    "a text": lambda sound, rng: "PK",
    "a flipped bit": lambda sound, rng: flipped(sound, rng, 1),
}
ARCHIVES = (*_MEMBERS, *_ARCHIVES, "a member missing")
#: The same weights, or maybe the same.
MAYBE_SOUND = ("a flipped bit", "../ names", "float64")


def archive(kind: str, sound: bytes, rng: random.Random) -> Any:
    """An archive of weights made of the sound one."""
    if kind in _ARCHIVES:
        return _ARCHIVES[kind](sound, rng)
    with np.load(io.BytesIO(sound)) as arrays:
        members: dict[str, Content] = {f"{name}.npy": npy(arrays[name]) for name in arrays.files}
        first = arrays["w000"]
    members |= _MEMBERS[kind](first) if kind in _MEMBERS else {}
    if kind == "a member missing":
        del members["w001.npy"]
    buffer = io.BytesIO()
    _zipped(members, buffer, zipfile.ZIP_DEFLATED if "bomb" in kind else zipfile.ZIP_STORED)
    return buffer.getvalue()


# --- files of data sets and models ---

#: Writes a file into a folder, beside the sound ones, and gives its name.
Maker = Callable[[Path, Path], str]
_IMAGES = (600, 28, 28)


def _npz(**members: Any) -> Maker:
    """A data set with some arrays changed, or left out; bytes are taken as they are."""

    def make(folder: Path, sound: Path) -> str:
        with np.load(sound / "digits.npz") as arrays:
            whole = {name: arrays[name] for name in arrays.files} | members
        contents = {
            f"{name}.npy": npy(value) if isinstance(value, np.ndarray) else value
            for name, value in whole.items()
            if value is not None
        }
        _zipped(contents, folder / "hostile.npz", zipfile.ZIP_DEFLATED)
        return "hostile.npz"

    return make


def _model(change: Callable[[dict[str, Content]], Any]) -> Maker:
    """A model file with some members changed."""

    def make(folder: Path, sound: Path) -> str:
        with zipfile.ZipFile(sound / "sound.keras") as archive:
            members: dict[str, Content] = {n: archive.read(n) for n in archive.namelist()}
        change(members)
        _zipped(members, folder / "hostile.keras", zipfile.ZIP_DEFLATED)
        return "hostile.keras"

    return make


def _set(name: str, content: bytes) -> Maker:
    return _model(lambda members: members.update({name: content}))


def _designed(kind: str) -> Maker:
    def change(members: dict[str, Content]) -> None:
        text = architecture(kind, bytes(members["config.json"]).decode())
        members["config.json"] = text.encode()

    return _model(change)


def _h5(change: Callable[[Any], Any], config: str = "") -> Maker:
    """A model in one HDF5 file, whose weights are whatever."""

    def make(folder: Path, sound: Path) -> str:
        with zipfile.ZipFile(sound / "sound.keras") as archive:
            architecture = config or archive.read("config.json").decode()
        with h5py.File(folder / "hostile.h5", "w") as file:
            file.attrs["keras_version"], file.attrs["model_config"] = "3.12.0", architecture
            change(file.create_group("model_weights"))
        return "hostile.h5"

    return make


def _external(weights: Any) -> None:
    place = [("/etc/passwd", 0, 99)]
    weights.create_dataset("Conv2D_1", shape=(99,), dtype="u1", external=place)


def _huge(weights: Any) -> None:
    weights.create_dataset("Conv2D_1", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,))


def _file(name: str, content: bytes) -> Maker:
    def make(folder: Path, sound: Path) -> str:
        (folder / name).write_bytes(content)
        return name

    return make


#: Files that `oip train` must refuse.
OTHERS: dict[str, Maker] = {
    "images of pickles": _npz(x_train=np.array([Bomb()], object)),
    "labels of pickles": _npz(y_train=np.array([Bomb()] * 600, object)),
    "4 TiB of images": _npz(x_train=header((1 << 40, 28, 28), "|u1")),
    "a bomb of images": _npz(
        x_train=[header((SWOLLEN >> 10, 32, 32), "|u1", b""), *[bytes(1 << 20)] * (SWOLLEN >> 20)]
    ),
    "labels of 2e9": _npz(y_train=np.full(600, 2_000_000_000)),
    "labels of -1": _npz(y_train=np.full(600, -1)),
    "labels of NaN": _npz(y_train=np.full(600, NAN)),
    "images of NaN": _npz(x_train=np.full(_IMAGES, NAN, "f4")),
    "images of infinity": _npz(x_train=np.full(_IMAGES, np.inf, "f4")),
    "images of texts": _npz(x_train=np.full(_IMAGES, "a")),
    "images of no pixels": _npz(
        x_train=np.zeros((600, 0, 28), "u1"), x_test=np.zeros((100, 0, 28), "u1")
    ),
    "no images": _npz(x_train=np.zeros((0, 28, 28), "u1"), y_train=np.zeros(0, int)),
    "no test images": _npz(x_test=None),
    "class names of some MB": _npz(class_names=np.array(["x" * 3_000_000] * 10)),
    "very many class names": _npz(class_names=np.array([f"c{i}" for i in range(300_000)])),
    "class names with escapes": _npz(class_names=np.array(["\x1b[2J"] * 10)),
    "a header of a version 9": _npz(x_train=b"\x93NUMPY\x09\x00" + bytes(200)),
    "a header of 4 GB": _npz(
        x_train=b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b" " * 99
    ),
    "an empty data set": _file("hostile.npz", b""),
    "a data set cut short": _file("hostile.npz", b"PK\x03\x04" + bytes(100)),
    **{
        f"a model with {kind}": _designed(kind)
        for kind in (
            *("2e+09 units", "a Lambda", "os.system", "deep JSON", "deep configs", "a TFSMLayer"),
            *("a StringLookup", "images of 1e6", "padding by 1e5", "upsampling by 1e5"),
            "a config that is a list",
        )
    },
    "weights of noise": _set("model.weights.h5", bytes(range(256)) * 99),
    "no weights": _model(lambda members: members.pop("model.weights.h5")),
    "metadata that are a list": _set("metadata.json", b"[]"),
    "metadata of bytes": _set("metadata.json", b"\xff\xfe"),
    "a version that is a number": _set("metadata.json", b'{"keras_version": 3}'),
    "a config of 200 MB": _set("config.json", b'"' + b" " * (200 << 20) + b'"'),
    "a config of a long list": _set("config.json", b'{"a": [' + b"0, " * 33_000_000 + b"0]}"),
    "assets outside": _model(
        lambda members: (
            members.pop("config.json"),
            members.update({"../sprung": b"", "assets/../../sprung": b""}),
        )
    ),
    "an h5 with an external link": _h5(
        lambda weights: weights.__setitem__("Conv2D_1", h5py.ExternalLink("/etc/passwd", "/"))
    ),
    "an h5 with a loop": _h5(
        lambda weights: weights.__setitem__("Conv2D_1", h5py.SoftLink("/model_weights/Conv2D_1"))
    ),
    "an h5 of 4 TiB": _h5(_huge),
    "an h5 of another's file": _h5(_external),
    "an h5 of deep JSON": _h5(lambda weights: None, deep(9000)),
    "an h5 of noise": _file("hostile.h5", b"\x89HDF\r\n\x1a\n" + bytes(9999)),
    "a model that is a text": _file("hostile.keras", b"no model"),
}


def train_line(name: str) -> tuple[str, ...]:
    """The command that takes a data set or a model."""
    if name.endswith("npz"):
        return "train", "--dataset", name, "--epochs", "1", "--db", "new.db"
    return "train", "--model", name, "--inputs", "standardized", "--db", "new.db"
