"""Which process made something, so that a later one can tell whether it was killed."""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

# Clocks are set, and a process's beginning is told by them. In seconds.
_TOLERANCE = 2.0


@cache
def machine() -> str:
    """A name for where the numbers of processes are those of this one: 16 hexadecimal digits.

    Containers may share a machine's name, and see other processes; machines may have one name,
    too. The name can't be told from it.
    """
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def this_process() -> dict[str, Any]:
    """The machine, the process's number there, and when it began."""
    return {
        "machine": machine(),
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
    }


def was_killed(process: Any) -> bool:
    """Whether a process of this machine has ended; False where nobody can tell.

    So it is of a container that has ended: its processes can't be seen from another one.
    """
    if not isinstance(process, dict) or process.get("machine") != machine():
        return False
    pid, began = process.get("pid"), process.get("began")
    if type(pid) is not int or type(began) is not float:
        return False
    try:
        return abs(psutil.Process(pid).create_time() - began) > _TOLERANCE
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return True
    except psutil.Error:
        return False
