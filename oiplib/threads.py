"""Work on several batches at a time: while one waits for memory, another multiplies."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

N_THREADS = min(4, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


# TensorFlow crashed now and then where two threads let XLA compile at the same time.
_COMPILING = Lock()


def first_alone(function: Callable[..., Result]) -> Callable[..., Result]:
    """A compiled function of which only one thread at a time makes the first call of a shape.

    Parameters
    ----------
    function
        Its first argument is the array or tensor for whose shape it is compiled.
    """
    compiled: set[tuple[int, ...]] = set()

    def call(*args: Any) -> Result:
        shape = tuple(args[0].shape)
        if shape in compiled:
            return function(*args)
        with _COMPILING:
            result = function(*args)
            compiled.add(shape)
        return result

    return call


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results in the order of the items; only as many as there are threads are ahead."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(N_THREADS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > N_THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
