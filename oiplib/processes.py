"""Which process made something, so that a later one can tell whether it was killed."""

from __future__ import annotations

import hashlib
import os
import platform
from typing import Any

import psutil

# Clocks are set, and a process's beginning is told by them. In seconds.
_TOLERANCE = 2.0


def machine() -> str:
    """A name for this machine that doesn't tell its own: 16 hexadecimal digits."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:16]


def this_process() -> dict[str, Any]:
    """The machine, the process's number there, and when it began."""
    return {
        "machine": machine(),
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
    }


def was_killed(process: Any) -> bool:
    """Whether a process of this machine has ended; False where nobody can tell."""
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
