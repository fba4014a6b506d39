"""Kernels that begin with the heavy packages loaded, each in its own fresh process.

Starting Python, TensorFlow and IPython takes seconds, and most notebooks need less time for
their work. So one process imports these packages, draws once, and does nothing else. When a
notebook begins, that process is forked: the copy is the notebook's kernel. Nothing that a notebook
does reaches another one.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import tempfile
import uuid
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import default

from ..lifeline import end_with_parent

#: The modules that the copied process has imported. The last one draws and asks for once.
PRELOADED = (
    "oiplib.publish.preloaded",
    "oiplib.engine.tf",  # TensorFlow and Keras, quietly
    "pandas",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "pandas.io.formats.style",
    "oiplib.study.chapters",
    "oiplib.publish.plots",
    "oiplib.search.scan",
    "oiplib.publish.notebooks",
    "oiplib.analysis.matching",
    "oiplib.analysis.neighbours",
    "oiplib.analysis.restarts",
    "sqlalchemy.dialects.sqlite",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
    "oiplib.publish.warmed",
)


class _Kernel:
    """A forked process with the methods of `subprocess.Popen` that a provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.pid is not None and self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkedProvisioner(LocalProvisioner):
    """Launches a kernel as a copy of a process that has imported `PRELOADED`."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        connection_file, cwd = cmd[cmd.index("-f") + 1], kwargs.get("cwd") or os.getcwd()
        run_arguments = (connection_file, dict(kwargs["env"]), cwd)
        process = context.Process(target=_run, args=run_arguments, daemon=True)
        process.start()
        self.process = _Kernel(process)  # type: ignore[assignment]
        self.pid, self.pgid, self.cwd = process.pid, None, Path(cwd)
        return self.connection_info

    async def wait(self) -> int | None:
        while await self.poll() is None:
            await asyncio.sleep(0.01)  # a kernel needs hardly longer to end
        return await super().wait()


class _Client(AsyncKernelClient):
    """A client that waits less: a fresh kernel on the same machine has no old messages."""

    async def _async_wait_for_ready(self, timeout: float | None = None) -> None:
        channel = self.iopub_channel
        get_msg = channel.get_msg
        channel.get_msg = lambda timeout=None: get_msg(timeout=min(timeout or 0.2, 0.03))
        try:
            await super()._async_wait_for_ready(timeout)
        finally:
            channel.get_msg = get_msg

    wait_for_ready = _async_wait_for_ready


class ForkedKernelManager(AsyncKernelManager):
    """Gives `nbclient` its kernels; the two talk through sockets that only this machine has."""

    @default("client_class")
    def _client_class(self) -> str:
        return f"{__name__}._Client"

    @default("client_factory")
    def _client_factory(self) -> type[AsyncKernelClient]:
        return _Client

    @default("transport")
    def _transport(self) -> str:
        return "ipc"

    @default("ip")
    def _ip(self) -> str:
        # The path of the sockets. Jupyter's default path is the same for all kernels.
        return str(Path(tempfile.gettempdir()) / f"oip-{uuid.uuid4().hex}")

    async def _async_pre_start_kernel(self, **kwargs: Any) -> Any:
        self.kernel_id = self.kernel_id or uuid.uuid4().hex
        if self.provisioner is None:
            spec = self.kernel_spec
            self.provisioner = ForkedProvisioner(
                kernel_id=self.kernel_id, kernel_spec=spec, parent=self
            )
        return await super()._async_pre_start_kernel(**kwargs)


def _run(connection_file: str, env: dict[str, str], cwd: str) -> None:
    """Be a kernel until it is shut down, or until the process that wanted it has ended.

    Jupyter's own kernels watch their parent. That of a copy is the process it was copied from,
    which in turn lives as long as any of its copies.
    """
    end_with_parent()
    # What was imported stays. To look through it for garbage would also copy its memory.
    gc.freeze()
    os.environ.clear()
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as `engine.tf` does
    os.chdir(cwd)
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(
        argv=["-f", connection_file, "--HistoryManager.enabled=False", "--IPKernelApp.quiet=True"]
    )
