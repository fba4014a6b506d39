"""What a long question has come to so far, on disk until its answer is stored.

The answer needs all parts at once, so the database keeps none of them before. A run that is ended
goes on from these files; without them it only begins anew.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..engine.originals import cache_folder
from ..errors import OipError
from ..files import replacing
from .runs import code_sha256

# What nobody has come back to after so many seconds, a week, is removed.
_KEPT = 7 * 24 * 3600


class Halfway:
    """Arrays of parts of a question, by a number.

    Parameters
    ----------
    question
        All that the parts hang on, as a text. The versions of the code are added here, and what
        the last bits hang on: the machine, and whether oneDNN computes.
    """

    def __init__(self, question: str) -> None:
        machine = platform.node(), os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
        name = hashlib.sha256(f"{question}|{code_sha256()}|{machine}".encode()).hexdigest()
        self._folder = cache_folder() / "halfway" / name

    def get(self, part: int, names: Iterable[str]) -> dict[str, np.ndarray] | None:
        """The arrays of a part, by their names, or None if they aren't there, whole."""
        missing_or_broken = OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile
        with (
            suppress(*missing_or_broken),
            np.load(self._path(part), allow_pickle=False) as arrays,
        ):
            return {name: arrays[name] for name in names}
        return None

    def put(self, part: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a part. Where the disk is full, they are computed again."""
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        with suppress(OSError, OipError):
            if not self._folder.exists():
                self._remove_old()
                self._folder.mkdir(parents=True)
            with replacing(self._path(part)) as scratch:
                scratch.write_bytes(content.getvalue())

    def end(self) -> None:
        """Remove all parts: the answer is stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, part: int) -> Path:
        return self._folder / f"{part}.npz"

    def _remove_old(self) -> None:
        for folder in self._folder.parent.glob("*"):
            if time.time() - folder.stat().st_mtime > _KEPT:
                shutil.rmtree(folder, ignore_errors=True)
