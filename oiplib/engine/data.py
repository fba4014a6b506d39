"""Image data sets by name: MNIST, Fashion-MNIST, CIFAR-10, a user's file, and what is registered.

`Dataset` says what a data set is. A user's own one is an ``.npz`` file, or a function that is
registered here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from . import npz
from .cifar import CIFAR_10
from .dataset import Dataset
from .mnist import FASHION_MNIST, MNIST

__all__ = ["Dataset", "Loader", "load", "names", "register"]

Loader = Callable[[Path | None], Dataset]
_LOADERS: dict[str, Loader] = {
    original.name: original.load for original in (MNIST, FASHION_MNIST, CIFAR_10)
}


def load(name: str, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """A registered data set, or a user's ``.npz`` with x_train, y_train, x_test and y_test.

    Parameters
    ----------
    name
        A registered name, or a path that ends in ``.npz``.
    folder
        The folder that holds the data set's files. Without it the loader looks elsewhere. An
        ``.npz`` is looked for there by its name alone; its whole path may be given, too.

    Raises
    ------
    InputError
        If no data set has that name, or the file isn't such a data set.
    OipError
        If the files are missing or damaged, or can't be downloaded.
    """
    if name.endswith(".npz"):
        return npz.read(npz_path(name, folder))
    if name not in _LOADERS:
        raise InputError(
            f"unknown data set {name!r}: choose one of {', '.join(names())}, "
            "or the path of an .npz file"
        )
    return _LOADERS[name](None if folder is None else Path(folder))


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
    >>> import numpy as np
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


def names() -> tuple[str, ...]:
    """The names that `load` knows, the articles' first.

    Examples
    --------
    >>> names()[:3]
    ('mnist', 'fashion-mnist', 'cifar-10')
    """
    return tuple(_LOADERS)


def npz_path(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Where a user's file is: under its name, in the named folder, or the named file itself.

    Examples
    --------
    >>> npz_path("toys.npz", "data").as_posix()
    'data/toys.npz'
    """
    if folder is None:
        return Path(name)
    place = Path(folder)
    return place if place.suffix == ".npz" else place / Path(name).name
