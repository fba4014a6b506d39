"""Runs: each piece of work, what it computed on, and how it ended."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..store import Store
from ..values import Spec

_PACKAGES = ("oiplib", "tensorflow", "keras", "numpy", "sqlalchemy")

#: What is kept of an error, in characters.
LONGEST_ERROR = 500

#: What a run may do.
KINDS = (
    *("train", "import", "screen", "derive", "select", "react"),
    *("null", "restart", "correspond", "trust"),
)


@contextmanager
def running(store: Store, kind: str, spec: Spec | None = None) -> Iterator[int]:
    """Note in the database that work goes on, and how it ended; gives the run's id."""
    what, computed_on = None if spec is None else spec.to_dict(), environment()
    run_id = None
    try:  # also where Ctrl-C comes before the work begins, or after it has ended
        run_id = store.start_run(kind, what, computed_on)
        yield run_id
        store.end_run(run_id, "done")
    except BaseException as error:
        if run_id is not None:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            store.end_run(run_id, status, str(error)[:LONGEST_ERROR])
        raise


def environment() -> dict[str, Any]:
    """What a run computes on: versions, device, threads, commit of our code."""
    from ..engine import network

    return {
        "platform": platform.platform(),
        **package_versions(),
        "device": network.device(),
        "threads": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "git_commit": _git_commit(),
    }


def package_versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that results hang on."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


@cache
def code_sha256() -> str:
    """A hash of the package's source, and of the versions that results hang on."""
    others = {name: of for name, of in package_versions().items() if name != "oiplib"}
    digest = hashlib.sha256(repr(sorted(others.items())).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    """The version of a package, or of its build without a graphics card, which has a suffix."""
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            pass
    return None


def _git_commit() -> str | None:
    """The commit of the checkout that the package is imported from, if it is one."""
    package = Path(__file__).parents[1]
    if not (package.parent / ".git").exists():
        return None
    command = ["git", "-C", str(package), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
