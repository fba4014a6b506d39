"""A user's data set: an ``.npz`` file, read so that a strange one can do no harm.

Nothing in it is unpickled. No memory is asked for before it is known that the file can fill it.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ..errors import InputError
from .dataset import Dataset, one_line

_NEEDED = ("x_train", "y_train", "x_test", "y_test")
_OPTIONAL = ("class_names", "noun")

#: Deflate makes nothing smaller than this many times.
_MOST_COMPRESSION = 1032
# Images become a tenth, those that are nearly empty a fiftieth. Small files may be anything.
_USUAL_COMPRESSION = 100
_LARGE = 2**28
# Of the classes' names, or of the noun, in bytes.
_LARGEST_TEXTS = 2**26


def read(path: Path) -> Dataset:
    """The data set in an ``.npz`` file. Its name is the file's, without the folder.

    Parameters
    ----------
    path
        A file with ``x_train``, ``y_train``, ``x_test`` and ``y_test``, as `Dataset` wants them.
        It may also hold ``class_names`` (texts) and ``noun`` (a text).

    Raises
    ------
    InputError
        If the file can't be read, is damaged, or holds something else.
    """
    if os.path.lexists(path) and not os.path.isfile(path):
        raise InputError(f"{path} isn't a file: name one that np.savez has written")
    try:
        arrays = _arrays(path)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything
        reason = getattr(error, "strerror", None) or one_line(error)
        raise InputError(
            f"{path} can't be read ({reason}): name a file that np.savez has written"
        ) from None
    names, noun = arrays.get("class_names"), arrays.get("noun")
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise InputError(
            f"{path}: class_names must be texts, for example np.array(['ball', 'kite'])"
        )
    if noun is not None and (noun.dtype.kind != "U" or noun.size != 1):
        raise InputError(f"{path}: noun must be one text, for example np.array('toy')")
    x_train, y_train, x_test, y_test = (arrays[key] for key in _NEEDED)
    return Dataset(
        path.name,
        x_train,
        y_train,
        x_test,
        y_test,
        class_names=() if names is None else tuple(names.tolist()),
        noun="image" if noun is None else noun.item(),
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
        missing = [key for key in _NEEDED if f"{key}.npy" not in held]
        if missing:
            raise InputError(
                f"{path} lacks {', '.join(missing)}: a data set holds {', '.join(_NEEDED)}"
            )
        keys = [key for key in (*_NEEDED, *_OPTIONAL) if f"{key}.npy" in held]
        return read_arrays(archive, keys, path.stat().st_size, str(path))


def read_arrays(
    archive: zipfile.ZipFile, keys: Sequence[str], n_bytes: int, name: str
) -> dict[str, np.ndarray]:
    """Some arrays of an ``.npz`` archive, all of whose headers are checked first.

    Parameters
    ----------
    archive, keys
    n_bytes
        The size of the whole archive.
    name
        What messages call it.

    Raises
    ------
    InputError
        If an array isn't one of numbers or texts, or isn't as large as it says.
    """
    total = sum(_checked_bytes(name, n_bytes, archive, key) for key in keys)
    packed = min(n_bytes, sum(archive.getinfo(f"{key}.npy").compress_size for key in keys))
    if total > _LARGE and total > _USUAL_COMPRESSION * packed:
        raise InputError(
            f"{name}: it has {total / 1e6:,.0f} MB, packed into {packed / 1e6:.1f}, as no images "
            "can be: write it with np.savez"
        )
    arrays = {}
    for key in keys:
        with archive.open(f"{key}.npy") as file:
            arrays[key] = npy.read_array(file, allow_pickle=False)
    return arrays


def _checked_bytes(path: str, size: int, archive: zipfile.ZipFile, key: str) -> int:
    """How many bytes an array has; refused are Python objects, and more than the file can hold.

    NumPy would ask for the memory first.
    """
    member = archive.getinfo(f"{key}.npy")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        n_bytes = member.file_size - file.tell()
    if dtype.hasobject:
        raise InputError(
            f"{path}: {key} holds Python objects, which could run code: save it as an array of "
            "numbers" + (" (np.stack makes one of equal images)" if key[0] == "x" else "")
        )
    packed = min(member.compress_size, size)
    is_possible = member.file_size <= packed * _MOST_COMPRESSION
    if math.prod(shape) * dtype.itemsize != n_bytes or not is_possible or min(shape, default=0) < 0:
        raise InputError(
            f"{path} is damaged: {key} says that it is {shape} of {dtype}, which is not what the "
            "file holds. Write it again with np.savez"
        )
    if key in _OPTIONAL and n_bytes > _LARGEST_TEXTS:
        most = f"{_LARGEST_TEXTS / 1e6:,.1f}"
        raise InputError(f"{path}: {key} has {n_bytes / 1e6:,.1f} MB, and can have {most}")
    return n_bytes
