"""Work on many images at once: in threads, since reading and OpenCV let go of the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TypeVar

from toolkit.progress import Progress
from toolkit.system.cpu_quota import available_cpus

Thing = TypeVar("Thing")
Result = TypeVar("Result")

_MORE_THAN_CPUS = 2
"""So many threads wait for the disk while the others work."""


def parallel_map(
    work: Callable[[Thing], Result], things: Sequence[Thing], title: str, progress: Progress
) -> list[Result]:
    """`work` done on each thing, results in their order; an interrupt drops what has not begun."""
    threads = available_cpus() + _MORE_THAN_CPUS
    results: list[Result] = []
    with progress.track(title, len(things)) as task, closing(prefetch(work, things, threads, 8 * threads)) as coming:
        for result in coming:
            results.append(result)
            task.advance()
    return results


def batched(things: Iterable[Thing], size: int) -> Generator[list[Thing]]:
    """Lists of `size` things, the last perhaps shorter."""
    iterator = iter(things)
    while batch := list(islice(iterator, size)):
        yield batch


def prefetch(work: Callable[[Thing], Result], things: Iterable[Thing], threads: int, most: int) -> Generator[Result]:
    """Apply `work` to each item on threads that run ahead of the consumer; yield the results in order.

    At most `most` results and unfinished works are held, however many things there are. Close it when done with early.
    """
    pool = ThreadPoolExecutor(threads, "ahead")
    under_way: deque[Future[Result]] = deque()
    try:
        for thing in things:
            if len(under_way) == most:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, thing))
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
