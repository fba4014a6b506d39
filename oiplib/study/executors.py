"""Where units of work are computed: here, in worker processes, or on a Dask cluster.

Whoever reaches a Dask scheduler can run code on its workers and in the programs that use it, so an
address must be one that you trust.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from threading import Lock
from types import ModuleType, TracebackType
from typing import Any, ClassVar

from ..errors import InputError, OipError
from ..progress import SILENT
from .runs import code_sha256
from .units import Packed, Subject, Unit

# How long a scheduler may be away, and how long one that is named first may take to answer.
_LONGEST_ABSENCE, _LONGEST_ANSWER = 600.0, 10.0

# Networks and data sets that a worker has ready at the same time; each holds compiled functions.
_MOST_OPENED = 4

# What Dask's client raises while no scheduler answers.
_AWAY = OSError, CancelledError, RuntimeError, TypeError, AttributeError, ValueError

_log = logging.getLogger("oiplib")


class Executor(ABC):
    """Where units are computed. A context manager: what it started ends with it.

    Attributes
    ----------
    is_here : bool
        Whether units are computed in this process, one after the other.
    """

    is_here: ClassVar[bool] = False

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """How many units are computed at the same time."""

    @property
    def n_at_once(self) -> int:
        """How many units are handed out before one has come back."""
        return self.n_workers

    @abstractmethod
    def submit(self, unit: Unit, subject: Subject, progress: Any = SILENT) -> Future[Any]:
        """Hand out a unit. The progress bar is only updated where the unit is computed here."""

    def n_counted(self) -> int:
        """How far the units are that are computed elsewhere now, in what their bar counts."""
        return 0

    def has_lost(self, future: Future[Any]) -> bool:
        """Whether a unit that failed did so because its worker is gone."""
        return future.cancelled() or isinstance(future.exception(), BrokenProcessPool)

    def has_lost_all(self) -> bool:
        """Whether everything that was handed out is lost."""
        return False

    def give_up(self) -> None:  # noqa: B027 - not each hands something out
        """Nobody waits for the units any more that are computed now."""

    def close(self) -> None:  # noqa: B027 - not each has something to end
        """End what was started; units that go on are given up."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Here(Executor):
    """This process. A unit's batches run in threads."""

    is_here = True
    n_workers = 1

    def submit(self, unit: Unit, subject: Subject, progress: Any = SILENT) -> Future[Any]:
        """Compute a unit, and return when it is done."""
        done: Future[Any] = Future()
        done.set_result(unit.compute(subject.here(), progress))
        return done


