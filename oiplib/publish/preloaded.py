"""Imported first by the process that kernels are copies of: it ends with the worker it belongs to.

Otherwise it would go on importing for seconds, and then take itself apart for some more. Its
copies, the kernels, don't inherit this; they watch by themselves.
"""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # Linux' own; elsewhere the process ends a little later

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
