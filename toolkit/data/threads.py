"""Work on many pictures at once: in threads, since reading and OpenCV let go of the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from toolkit.progress import Progress

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def for_each(work: Callable[[Thing], Result], things: Sequence[Thing], title: str, progress: Progress) -> list[Result]:
    """`work` done on each thing, results in their order; an interrupt drops what has not begun."""
    pool = ThreadPoolExecutor()
    results: list[Result] = []
    try:
        with progress.track(title, len(things)) as task:
            for result in pool.map(work, things):
                results.append(result)
                task.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return results
