from __future__ import annotations

import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.data.parallel import parallel_map, prefetch
from toolkit.progress import Silent


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 40), threads=st.integers(1, 5), most=st.integers(1, 9))
def test_ahead_gives_results_in_order_whatever_the_timing(count: int, threads: int, most: int) -> None:
    def work(number: int) -> int:
        time.sleep(random.random() / 2000)
        return number * number

    assert list(prefetch(work, range(count), threads, most)) == [number * number for number in range(count)]


def test_ahead_holds_no_more_than_it_may_when_nobody_takes() -> None:
    started = []
    coming = prefetch(started.append, range(100), 3, 5)
    next(coming)
    time.sleep(0.05)
    assert len(started) <= 6
    coming.close()


def test_ahead_leaves_no_thread_when_closed_early() -> None:
    coming = prefetch(str, iter(int, 1), 3, 5)
    assert next(coming) == "0"
    coming.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_for_each_raises_what_the_work_raised_when_it_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda number: 1 // number, [2, 1, 0, 1], "dividing", Silent())
