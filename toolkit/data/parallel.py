"""Process many images in parallel threads; reading files and OpenCV release the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TypeVar

from toolkit.progress import Progress
from toolkit.system.cpu_quota import available_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")

_MORE_THAN_CPUS = 2
"""So many threads wait for the disk while the others work."""


def parallel_map(work: Callable[[Item], Result], items: Sequence[Item], title: str, progress: Progress) -> list[Result]:
    """Return the results of `work` on each item, in order; an interrupt drops items that have not started."""
    threads = available_cpus() + _MORE_THAN_CPUS
    results: list[Result] = []
    with progress.track(title, len(items)) as task, closing(prefetch(work, items, threads, 8 * threads)) as coming:
        for result in coming:
            results.append(result)
            task.advance()
    return results


def batched(items: Iterable[Item], size: int) -> Generator[list[Item]]:
    """Yield lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], threads: int, most: int) -> Generator[Result]:
    """Apply `work` to each item on threads that run ahead of the consumer; yield the results in order.

    At most `most` results and unfinished works are held, however many items there are. Close it when done with early.
    """
    pool = ThreadPoolExecutor(threads, "ahead")
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(under_way) == most:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, item))
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
