from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.app.pipeline.messages import DropOldestQueue


@given(st.lists(st.integers(), max_size=50), st.integers(1, 8))
def test_put_keeps_the_newest_and_counts_the_rest(items: list[int], capacity: int) -> None:
    between: DropOldestQueue[int] = DropOldestQueue(capacity)
    for item in items:
        between.put(item)
    taken = [between.take(0) for _ in range(min(capacity, len(items)))]
    assert taken == items[-capacity:]
    assert between.dropped == max(0, len(items) - capacity)
    assert between.take(0) is None


def test_keep_comes_first_and_is_never_dropped() -> None:
    between: DropOldestQueue[str] = DropOldestQueue(2)
    between.put("frame 1")
    assert between.keep("asked 1")
    assert between.keep("asked 2")
    assert not between.keep("asked 3")
    for number in range(2, 5):
        between.put(f"frame {number}")
    assert [between.take(0) for _ in range(5)] == ["asked 1", "asked 2", "frame 3", "frame 4", None]


def test_close_wakes_who_waits_and_gives_what_was_kept() -> None:
    between: DropOldestQueue[str] = DropOldestQueue(2)
    taken: list[str | None] = []
    waiting = threading.Thread(target=lambda: taken.append(between.take(60)))
    waiting.start()
    assert between.close() == []
    waiting.join()
    assert taken == [None]
    assert not between.keep("too late")


def test_close_gives_back_what_nobody_took() -> None:
    between: DropOldestQueue[str] = DropOldestQueue(2)
    between.keep("asked")
    between.put("frame")
    assert between.close() == ["asked"]
    assert between.take(0) is None


def test_reserve_keeps_room_for_what_is_to_come() -> None:
    between: DropOldestQueue[int] = DropOldestQueue(2)
    assert between.reserve(0)
    assert between.reserve(0)
    assert not between.reserve(0)
    between.settle(1)
    assert not between.reserve(0)
    between.settle(None)
    assert between.reserve(0)
    assert between.dropped == 0


def test_has_room_is_told_of_when_something_is_taken() -> None:
    between: DropOldestQueue[int] = DropOldestQueue(1)
    between.put(1)
    assert not between.has_room(0)
    threading.Timer(0.02, lambda: between.take(0)).start()
    assert between.has_room(30)
