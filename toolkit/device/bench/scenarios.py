"""The three scenarios. Times are in nanoseconds, by the device's monotonic clock.

A scenario's `samples_ns` are latencies per query, or for "offline" the completion times since its start, ascending.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Tuple

from ..errors import DeviceError
from ..release.store import sha256_file
from .dataset import LabeledImage, SampleOrder, is_logged, label_bitmask

if TYPE_CHECKING:
    from ..runtime.interface import Answer, Image, Model, Queue

ImageLoader = Callable[[int], "Image"]
"""Returns the image at an index, ready for the network: u8 [height, width, 3]."""
now_ns = time.monotonic_ns


@dataclass
class ScenarioResult:
    """The result of a scenario."""

    samples_ns: List[int] = field(default_factory=list)
    wall_ns: int = 0
    logged: List[Dict[str, Any]] = field(default_factory=list)
    predictions: List[int] = field(default_factory=list)
    requests: int = 1

    def log(self, query: int, image: int, answer: Answer) -> None:
        """Log an answer; JSON keeps every digit."""
        self.logged.append({"query": query, "image": image, "output": [float(value) for value in answer]})


@dataclass(frozen=True)
class Limits:
    """Minimum duration and queries of a run; it ends when both are reached."""

    seconds: float
    queries: int = 1

    def reached(self, since_ns: int, done: int) -> bool:
        """Return whether both limits are reached."""
        return done >= self.queries and now_ns() - since_ns >= self.seconds * 1e9


def single_stream(model: Model, source: ImageLoader, order: Iterable[int], limits: Limits) -> ScenarioResult:
    """Run one query after another; a latency is the time from the request to its answer."""
    run = ScenarioResult()
    begin = now_ns()
    for query, image in enumerate(order):
        start = now_ns()
        answer = model.infer(source(image))
        run.samples_ns.append(now_ns() - start)
        if is_logged(query):
            run.log(query, image, answer)
        if limits.reached(begin, query + 1):
            break
    run.wall_ns = now_ns() - begin
    return run


def offline(model: Model, source: ImageLoader, order: Iterable[int], limits: Limits) -> ScenarioResult:
    """Keep as many queries in flight as the accelerator holds, until the last one is answered.

    The queue is warmed up first, because requests are initialized at their first use.
    """
    run = ScenarioResult()
    drawn: List[int] = []
    done_ns: List[int] = []

    def on_done(query: int, answer: Callable[[], Answer]) -> None:
        done_ns.append(now_ns())
        if is_logged(query):
            run.log(query, drawn[query], answer())

    queue = model.queue(on_done)
    run.requests = queue.requests
    with closing(queue):
        try:
            _warm_up_queue(queue, source(next(iter(order))))
            done_ns.clear()
            begin = now_ns()
            for query, image in enumerate(order):
                drawn.append(image)
                queue.submit(query, source(image))
                if limits.reached(begin, query + 1):
                    break
        finally:
            queue.wait()
        run.wall_ns = now_ns() - begin
    run.samples_ns = sorted(moment - begin for moment in done_ns)
    run.logged.sort(key=lambda entry: int(entry["query"]))
    return run


def _warm_up_queue(queue: Queue, image: Image) -> None:
    """Use every request at least once, with query numbers that are not logged."""
    for _ in range(2 * queue.requests):
        queue.submit(-1, image)
    queue.wait()


def _predicted_class(answer: Answer, image: LabeledImage) -> int:
    """Return the class of an answer f32 [classes]; for multi-label models the scored labels, as the sum of 2^index."""
    from ..release.golden import labels_above_half

    if not image.multi_label:
        return int(answer.argmax())
    return label_bitmask(labels_above_half(answer).nonzero()[0].tolist()) & ~image.unsure


def accuracy(model: Model, source: ImageLoader, images: Tuple[LabeledImage, ...], order: SampleOrder) -> ScenarioResult:
    """Run each image once, in the order of the set; log the answers that speed runs log."""
    run, logged = ScenarioResult(), set(order.logged())
    begin = now_ns()
    for index, image in enumerate(images):
        if sha256_file(image.path) != image.sha256:
            raise DeviceError("is not the image that images.json names", where=str(image.path))
        start = now_ns()
        answer = model.infer(source(index))
        run.samples_ns.append(now_ns() - start)
        run.predictions.append(_predicted_class(answer, image))
        if index in logged:
            run.log(index, index, answer)
    run.wall_ns = now_ns() - begin
    return run