class Workers(Executor):
    """Processes on this machine, each with its share of the processor's cores.

    A process that ends takes only its own unit with it; another one takes its place.

    Parameters
    ----------
    n
        How many processes.
    n_threads
        Of each process; by default all of them together have one for each core.

    Raises
    ------
    InputError
        If there is to be none, or more than the machine has cores.

    Examples
    --------
    ::

        with Workers(2) as workers:
            Study("oip.db", executor=workers).derive()
    """

    def __init__(self, n: int, n_threads: int | None = None) -> None:
        most = n_cores()
        if not 1 <= n <= most:
            raise InputError(f"{n} workers can't be used: choose 1 to {most}, the cores here")
        self._workers = [_Worker(n_threads or most // n) for _ in range(n)]

    @property
    def n_workers(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    def submit(self, unit: Unit, subject: Subject, progress: Any = SILENT) -> Future[Any]:
        """Hand a unit to a process that has none."""
        return next(each for each in self._workers if each.is_free).submit(unit, subject)

    def n_counted(self) -> int:
        """As `Executor`."""
        return sum(worker.n_counted for worker in self._workers)

    def give_up(self) -> None:
        """As `Executor`; processes that compute one end."""
        for worker in self._workers:
            if not worker.is_free:
                worker.end()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process that computes one unit at a time, and keeps the subjects that it was sent."""

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._pool: ProcessPoolExecutor | None = None
        self._sent: set[str] = set()
        self._running: Future[Any] | None = None
        # Never forked: TensorFlow's threads don't survive that.
        self._context = multiprocessing.get_context("spawn")
        self._counted = self._context.Value("Q")

    @property
    def n_counted(self) -> int:
        return 0 if self.is_free else int(self._counted.value)

    @property
    def is_free(self) -> bool:
        return self._running is None or self._running.done()

    def submit(self, unit: Unit, subject: Subject) -> Future[Any]:
        try:
            return self._submit(unit, subject)
        except BrokenProcessPool:  # it ended while it had no unit
            self.end()
            return self._submit(unit, subject)

    def _submit(self, unit: Unit, subject: Subject) -> Future[Any]:
        if self._pool is None:
            arguments = self._n_threads, self._counted
            self._pool = ProcessPoolExecutor(1, self._context, _begin, arguments)
            with _without_main():
                self._pool.submit(_started)
        if subject.sha256 not in self._sent:
            self._pool.submit(_receive, subject.sha256, subject.packed())
            self._sent.add(subject.sha256)
        self._counted.value = 0
        self._running = self._pool.submit(_computed, unit, subject.sha256)
        return self._running

    def end(self) -> None:
        """End the process at once; the next unit starts another one."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool, self._running = None, None
        self._sent.clear()


@contextmanager
def _without_main() -> Iterator[None]:
    """Start a process that doesn't run the user's script once more, as Python's would.

    Units need nothing of it, and a script that isn't guarded against that would never end.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# What a worker was sent, by its hash.
_RECEIVED: dict[str, Packed] = {}


class _Counted:
    """The progress bar of a worker process: it counts where the driver looks."""

    value: ClassVar[Any] = None

    def update(self, n: int = 1) -> None:
        with self.value.get_lock():
            self.value.value += n

    def set_postfix(self, **told: Any) -> None:
        pass


def _begin(n_threads: int, counted: Any) -> None:
    """Prepare a process that computes units."""
    import signal

    _Counted.value = counted

    from ..lifeline import end_with_parent

    end_with_parent()
    # Ctrl-C reaches all processes of a terminal; the driver ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from ..engine.threads import use_threads

    use_threads(n_threads)


def _started() -> None:
    """A process computes nothing yet."""


def _receive(sha256: str, packed: Packed) -> None:
    _RECEIVED[sha256] = packed


def _computed(unit: Unit, sha256: str) -> Any:
    return _told(lambda: unit.compute(_opened(sha256), _Counted()))


class UnitFailed(Exception):
    """A unit failed elsewhere: with which error, in a line. Any other error might not travel."""


def _told(compute: Callable[[], Any]) -> Any:
    """What a function returns; an error of it is one that can be sent to the driver."""
    try:
        return compute()
    except OipError as error:
        told: Exception = error
    except Exception as error:
        told = UnitFailed(f"{type(error).__name__}: {_first_line(error)}")
    # Where tblib is, an error travels with those that it came from, and these might not.
    told.__cause__ = told.__context__ = None
    raise told


@lru_cache(maxsize=_MOST_OPENED)
def _opened(sha256: str) -> Any:
    return _RECEIVED[sha256].opened()


class Cluster(Executor):
    """A Dask cluster. Its workers need neither the database nor a file of this machine.

    A worker that ends takes only its units with it. If the scheduler goes away, what was handed
    out is handed out again when it is back.

    Parameters
    ----------
    address
        The scheduler's, such as ``tcp://10.0.0.5:8786``, or ``local`` for one with a worker for
        each core of this machine, which is started now.

    Raises
    ------
    InputError
        If Dask isn't installed, or no scheduler answers.

    Examples
    --------
    ::

        with Cluster("tcp://10.0.0.5:8786") as cluster:
            Study("oip.db", executor=cluster).derive()
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError:
            raise InputError(
                "a cluster needs Dask, which isn't installed: pip install 'oiplib[cluster]'"
            ) from None
        self._address, self._own = address, None
        if address == "local":
            self._own = distributed.LocalCluster(
                n_workers=n_cores(), threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
            self._address = self._own.scheduler_address
        try:
            self._connect(_LONGEST_ANSWER)
        except (OSError, ValueError, TypeError, OverflowError) as error:
            self.close()
            raise InputError(
                f"no Dask scheduler answers at {address[:200]}: {_first_line(error)}; start one by "
                "'dask scheduler' and workers by 'dask worker ADDRESS', or name local"
            ) from None

    @property
    def n_workers(self) -> int:
        """How many workers the scheduler has now; 0 while it is away."""
        with suppress(*_AWAY):
            return len(self._client.nthreads())
        return 0

    @property
    def n_at_once(self) -> int:
        """Two units for each worker, so that none waits for the driver."""
        return 2 * max(1, self.n_workers)

    def submit(self, unit: Unit, subject: Subject, progress: Any = SILENT) -> Future[Any]:
        """Hand a unit to the scheduler; waits for it if it is away."""
        begin, is_told = time.monotonic(), False
        while True:
            try:
                # The client comes back by itself, but to a scheduler that knows nothing of it.
                if self._scheduler() is None or self.has_lost_all():
                    self._connect(_LONGEST_ANSWER)
                packed = self._scattered(subject)
                return self._executor.submit(
                    _computed_on_cluster, unit, subject.sha256, packed, code_sha256()
                )
            except _AWAY as error:
                if not is_told:
                    _log.warning("the Dask scheduler at %s is away; waiting for it", self._address)
                    is_told = True
                if time.monotonic() - begin > _LONGEST_ABSENCE:
                    raise OipError(
                        f"the Dask scheduler at {self._address} is gone: {_first_line(error)}; "
                        "start it and call again, what is finished is stored"
                    ) from None
                time.sleep(1)

    def has_lost(self, future: Future[Any]) -> bool:
        """Whether a unit failed because its worker is gone, or what that was sent."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        lost = KilledWorker, FutureCancelledError, CancelledError
        return future.cancelled() or isinstance(future.exception(), lost)

    def has_lost_all(self) -> bool:
        """Whether the scheduler isn't the one any more that the units were handed to."""
        return self._scheduler() != self._known

    def close(self) -> None:
        """Leave the cluster: units that wait there are cancelled, and what was sent is released."""
        if client := vars(self).get("_client"):
            with suppress(Exception):
                self._executor.shutdown(wait=False)
            self._sent.clear()
            with suppress(Exception):
                client.close(timeout=5)
        if self._own is not None:
            self._own.close(timeout=10)

    def _connect(self, timeout: float) -> None:
        import distributed

        if client := vars(self).get("_client"):
            with suppress(Exception):
                client.close(timeout=1)
        self._sent: dict[str, Any] = {}
        self._client = distributed.Client(self._address, timeout=timeout, set_as_default=False)
        self._executor = self._client.get_executor(pure=False, retries=0)
        self._known = self._scheduler()

    def _scheduler(self) -> str | None:
        """The id of the scheduler that answers, or None."""
        if self._client.status != "running":
            return None
        with suppress(*_AWAY):
            return str(self._client.sync(self._client.scheduler.identity)["id"])
        return None

    def _scattered(self, subject: Subject) -> Any:
        """The subject on the cluster: it is sent once, and goes from worker to worker."""
        future = self._sent.get(subject.sha256)
        if future is None or future.status != "finished":
            future = self._client.scatter(subject.packed(), broadcast=True, hash=False)
            self._sent[subject.sha256] = future
        return future


# One unit at a time in a process: its batches use all the threads that there are.
_COMPUTING = Lock()
_OPENED: dict[str, Any] = {}


def _computed_on_cluster(unit: Unit, sha256: str, packed: Packed, code: str) -> Any:
    if code_sha256() != code:
        raise OipError(
            "a worker of the cluster has another oiplib, or other versions of Python, TensorFlow, "
            "Keras or NumPy, so its results would differ: install there what is installed here"
        )
    with _COMPUTING:
        _prepare()
        if sha256 not in _OPENED:
            while len(_OPENED) >= _MOST_OPENED:
                del _OPENED[next(iter(_OPENED))]
            _OPENED[sha256] = packed.opened()
        return _told(lambda: unit.compute(_OPENED[sha256]))


@cache
def _prepare() -> None:
    """Use as many threads as Dask gives this worker."""
    from distributed import get_worker

    from ..engine.threads import use_threads

    use_threads(get_worker().state.nthreads)


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
