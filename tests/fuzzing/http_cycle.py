"""A whole connection of the live app as a fuzz target: its server, routes and limits, on a pipeline that answers at once."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from toolkit.device.app.pipeline.throughput import ThroughputMeter
from toolkit.device.app.web.auth import Auth
from toolkit.device.app.web.http import HttpError, Request, Response
from toolkit.device.app.web.predictions import Predictions
from toolkit.device.app.web.rate_limit import RateLimiter
from toolkit.device.app.web.routes import Routes
from toolkit.device.app.web.server import Server

MANIFEST = {"name": "tiny", "labels": ["dark", "light"], "output": {"kind": "softmax", "classes": 2}}
STATE: dict[str, Any] = {
    **dict.fromkeys(("release", "name", "accelerator", "precision", "runtime"), "x"),
    **dict.fromkeys(("uptime_s", "fps", "camera", "cpu_fallback", "temperature_c", "accelerator_temperature_c"), 1),
    "throttled": None,
    "alerts": 0,
    "captures": None,
    "drift": None,
    "frames": {"captured": 1},
}


class Writer:
    """The writing end of a connection; `sent` is what the client gets."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.transport = self

    def write(self, content: bytes) -> None:
        self.sent += content

    async def drain(self) -> None:
        """The client reads everything at once."""

    def close(self) -> None:
        """Nothing is open."""

    abort = close

    async def wait_closed(self) -> None:
        """It is."""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 9) if name == "peername" else None


class App:
    """The app's server, which listens to nobody."""

    def __init__(self) -> None:
        loaded = SimpleNamespace(
            release=Path("/nonexistent/releases/x"), manifest=MANIFEST, model=SimpleNamespace(version="0")
        )
        pipeline: Any = SimpleNamespace(
            latest=None,
            capture=None,
            worker=SimpleNamespace(loaded=loaded, failing=None),
            ask=self._ask,
            dropped=dict,
            meter=ThroughputMeter(),
        )
        off: dict[str, Any] = {"sinks": list, **dict.fromkeys(("captures", "drift"), lambda: None)}
        state: Any = SimpleNamespace(
            pipeline=pipeline, now=lambda: STATE, note=lambda text: None, ask_capture=lambda: False, **off
        )
        unlimited = RateLimiter(1e9, 1e9)
        self._routes = Routes(state, Auth(None), 1e9)
        self._routes._requests = self._routes._logins = unlimited
        self._routes._predictions = Predictions(pipeline, 1e9)
        self._loop = asyncio.new_event_loop()
        self._server = Server(self._handle, "127.0.0.1", 0)
        self._server._socket.close()
        self._failure: Exception | None = None

    @staticmethod
    def _ask(pixels: Any, reply: Any) -> bool:
        reply(np.array([0.25, 0.75], np.float32), "")
        return bool(pixels.ndim == 3)

    async def _handle(self, request: Request) -> Response:
        """Note what the server answers by 500."""
        try:
            return await self._routes.handle(request)
        except (HttpError, EOFError, ConnectionError):
            raise
        except Exception as error:
            self._failure = error
            raise

    def converse(self, content: bytes) -> bytes:
        """Return what a client gets that sends these bytes and nothing more; raises what the server did not expect."""
        self._failure, writer = None, Writer()

        async def serve() -> None:
            reader = asyncio.StreamReader()
            reader.feed_data(content)
            reader.feed_eof()
            stream: Any = writer
            await self._server._accept(reader, stream)

        self._loop.run_until_complete(serve())
        if self._failure is not None:
            raise self._failure
        return bytes(writer.sent)


@cache
def _app() -> App:
    return App()


def converse(content: bytes) -> object:
    """Serve one connection; raises ValueError if the first request was refused."""
    sent = _app().converse(content)
    if not sent.startswith(b"HTTP/1.1 200"):
        raise ValueError(sent[:12])
    return sent


def seeds(image: bytes) -> tuple[bytes, ...]:
    """Requests of each route, some of them several on one connection."""

    def request(path: str, body: bytes = b"", *fields: str) -> bytes:
        lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: localhost", *fields]
        return "\r\n".join([*lines, *([f"Content-Length: {len(body)}"] if body else []), "", ""]).encode() + body

    pixels = b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [1, 2, 3, 4, 5, 6]}]}'
    binary = (
        b'{"id": "a", "parameters": {"binary_data_output": true}, "inputs": [{"name": "image", "datatype": "UINT8", '
        b'"shape": [1, 1, 1, 3], "parameters": {"binary_data_size": 3}}]}'
    )
    form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + image + b"\r\n--x--\r\n"
    length = f"Inference-Header-Content-Length: {len(binary)}"
    paths = (
        "/",
        "/v1/state",
        "/health",
        "/metrics",
        "/openapi.json",
        "/v2",
        "/v2/models/tiny",
        "/v1/models",
        "/stream",
    )
    return (
        *(request(path) for path in paths),
        request("/v1/state") + request("/health") + b"HEAD /v1/state HTTP/1.0\r\n\r\n",
        request("/v1/predict", image, "Content-Type: image/png"),
        request("/health") + request("/v1/predict", image, "Expect: 100-continue"),
        request("/v1/predict", form, "Content-Type: multipart/form-data; boundary=x"),
        request("/v2/models/tiny/infer", pixels, "Content-Type: application/json"),
        request("/v2/models/tiny/versions/1/infer", binary + b"abc", length),
        request("/health") + request("/v1/model", b'{"release": "x"}', "Content-Type: application/json"),
        request("/health") + request("/login", b"token=a", "Content-Type: application/x-www-form-urlencoded"),
    )
