"""Batches side by side, and first calls that may not be."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from oiplib.threads import first_alone, side_by_side


def test_results_come_in_order_and_errors_get_through():
    def slow_first(k):
        time.sleep(0.05 if k == 0 else 0)
        return k * k

    assert list(side_by_side(slow_first, range(9))) == [k * k for k in range(9)]
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda k: 1 // k, [2, 1, 0, 3]))


def test_nobody_else_is_there_while_a_shape_is_compiled():
    inside, most = 0, 0
    guard = threading.Lock()

    def compile_and_run(x):
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with guard:
            inside -= 1
        return len(x)

    function = first_alone(compile_and_run)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(function, [np.zeros((3, 2))] * 4)) == [3] * 4
    assert most == 1


def test_later_calls_meet():
    """Two calls wait for each other inside: one after the other they would wait for ever."""
    together = threading.Barrier(2)
    seen = []

    def meet(x):
        if x.shape in seen:
            together.wait(timeout=10)
        seen.append(x.shape)

    function = first_alone(meet)
    function(np.zeros(5))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(function, [np.zeros(5)] * 2))
    assert not together.broken
