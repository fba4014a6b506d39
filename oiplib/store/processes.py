"""Which process works on a run, so that a later one can tell whether it was killed."""

from __future__ import annotations

import hashlib
import os
import platform
from typing import Any

import psutil

# Clocks are set, and a process's beginning is told by them. In seconds.
_TOLERANCE = 2.0


def this_process() -> dict[str, Any]:
    """The machine, without its name, the process's number there, and when it began."""
    return {
        "machine": hashlib.sha256(platform.node().encode()).hexdigest()[:16],
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
    }


def was_killed(process: Any) -> bool:
    """Whether a process of this machine has ended; False where nobody can tell."""
    if not isinstance(process, dict) or process.get("machine") != this_process()["machine"]:
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
