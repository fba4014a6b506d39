"""Batches side by side, and first calls that may not be."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from oiplib.engine.threads import first_alone, side_by_side


def test_results_come_in_order_and_errors_get_through():
    def slow_first(k):
        time.sleep(0.05 if k == 0 else 0)
        return k * k

    assert list(side_by_side(slow_first, range(9))) == [k * k for k in range(9)]
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda k: 1 // k, [2, 1, 0, 3]))


def test_functions_and_shapes_are_compiled_one_after_the_other():
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

    functions = [first_alone(compile_and_run) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function, np.zeros(n)) for function in functions for n in (3, 4)]
        assert [call.result() for call in calls] == [3, 4, 3, 4]
    assert most == 1


def test_calls_of_the_same_shape_wait_until_it_is_compiled():
    inside_at_end = []
    inside = 0
    guard = threading.Lock()

    def compile_and_run(x):
        nonlocal inside
        with guard:
            inside += 1
        time.sleep(0.02)
        with guard:
            inside_at_end.append(inside)
            inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(first_alone(compile_and_run), [np.zeros((3, 2))] * 4))
    assert len(inside_at_end) == 4
    assert inside_at_end[0] == 1


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
