"""MJPEG stream and state events: each image and state is encoded once and sent to all viewers.

All viewers share BUDGET images per second, so that more viewers slow down the stream, not the inference. A viewer to whom
more than one image is still on its way is skipped and uses none of it; one that reads nothing for STALLED_S is disconnected.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import json
import struct
import termios
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from ..pipeline.decoding import frame_as_jpeg
from .http import HttpError, Response, reset

if TYPE_CHECKING:
    from ..pipeline.messages import Classification

FPS, BUDGET, MAX_SUBSCRIBERS = 15.0, 120.0, 100
EVENTS_S = 0.5
STALLED_S = 20.0
BOUNDARY = "toolkit-frame"


class Subscribers:
    """Connections that receive the same data; `send` never waits for a slow one."""

    def __init__(self) -> None:
        self._writers: Dict[asyncio.StreamWriter, float] = {}
        self._last_bytes = 0

    def __len__(self) -> int:
        return len(self._writers)

    @property
    def reading(self) -> int:
        """Return the number of connections that keep up; the others use none of the budget."""
        return sum(map(self._keeps_up, self._writers))

    def send(self, piece: bytes) -> None:
        """Send data to all connections that keep up."""
        now = time.monotonic()
        self._last_bytes = len(piece)
        for writer, since in list(self._writers.items()):
            if writer.transport.is_closing() or now - since > STALLED_S:
                self._writers.pop(writer, None)
                reset(writer)
            elif self._keeps_up(writer):
                writer.write(piece)
                self._writers[writer] = now

    def _keeps_up(self, writer: asyncio.StreamWriter) -> bool:
        """Return whether at most the last piece is still on its way to the client."""
        return not writer.transport.get_write_buffer_size() and _queued_bytes(writer) <= self._last_bytes

    async def watch(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until the client closes it or sends anything."""
        writer.write(first)
        self._writers[writer] = time.monotonic()
        try:
            await reader.read(1)
        finally:
            self._writers.pop(writer, None)
            reset(writer)  # the kernel may hold an image that the client never reads


class Broadcast:
    """The coroutines that send images and events, and the responses that subscribe to them."""

    def __init__(self, latest: Callable[[], Optional[Classification]], state: Callable[[], Dict[str, Any]]) -> None:
        self._latest, self._state = latest, state
        self.images, self.events = Subscribers(), Subscribers()

    def stream(self) -> Response:
        """Return a response that streams MJPEG, as shown by an <img>."""
        _check_room(self.images)
        headers = {"Content-Type": f"multipart/x-mixed-replace; boundary={BOUNDARY}"}
        return Response(200, headers, stream=functools.partial(self.images.watch, f"--{BOUNDARY}\r\n".encode()))

    def event_stream(self) -> Response:
        """Return a response that streams the state as server-sent events."""
        _check_room(self.events)
        return Response(200, {"Content-Type": "text/event-stream"}, stream=functools.partial(self.events.watch, b""))

    async def send_images(self) -> None:
        """Send new images to all viewers, until canceled."""
        shown = None
        while True:
            await asyncio.sleep(max(1 / FPS, self.images.reading / BUDGET))
            result = self._latest()
            if result is not None and result is not shown and len(self.images):
                shown = result
                self.images.send(multipart_frame(await _jpeg(result)))

    async def send_events(self) -> None:
        """Send the state to all viewers, until canceled."""
        while True:
            await asyncio.sleep(EVENTS_S)
            if len(self.events):
                self.events.send(b"data: " + json.dumps(self._state()).encode() + b"\n\n")


def _queued_bytes(writer: asyncio.StreamWriter) -> int:
    """Return how many bytes the kernel holds for a connection that its client has not received (tcp(7), SIOCOUTQ)."""
    try:
        answer = fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return 0  # the connection is closed
    return int(struct.unpack("i", answer)[0])


def _check_room(watchers: Subscribers) -> None:
    if len(watchers) >= MAX_SUBSCRIBERS:
        raise HttpError(
            503, f"{MAX_SUBSCRIBERS} viewers are connected, which is the limit", "try again later", Retry_After="10"
        )


async def _jpeg(result: Classification) -> bytes:
    """Return the camera's JPEG, or encode one on another thread."""
    frame = result.frame
    if frame.pixels is None:
        return frame_as_jpeg(frame)
    return await asyncio.get_running_loop().run_in_executor(None, frame_as_jpeg, frame)


def multipart_frame(jpeg: bytes) -> bytes:
    """Return one part of the stream, with the next boundary: browsers show an image only once that arrives."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
    return b"".join((head, jpeg, b"\r\n--", BOUNDARY.encode(), b"\r\n"))
