"""Data sets and models as an enemy would make them; see ``fuzz.py``."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hostile_files import Bomb, architectures, deep, header, npy


def _npz(**members: Any) -> Callable[[Path, Path], list[str]]:
    """A data set with some arrays changed: bytes are taken as they are."""

    def make(folder: Path, sound: Path) -> list[str]:
        with np.load(sound / "digits.npz") as archive:
            whole = {name: archive[name] for name in archive.files}
        with zipfile.ZipFile(folder / "hostile.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, value in {**whole, **members}.items():
                if value is not None:
                    content = value if isinstance(value, bytes) else npy(value, pickled=True)
                    archive.writestr(f"{name}.npy", content)
        return ["train", "--dataset", "hostile.npz", "--epochs", "1", "--db", "new.db"]

    return make


def _keras(change: Callable[[dict[str, bytes], str], None]) -> Callable[[Path, Path], list[str]]:
    """A model file with some members changed."""

    def make(folder: Path, sound: Path) -> list[str]:
        with zipfile.ZipFile(sound / "sound.keras") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members, members["config.json"].decode())
        with zipfile.ZipFile(folder / "hostile.keras", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return ["train", "--model", "hostile.keras", "--inputs", "standardized", "--db", "new.db"]

    return make


def _architecture(name: str) -> Callable[[Path, Path], list[str]]:
    def change(members: dict[str, bytes], sound: str) -> None:
        import random

        text = next(text for n, text, _ in architectures(random.Random(0), sound) if n == name)
        members["config.json"] = text.encode()

    return _keras(change)


def _h5(name: str) -> Callable[[Path, Path], list[str]]:
    """A weights file inside a model, or a whole model, that h5py reads."""

    def make(folder: Path, sound: Path) -> list[str]:
        with zipfile.ZipFile(sound / "sound.keras") as archive:
            config = archive.read("config.json").decode()
        with h5py.File(folder / "hostile.h5", "w") as file:
            file.attrs["keras_version"] = "3.12.0"
            file.attrs["model_config"] = config if name != "deep" else deep(9000)
            weights = file.create_group("model_weights")
            if name == "external link":
                weights["Conv2D_1"] = h5py.ExternalLink("/etc/passwd", "/")
            elif name == "huge data set":
                weights.create_dataset("Conv2D_1", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,))
            elif name == "loop":
                weights["Conv2D_1"] = h5py.SoftLink("/model_weights/Conv2D_1")
            elif name == "raw file":
                weights.create_dataset(
                    "Conv2D_1", shape=(99,), dtype="u1", external=[("/etc/passwd", 0, 99)]
                )
        return ["train", "--model", "hostile.h5", "--inputs", "standardized", "--db", "new.db"]

    return make


def _file(name: str, content: bytes) -> Callable[[Path, Path], list[str]]:
    def make(folder: Path, sound: Path) -> list[str]:
        (folder / name).write_bytes(content)
        option = "--dataset" if name.endswith("npz") else "--model"
        return ["train", option, name, "--db", "new.db"]

    return make


def _set(**changed: bytes) -> Callable[[dict[str, bytes], str], None]:
    return lambda members, sound: members.update(
        {
            name.replace("_json", ".json").replace("_h5", ".weights.h5"): value
            for name, value in changed.items()
        }
    )


def _bytes_of(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


#: Name -> writes the file into a folder, and gives the command that takes it.
OTHERS: dict[str, Callable[[Path, Path], list[str]]] = {
    "a data set of pickles": _npz(x_train=np.array([Bomb()], object)),
    "labels of pickles": _npz(y_train=np.array([Bomb()] * 600, object)),
    "4 TiB of images": _npz(x_train=header((1 << 40, 28, 28), "|u1")),
    "a bomb of images": _npz(x_train=header((3 << 20, 32, 32), "|u1", bytes(3 << 30))),
    "labels of 2e9": _npz(y_train=np.full(600, 2_000_000_000)),
    "labels of -1": _npz(y_train=np.full(600, -1)),
    "labels of NaN": _npz(y_train=np.full(600, np.nan)),
    "images of NaN": _npz(x_train=np.full((600, 28, 28), np.nan, "f4")),
    "images of inf": _npz(x_train=np.full((600, 28, 28), np.inf, "f4")),
    "images of 0 pixels": _npz(
        x_train=np.zeros((600, 0, 28), "u1"), x_test=np.zeros((100, 0, 28), "u1")
    ),
    "no images": _npz(x_train=np.zeros((0, 28, 28), "u1"), y_train=np.zeros(0, int)),
    "no test images": _npz(x_test=None),
    "class names of some MB": _npz(class_names=np.array(["x" * 3_000_000] * 10)),
    "a million class names": _npz(class_names=np.array([f"c{i}" for i in range(300_000)])),
    "class names with escapes": _npz(class_names=np.array(["\x1b[2J"] * 10)),
    "images of texts": _npz(x_train=np.full((600, 28, 28), "a")),
    "a header of a version 9": _npz(x_train=b"\x93NUMPY\x09\x00" + bytes(200)),
    "a header of 4 GB": _npz(
        x_train=b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b" " * 99
    ),
    "an empty data set": _file("hostile.npz", b""),
    "a data set cut short": _file("hostile.npz", b"PK\x03\x04" + bytes(100)),
    "a model of 2e9 units": _architecture("Dense of 2e9 units"),
    "a model with a Lambda": _architecture("Lambda"),
    "a model of os.system": _architecture("os.system"),
    "a model of deep JSON": _architecture("nested 100,000 deep"),
    "a model of nested configs": _architecture("nested configs"),
    "a model with a TFSMLayer": _architecture("TFSMLayer"),
    "a model with a StringLookup": _architecture("StringLookup"),
    "a model of huge images": _architecture("images of 1e6"),
    "a model of padding 1e5": _architecture("ZeroPadding by 1e5"),
    "a model of upsampling 1e5": _architecture("UpSampling by 1e5"),
    "a model with a list of configs": _architecture("config is a list"),
    "weights of noise": _keras(_set(model_h5=bytes(range(256)) * 99)),
    "no weights": _keras(lambda members, sound: members.pop("model.weights.h5") and None),
    "metadata of a list": _keras(_set(metadata_json=b"[]")),
    "metadata of bytes": _keras(_set(metadata_json=b"\xff\xfe")),
    "a version of a number": _keras(_set(metadata_json=b'{"keras_version": 3}')),
    "config of 200 MB": _keras(_set(config_json=b'"' + b" " * (200 << 20) + b'"')),
    "config of 100 MB": _keras(_set(config_json=json.dumps({"a": [0] * 33_000_000}).encode())),
    "assets outside": _keras(
        lambda members, sound: (
            members.update({"../sprung": b"", "assets/../../sprung": b""})
            or (members.pop("config.json") and None)
        )
    ),
    "an h5 with an external link": _h5("external link"),
    "an h5 of 4 TiB": _h5("huge data set"),
    "an h5 with a loop": _h5("loop"),
    "an h5 of another's file": _h5("raw file"),
    "an h5 of deep JSON": _h5("deep"),
    "an h5 of noise": _file("hostile.h5", b"\x89HDF\r\n\x1a\n" + bytes(9999)),
    "a model that is a text": _file("hostile.keras", b"no model"),
}
