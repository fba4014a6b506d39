"""No process outlives the one that needs it: each watches whether that one still lives."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread


def end_with_parent() -> None:
    """End this process as soon as the one that wanted it has ended, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(parent.join)


def end_with(line: Connection) -> None:
    """End this process as soon as the other end of a line is closed, or its process has ended."""

    def wait() -> None:
        with suppress(EOFError, OSError):
            line.recv()

    _end_after(wait)


def end_with_input() -> None:
    """End this process as soon as its standard input ends, which the parent holds open."""
    # Not by Python's buffer, which a thread must not hold while the process ends.
    _end_after(lambda: os.read(0, 1))


def _end_after(wait: Callable[[], object]) -> None:
    def watch() -> None:
        wait()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
