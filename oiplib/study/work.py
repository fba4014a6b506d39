"""Units of work are handed out, and what comes back is stored, one transaction a unit.

The driver alone writes. So the store may be any, and workers need none. A worker that is lost
costs its unit, which is handed out again; a unit that fails again and again is named in the end.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import OipError
from ..store import Store
from .executors import Executor
from .units import Subject, Unit

# How often a unit may fail, and how often it may lose its worker, which is seldom its own fault.
_MOST_FAILURES, _MOST_LOSSES = 3, 20

# How often is looked whether all is well, and whether another driver has finished; in seconds.
_LOOK, LOOK_ELSEWHERE = 2.0, 1.0

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True)
class Work(Generic[Item]):
    """What is to be done: items in groups, each group a unit.

    What is found for an item doesn't depend on its group.

    Attributes
    ----------
    name : str
        What is asked of the items. With an item's text it names the same work everywhere.
    subject : Subject
    groups : list of tuples
        The items that aren't stored.
    unit : function
        Of some items.
    keep : function
        Takes items and what their unit computed, and stores it.
    stored : function, optional
        Which items are stored now. Without it nothing is left to other drivers.
    """

    name: str
    subject: Subject
    groups: Sequence[tuple[Item, ...]]
    unit: Callable[[tuple[Item, ...]], Unit]
    keep: Callable[[tuple[Item, ...], Any], object]
    stored: Callable[[], Collection[Item]] | None = None


def carry_out(
    executor: Executor,
    store: Store,
    work: Work[Item],
    progress: Any,
    size: Callable[[Item], int] = lambda item: 1,
) -> None:
    """Compute units on an executor, and store each as it comes in.

    An item that another driver of the same database works on is left to that one.

    Parameters
    ----------
    progress
        A progress bar.
    size
        How much of the bar an item is.

    Raises
    ------
    OipError
        If a unit failed three times, when all others are done.
    """
    waiting = deque(work.groups)
    elsewhere: list[Item] = []
    running: dict[Future[Any], tuple[Item, ...]] = {}
    failures: Counter[tuple[Item, ...]] = Counter()
    losses: Counter[tuple[Item, ...]] = Counter()
    failed: list[str] = []
    # How much of the bar is done elsewhere, and how much of it the bar shows.
    n_done = n_shown = 0
    with store.leases() as leases, _given_up(executor, running):

        def lease(item: Item) -> str:
            return f"{work.name}|{item}"

        def mine(group: tuple[Item, ...]) -> tuple[Item, ...]:
            """Those of a group that nobody else works on, or has finished meanwhile."""
            if work.stored is None or not leases.are_shared:
                return group
            taken = tuple(item for item in group if leases.take(lease(item)))
            elsewhere.extend(item for item in group if item not in taken)
            stored = set(work.stored()) if taken else set()
            drop(tuple(item for item in taken if item in stored))
            progress.update(sum(size(item) for item in taken if item in stored))
            return tuple(item for item in taken if item not in stored)

        def drop(group: tuple[Item, ...]) -> None:
            for item in group:
                leases.drop(lease(item))

        def took_back(future: Future[Any], group: tuple[Item, ...]) -> OipError | None:
            """Keep what a unit came to; gives the error that ends all, if there is one."""
            nonlocal n_done
            if executor.has_lost(future):
                losses[group] += 1
                if losses[group] < _MOST_LOSSES:
                    waiting.appendleft(group)
                    return None
                failed.append(f"{work.unit(group)} lost its worker {_MOST_LOSSES} times")
            elif (error := future.exception()) is not None:
                if isinstance(error, OipError):
                    return error
                failures[group] += 1
                if failures[group] < _MOST_FAILURES:
                    waiting.append(group)
                    return None
                failed.append(f"{work.unit(group)} failed {_MOST_FAILURES} times ({error})")
            else:
                try:
                    work.keep(group, future.result())
                except OipError as error:
                    return error
                n_done += sum(size(item) for item in group)
            drop(group)
            return None

        while waiting or running or elsewhere:
            n_at_once = executor.n_at_once
            while waiting and len(running) < n_at_once:
                group = mine(waiting.popleft())
                if group:
                    future = executor.submit(work.unit(group), work.subject, progress)
                    running[future] = group
                if executor.is_here:
                    break  # it is done already, and is stored first
            if not running and not waiting and elsewhere:
                time.sleep(LOOK_ELSEWHERE)
                stored = set(work.stored()) if work.stored is not None else set()
                progress.update(sum(size(item) for item in elsewhere if item in stored))
                waiting.extend((item,) for item in elsewhere if item not in stored)
                elsewhere.clear()
                continue
            done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            refused = [took_back(future, running.pop(future)) for future in done]
            if error := next(filter(None, refused), None):
                raise error
            if running and not done and executor.has_lost_all():
                waiting.extendleft(reversed(running.values()))
                running.clear()
            if not executor.is_here:
                now = n_done + executor.n_counted()
                progress.update(now - n_shown)
                n_shown = now
                progress.set_postfix(workers=executor.n_workers, refresh=False)
    if failed:
        raise OipError(f"{'; '.join(failed)}; all else is stored")


@contextmanager
def _given_up(executor: Executor, running: Collection[Future[Any]]) -> Iterator[None]:
    """Leave nothing behind that computes for nobody, whatever ends the work."""
    try:
        yield
    except BaseException:
        for future in running:
            future.cancel()
        executor.give_up()
        raise
