"""CIFAR-10: six files of small colour images, in its binary or its Python version."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OipError
from .dataset import one_line
from .originals import Files, Original, content, from_keras

_SHAPE = (3, 32, 32)

#: What the archives on CIFAR's page call their folder.
_FOLDERS = ("", "cifar-10-batches-bin", "cifar-10-batches-py")


class Batches(Original):
    """Batches of records in a file each, the last one for testing.

    A record is a label and the pixels, channels first, a byte each. The Python version holds the
    same images in the same order, so its files are turned into those of the binary version.
    """

    def read(self, folder: Path) -> Files:
        """The files in the folder, or in the one that unpacking the archive made there."""
        first = next(iter(self.files))
        for place in (folder / name for name in _FOLDERS):
            if content(place / first) is not None:
                return {name: _needed(place / name) for name in self.files}
            if content(place / Path(first).stem) is not None:
                return {name: _from_python(place / Path(name).stem) for name in self.files}
        raise OipError(f"{first} is missing in {folder}, and so is {Path(first).stem}")

    def from_arrays(self, arrays: Sequence[np.ndarray]) -> Files:
        """The binary version of arrays that have their channels last."""
        train_images, train_labels, test_images, test_labels = arrays
        n_batches = len(self.files) - 1
        images = [*np.array_split(train_images, n_batches), test_images]
        labels = [*np.array_split(train_labels, n_batches), test_labels]
        return {
            name: _records(labels_of, images_of.transpose(0, 3, 1, 2))
            for name, images_of, labels_of in zip(self.files, images, labels, strict=True)
        }

    def arrays(self, files: Files) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        batches = [
            np.frombuffer(file, np.uint8).reshape(-1, 1 + np.prod(_SHAPE))
            for file in files.values()
        ]
        train, test = np.concatenate(batches[:-1]), batches[-1]
        return _pixels(train), train[:, 0], _pixels(test), test[:, 0]


def _pixels(records: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(records[:, 1:].reshape(-1, *_SHAPE).transpose(0, 2, 3, 1))


def _records(labels: np.ndarray, images: np.ndarray) -> bytes:
    """Labels and images with channels first, as the binary version writes them."""
    columns = labels.reshape(-1, 1), images.reshape(len(images), -1)
    return np.hstack(columns).astype(np.uint8).tobytes()


def _needed(path: Path) -> bytes:
    found = content(path)
    if found is None:
        raise OipError(f"{path.name} is missing in {path.parent}")
    return found


class _Inert:
    """Stands for NumPy's array, its type and their maker: keeps what it is given, does nothing."""

    state: Any = ()

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Batch(pickle.Unpickler):
    """Reads the pickle of a batch without calling anything but `_Inert`.

    A pickle can name any function to be called, and a folder may come from a stranger. Even
    NumPy's own types can be given a state that breaks them, so none is made here.
    """

    def find_class(self, module: str, name: str) -> Any:
        is_numpys = module.startswith("numpy") and name in ("_reconstruct", "ndarray", "dtype")
        if not is_numpys:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _Inert


def _from_python(path: Path) -> bytes:
    """A batch of the Python version, as the binary version has it."""
    raw = _needed(path)
    try:
        batch = _Batch(io.BytesIO(raw), encoding="bytes").load()
        _, shape, _, is_fortran, pixels = batch[b"data"].state
        images = np.frombuffer(pixels, np.uint8).reshape(shape, order="F" if is_fortran else "C")
        return _records(np.array(batch[b"labels"], np.uint8), images)
    except Exception as error:  # a strange pickle can raise anything
        raise OipError(f"{path} is no batch of CIFAR-10: {one_line(error)}") from None


#: The hashes are those of the binary version, as MXNet publishes them. No SHA-256 is known to us.
#: Nobody can make another file for a given SHA-1, only pairs of new files that share one.
CIFAR_10 = Batches(
    name="cifar-10",
    title="CIFAR-10",
    files={
        "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    },
    algorithm="sha1",
    downloads={"Keras": from_keras},
    keras="cifar10",
    class_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)
