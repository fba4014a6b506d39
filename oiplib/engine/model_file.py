"""What a model file holds: an architecture, and weights. Looked at before anything is built of it.

A stranger's file can say that it holds more than any machine has, or that its weights lie in
another file of the user's. HDF5 would ask for the memory, and read that file.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]

from ..errors import InputError
from ..values import parsed
from .bounds import LARGEST_ARCHITECTURE, parsed_architecture

#: How files of models end.
ENDINGS = (".keras", ".h5", ".hdf5")

# Keras doesn't pack weights; whoever does so saves little, unless most of them are 0.
_MOST_PACKED = 20
# Below so many bytes a part may be packed as it likes.
_SMALL = 10**6
# Groups and arrays of weights. NASNetLarge has about 4,000.
_MOST_ENTRIES = 100_000

# How files of weights without an architecture end.
_WEIGHTS_ONLY = ".weights.h5"
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def check_file(path: Path) -> None:
    """Raise `InputError` unless there is a file that may hold a whole model."""
    if os.path.exists(path / "saved_model.pb") or path.name == "saved_model.pb":
        raise InputError(
            f"{path} is a SavedModel, from which Keras 3 can't rebuild the layers: load it with "
            "the Keras that wrote it, and save it by model.save('model.keras')"
        )
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: models are files that end in {', '.join(ENDINGS)}")
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")


def stored_architecture(path: Path) -> tuple[Any, str]:
    """The architecture that a file holds, parsed and not yet built, and the version of Keras."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            architecture = parsed_architecture(archive.read(_CONFIG))
            version = parsed(archive.read(_METADATA)).get("keras_version", "")
    else:
        with h5py.File(path, "r") as file:
            text, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
        if text is None:
            raise InputError(
                "it holds weights without an architecture: save the whole model by "
                "model.save('model.keras')"
            )
        architecture = parsed_architecture(text)
        version = version.decode() if isinstance(version, bytes) else version
    if not isinstance(version, str):
        raise ValueError(f"it says that Keras {str(version)[:20]!r} wrote it")
    if isinstance(architecture, dict):
        architecture.pop("compile_config", None)  # isn't loaded
    return architecture, version


@contextmanager
def weights_file(path: Path) -> Iterator[tuple[Path, int]]:
    """The HDF5 file with the weights of a model file, and how many bytes its arrays have.

    Raises
    ------
    ValueError
        If an array lies elsewhere, or all together are larger than what the file can hold.
    """
    if path.suffix != ".keras" and not path.name.endswith(_WEIGHTS_ONLY):
        yield path, _checked_bytes(path, path)
        return
    with tempfile.TemporaryDirectory(prefix="oip-") as folder:
        if path.suffix != ".keras":
            # By this ending Keras would take it for weights without a model.
            weights = Path(folder) / "whole.h5"
            weights.symlink_to(path.resolve())
            yield weights, _checked_bytes(weights, path)
            return
        weights = Path(folder) / _WEIGHTS
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(_WEIGHTS) as member,
            weights.open("wb") as file,
        ):
            shutil.copyfileobj(member, file)
        yield weights, _checked_bytes(weights, path)


def _check_members(archive: zipfile.ZipFile) -> None:
    """Refuse an archive with other parts than those of a model, or with such as swell."""
    names = [member.filename for member in archive.infolist()]
    if len(set(names)) < len(names):
        raise ValueError("it holds a part twice")
    for member in archive.infolist():
        if member.filename not in (_CONFIG, _METADATA, _WEIGHTS):
            raise ValueError(
                f"it holds {member.filename[:40]!r}, which no network that takes images needs"
            )
        if member.filename != _WEIGHTS:
            if member.file_size > LARGEST_ARCHITECTURE:
                raise ValueError("its architecture is larger than that of any network")
        elif member.file_size > max(_SMALL, _MOST_PACKED * member.compress_size):
            raise ValueError("its weights are packed so tightly as none are")


def _checked_bytes(path: Path, whole: Path) -> int:
    """How many bytes the arrays of an HDF5 file have; all must lie inside it.

    They are compared with the size of the whole model file.
    """
    declared, n_entries = 0, 0
    with h5py.File(path, "r") as file:
        groups, seen = [file], set()
        while groups:
            group = groups.pop()
            for name in group:
                n_entries += 1
                if n_entries > _MOST_ENTRIES:
                    raise ValueError(f"it has more than {_MOST_ENTRIES:,} arrays of weights")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"its {_shown(name)} is a link to what lies elsewhere")
                item = group[name]
                if isinstance(item, h5py.Group):
                    address = h5py.h5o.get_info(item.id).addr
                    if address not in seen:
                        seen.add(address)
                        groups.append(item)
                elif isinstance(item, h5py.Dataset):
                    if item.is_virtual or item.external:
                        raise ValueError(f"its {_shown(name)} lies in another file")
                    if item.dtype.hasobject:
                        raise ValueError(f"its {_shown(name)} holds no numbers")
                    # A part of an array that is packed by itself is unpacked whole.
                    chunk = math.prod(item.chunks or ()) * item.dtype.itemsize
                    declared += max(item.nbytes, chunk)
    if declared > max(_SMALL, _MOST_PACKED * whole.stat().st_size):
        raise ValueError(f"it says that it holds {declared / 1e6:,.0f} MB of weights, and doesn't")
    return declared


def _shown(name: str) -> str:
    return repr(name[:40])
