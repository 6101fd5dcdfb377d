"""Predictions for clients: uploaded images are decoded on threads of low priority and classified between camera frames."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, Optional, Tuple, Union

from ... import image_io
from ..pipeline.frame_pipeline import FramePipeline
from ..pipeline.messages import now_ns
from .http import HttpError, Request
from .rate_limit import RateLimiter

if TYPE_CHECKING:
    from ..pipeline.messages import Answer, Pixels

PREDICTIONS_AT_ONCE, PREDICTIONS_PER_ADDRESS, ANSWER_S = 8, 6, 15.0
MOST_IMAGE_BYTES = 150_000_000
"""Limit of the decoded size of one image; less if the device has little free memory."""
READERS, READERS_NICE = 2, 19
"""Threads that decode uploaded images, and their nice value, so that the camera goes first under full load."""


class Predictions:
    """Classifies uploaded images within limits on rate, number and memory; for one event loop."""

    def __init__(self, pipeline: FramePipeline, a_second: float) -> None:
        self._pipeline = pipeline
        self._own = RateLimiter(a_second, max(2 * a_second, 4))
        self._all = RateLimiter(2 * a_second, max(4 * a_second, 8))
        self._receiving: Counter[str] = Counter()
        self._predicting = 0
        self._image_bytes = min(MOST_IMAGE_BYTES, image_io.memory_budget())
        self._readers = ThreadPoolExecutor(READERS, "images", _step_back)

    async def classify(self, request: Request, read: Callable[[bytes], Union[Pixels, bytes]]) -> Tuple[Answer, float]:
        """Return the answer on the image in a request, and the milliseconds it took.

        `read` returns the RGB pixels, or the bytes of an image file, in a body; it runs on another thread. A slow
        upload counts towards its address only, a prediction towards all limits.

        Raises:
            HttpError: the request is refused, or there is no answer.
        """
        if self._receiving[request.peer] >= PREDICTIONS_PER_ADDRESS:
            raise HttpError(429, "too many predictions from this address at once", Retry_After="1")
        self._receiving[request.peer] += 1
        try:
            content = await request.body()
            take(self._own, request.peer)
            take(self._all, "all")
            return await self._answer(await self._decoded(content, read))
        finally:
            self._receiving[request.peer] -= 1
            self._receiving += Counter()  # removes the addresses whose count is 0

    async def _decoded(self, content: bytes, read: Callable[[bytes], Union[Pixels, bytes]]) -> Pixels:
        if self._predicting >= PREDICTIONS_AT_ONCE:
            raise HttpError(429, "too many predictions at once", Retry_After="1")
        self._predicting += 1
        try:
            pixels: Pixels = await run_aside(_pixels, content, read, self._image_bytes, on=self._readers)
            return pixels
        finally:
            self._predicting -= 1

    async def _answer(self, pixels: Pixels) -> Tuple[Answer, float]:
        """Classify an image through the queue of the camera's frames."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Tuple[Optional[Answer], str]] = loop.create_future()

        def settle(answer: Optional[Answer], why: str) -> None:
            if not outcome.done():
                outcome.set_result((answer, why))

        def reply(answer: Optional[Answer], why: str) -> None:
            loop.call_soon_threadsafe(settle, answer, why)

        begin_ns = now_ns()
        if not await run_aside(self._pipeline.ask, pixels, reply, on=self._readers):
            raise HttpError(429, "too many predictions at once", Retry_After="1")
        try:
            answer, why = await asyncio.wait_for(outcome, ANSWER_S)
        except asyncio.TimeoutError:
            raise HttpError(504, f"no answer within {ANSWER_S:g} s") from None
        if answer is None:
            raise HttpError(503, why, "send it again", Retry_After="1")
        return answer, (now_ns() - begin_ns) / 1e6


def take(limiter: RateLimiter, key: str) -> None:
    """Count a request; raise HttpError if there are too many."""
    wait_s = limiter.wait_s(key)
    if wait_s:
        raise HttpError(429, "too many requests", "send fewer requests per second", Retry_After=str(math.ceil(wait_s)))


def _step_back() -> None:
    """Lower the priority of this thread; on Linux, setpriority applies to one thread."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), READERS_NICE)


async def run_aside(function: Callable[..., Any], *arguments: Any, on: Optional[ThreadPoolExecutor] = None) -> Any:
    """Run a function on another thread."""
    return await asyncio.get_running_loop().run_in_executor(on, function, *arguments)


def _pixels(content: bytes, read: Callable[[bytes], Union[Pixels, bytes]], limit: int) -> Pixels:
    image = read(content)
    return _decode(image, limit) if isinstance(image, bytes) else image


def _decode(content: bytes, limit: int) -> Pixels:
    """Return the image as u8 [height, width, 3], RGB; decoded as strictly as a file."""
    try:
        return image_io.read_image(content, limit)
    except image_io.ImageTooLargeError as error:
        raise HttpError(413, str(error), "send a smaller image") from None
    except image_io.ImageError as error:
        raise HttpError(422, str(error), "send the bytes of a JPEG, PNG, WebP or BMP file") from None
