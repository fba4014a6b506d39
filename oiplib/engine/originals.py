"""Published data sets: files that are known by their hash, and several routes to them.

Every route ends in the contents of the same files, which are checked. So every route gives the
same arrays.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from ..errors import InputError, OipError
from ..files import replacing
from .dataset import Dataset, one_line

Files = dict[str, bytes]


@dataclass(frozen=True)
class Original(ABC):
    """A data set as its authors published it.

    Attributes
    ----------
    name, title
        How it is asked for, and how it is written.
    files
        Name of each file -> hash of its uncompressed content.
    downloads
        What to try where no folder has the files: route in words -> function that fetches them.
    keras
        Its module in ``keras.datasets``.
    folders
        Where other programs put the files: route in words -> folder.
    algorithm
        What the hashes are.
    noun, class_names
        As in `Dataset`.
    """

    name: str
    title: str
    files: Mapping[str, str]
    downloads: Mapping[str, Callable[[Any], Files]]
    keras: str
    folders: Mapping[str, Path] = field(default_factory=dict)
    algorithm: str = "sha256"
    noun: str = "image"
    class_names: tuple[str, ...] = ()

    @abstractmethod
    def read(self, folder: Path) -> Files:
        """The contents of the files in a folder; `OipError` if one is missing or unreadable."""

    @abstractmethod
    def from_arrays(self, arrays: Sequence[np.ndarray]) -> Files:
        """The contents of the files, from training and test images and labels as Keras has them."""

    @abstractmethod
    def arrays(self, files: Files) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four arrays of a `Dataset`, from the contents of the files."""

    def load(self, folder: Path | None = None) -> Dataset:
        """The data set from the named folder; without one, from the first route that works.

        Raises
        ------
        InputError
            If the folder is none.
        OipError
            If the named folder's files are missing or damaged, or if every route fails.
        """
        if folder is not None:
            if not os.path.isdir(folder):
                raise InputError(f"{folder} is no folder")
            return self._dataset(self.verified(self.read(folder)))
        failures = []
        for route, fetch in self._routes().items():
            try:
                files = self.verified(fetch())
            except OipError as error:
                failures.append(f"{route}: {error}")
                continue
            if route in self.downloads:
                self._write_cache(files)
            return self._dataset(files)
        raise OipError(
            f"{self.title} can't be loaded. Tried {'; '.join(failures)}. Put its files "
            f"({', '.join(self.files)}) into a folder and name it with --data"
        )

    def verified(self, files: Files) -> Files:
        """The files, if they are the original ones."""
        for name, expected in self.files.items():
            digest = hashlib.new(self.algorithm, files[name], usedforsecurity=False)
            if digest.hexdigest() != expected:
                raise OipError(
                    f"{name} is damaged, or another data set's: its hash is not that of "
                    f"{self.title}'s"
                )
        return files

    def _routes(self) -> dict[str, Callable[[], Files]]:
        folders = {"the cache": cache_folder() / self.name, **self.folders}
        routes: dict[str, Callable[[], Files]] = {}
        for route, folder in folders.items():
            routes[route] = partial(self._in, folder)
        for route, download in self.downloads.items():
            routes[route] = partial(download, self)
        return routes

    def _in(self, folder: Path) -> Files:
        if not os.path.isdir(folder):
            raise OipError(f"nothing in {folder}")
        return self.read(folder)

    def _dataset(self, files: Files) -> Dataset:
        return Dataset(self.name, *self.arrays(files), self.class_names, self.noun)

    def _write_cache(self, files: Files) -> None:
        """Write each file whole; nothing else in the folder is touched.

        A failure is no error: without a whole cache the next run downloads again.
        """
        folder = cache_folder() / self.name
        with contextlib.suppress(OSError, OipError):
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                with replacing(folder / f"{name}.gz") as scratch:
                    scratch.write_bytes(gzip.compress(content, 1, mtime=0))


def cache_folder() -> Path:
    """The folder that keeps downloads: ``OIP_CACHE``, or the system's folder for caches."""
    return Path(os.environ.get("OIP_CACHE") or platformdirs.user_cache_dir("oiplib"))


# Of an original file, in bytes. MNIST's largest has 47 MB.
_LARGEST = 2**27


def from_keras(original: Original) -> Files:
    """Keras' download, its arrays turned back into the original files."""
    from .tf import keras

    messages = io.StringIO()  # held back
    try:
        with contextlib.redirect_stdout(messages), contextlib.redirect_stderr(messages):
            parts = getattr(keras.datasets, original.keras).load_data()
    except Exception as error:  # a download can raise anything; the next route follows
        raise OipError(f"download failed ({one_line(error)})") from None
    return original.from_arrays([np.asarray(array) for part in parts for array in part])


def content(path: Path) -> bytes | None:
    """What is in a file or in its gzipped copy beside it; None if there is neither."""
    for candidate in (path, path.with_name(f"{path.name}.gz")):
        if os.path.isfile(candidate):
            try:
                is_packed = candidate.suffix == ".gz"
                with gzip.open(candidate) if is_packed else candidate.open("rb") as file:
                    content = file.read(_LARGEST + 1)
                if len(content) > _LARGEST:
                    raise ValueError("it is larger than any of the original files")
                return content
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise OipError(f"{candidate} can't be read: {one_line(error)}") from None
    return None
