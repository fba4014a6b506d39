"""Work on several batches at a time: while one thread waits for memory, another multiplies."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

N_THREADS = min(4, os.cpu_count() or 1)


def use_threads(n: int) -> None:
    """Compute with so many threads; called before TensorFlow computes anything in this process."""
    global N_THREADS
    N_THREADS = n
    os.environ |= {"TF_NUM_INTRAOP_THREADS": str(n), "TF_NUM_INTEROP_THREADS": str(n)}


Item = TypeVar("Item")
Result = TypeVar("Result")

# TensorFlow crashed now and then when two threads made XLA compile at the same time.
_COMPILING = Lock()


def first_alone(function: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap a compiled function so that only one thread at a time compiles.

    A function is compiled when it is first called with a shape. Such calls wait for each other;
    all other calls run side by side.

    Parameters
    ----------
    function
        It is compiled anew for each shape of its first argument, an array or tensor.
    """
    compiled_shapes: set[tuple[int, ...]] = set()

    def call(*args: Any) -> Result:
        shape = tuple(args[0].shape)
        if shape in compiled_shapes:
            return function(*args)
        with _COMPILING:
            result = function(*args)
            compiled_shapes.add(shape)
        return result

    return call


def for_each_size(make: Callable[[int], Callable[..., Result]]) -> Callable[..., Result]:
    """A function that is made anew for each length of its first argument.

    TensorFlow fuses more operations, and takes faster ones, if it knows how many images there are.

    Parameters
    ----------
    make
        A length -> the function for first arguments of this length.

    Examples
    --------
    >>> for_each_size(lambda n: lambda items: (n, items))("abc")
    (3, 'abc')
    """
    made: dict[int, Callable[..., Result]] = {}
    making = Lock()

    def call(first: Any, *others: Any) -> Result:
        with making:
            function = made.get(len(first)) or made.setdefault(len(first), make(len(first)))
        return function(first, *others)

    return call


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Work on the items in threads; yields the results in the order of the items.

    At most `N_THREADS` items are begun ahead of the result that is yielded.

    Examples
    --------
    >>> list(side_by_side(abs, [-2, 1, -3]))
    [2, 1, 3]
    """
    futures: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(N_THREADS) as pool:
        try:
            for item in items:
                futures.append(pool.submit(work, item))
                if len(futures) > N_THREADS:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
