"""Files that a user names: checked before work begins, and written whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

from .errors import InputError, OipError
from .processes import machine


def check_target(path: str | os.PathLike[str], kind: str = "file") -> Path:
    """The path of a file or folder that may be written, without doing so.

    Parameters
    ----------
    path
        As the user has named it. A link leads to what it points to.
    kind
        ``file`` or ``folder``.

    Raises
    ------
    InputError
        If something of another kind is there, or the folder around it doesn't exist or can't be
        written.
    """
    if not os.fspath(path):
        raise InputError(f"an empty text names no {kind}")
    try:
        exists = Path(path).exists()
        is_plain = not exists or _is_plain(Path(path))
        target = Path(os.path.realpath(path) if is_plain else path)
    except (OSError, ValueError) as error:
        raise InputError(f"{_shown(path)} can't be written: {_reason(error)}") from None
    if exists and target.is_dir() != (kind == "folder"):
        what = "a folder" if target.is_dir() else "a file"
        raise InputError(f"{_shown(path)} is {what}: name a {kind}")
    if not is_plain:
        return target
    around = target.parent
    # Folders on the way are made when the folder itself is.
    while kind == "folder" and not around.exists():
        around = around.parent
    if not around.is_dir():
        raise InputError(f"{_shown(path)} can't be written: there is no folder {_shown(around)}")
    if kind == "folder" and exists and os.access(target, os.W_OK):
        return target  # what is up to date stays as it is
    try:
        tempfile.TemporaryDirectory(prefix=".oip-", dir=around).cleanup()
    except OSError as error:
        raise InputError(f"{_shown(path)} can't be written: {_reason(error)}") from None
    return target


@contextmanager
def replacing(path: str | os.PathLike[str], kind: str = "file") -> Iterator[Path]:
    """A path of a file or folder to be made, which then takes the place of another.

    It lies in a fresh folder beside the target, so no name of the user's is touched. After an
    error the target is as it was.

    Raises
    ------
    InputError
        As `check_target`.
    OipError
        If the disk is full.
    """
    target = check_target(path, kind)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_in(target.parent) as scratch:
            yield scratch / target.name
            if target.is_dir():
                target.rmdir()  # only an empty one
            if target.is_file():
                shutil.copymode(target, scratch / target.name)
            (scratch / target.name).replace(target)
    except OSError as error:
        raise _failed(path, error) from None


def check_other(path: str | None, others: Sequence[str], what: str) -> None:
    """Raise `InputError` if a file to be written is one of some others, by whatever name.

    Parameters
    ----------
    path
        None, or ``-``, is none of them.
    others
        Those that there are not count by their path.
    what
        What messages call the others, such as ``the database``.
    """
    for other in others if path not in (None, "-") else ():
        try:
            is_same = os.path.samefile(str(path), other)
        except (OSError, ValueError):
            is_same = os.path.realpath(str(path)) == os.path.realpath(other)
        if is_same:
            raise InputError(f"{_shown(str(path))} is {what}: name another file")


def write(path: str, work: Callable[[IO[Any]], object]) -> None:
    """Write a file, whole or not at all; ``-`` is the standard output.

    Parameters
    ----------
    path
        The file. What is there and no plain file, such as a pipe, is written to.
    work
        Is called with a file that takes bytes.

    Raises
    ------
    InputError, OipError
        As `replacing`.
    """
    target = None if path == "-" else check_target(path)
    if target is not None and (not target.exists() or _is_plain(target)):
        with replacing(path) as scratch, scratch.open("wb") as file:
            work(file)
        return
    buffer = io.BytesIO()
    work(buffer)
    if target is None and sys.stdout is None:
        raise InputError("there is no standard output: name a file")
    try:
        if target is None:
            sys.stdout.buffer.write(buffer.getvalue())
            sys.stdout.buffer.flush()
        else:
            target.write_bytes(buffer.getvalue())
    except OSError as error:
        raise _failed(path, error) from None


@contextmanager
def scratch_in(around: Path) -> Iterator[Path]:
    """A fresh folder in another one, removed at the end.

    Its name says whose it is, so that nothing else can be taken for one. Those that killed
    processes have left there are removed at the beginning.
    """
    prefix = f".oip-{machine()}-"
    for left in around.glob(f"{prefix}*"):
        of_process = re.fullmatch(rf"{prefix}(\d{{1,9}})-\w{{8}}", left.name)
        if of_process and not psutil.pid_exists(int(of_process[1])):
            shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=around))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _failed(path: str | os.PathLike[str], error: OSError) -> OipError:
    """A disk that is full or broken is a failure, all else a path that can't be used."""
    kind = OipError if error.errno in FAILURES else InputError
    return kind(f"{_shown(path)} can't be written: {_reason(error)}")


#: Of a disk, not of a path.
FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def _is_plain(path: Path) -> bool:
    """Whether what is there is a file or a folder: no pipe, device or socket."""
    return path.is_file() or path.is_dir()


def _shown(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return text if len(text) <= 200 else f"{text[:80]}..."


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
