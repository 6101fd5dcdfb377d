"""Routes of the web app: one handler for each path and method, and the limits on requests."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Optional, Tuple
from urllib.parse import parse_qs

from ... import image_io
from ...errors import DeviceError
from ...rejection import is_unknown
from ..pipeline.messages import now_ns
from ..pipeline.topk import labels_above_threshold, top_k
from ..status import StatusReport, current_problem, identity, list_models
from . import pages
from .auth import Auth
from .broadcast import Broadcast
from .http import HttpError, Request, Response, json_response
from .openapi import openapi_document
from .prometheus import CONTENT_TYPE, render_metrics
from .rate_limit import RateLimiter
from .uploads import image_in

if TYPE_CHECKING:
    from ..pipeline.messages import Answer, Pixels

REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 100, 300
"""Limits of one address."""
PREDICTIONS_AT_ONCE, PREDICTIONS_PER_ADDRESS, ANSWER_S = 8, 6, 15.0
MOST_IMAGE_BYTES = 150_000_000
"""Limit of the decoded size of one image; less if the device has little free memory."""
READERS, READERS_NICE = 2, 19
"""Threads that decode uploaded images, and their nice value, so that the camera goes first under full load."""
LOGINS_A_SECOND, LOGINS_AT_ONCE = 0.2, 5
Route = Callable[[Request], Awaitable[Response]]


class Routes:
    """Handles requests on the server's thread; slow work runs on other threads."""

    def __init__(self, state: StatusReport, auth: Auth, predictions_a_second: float, *, secure: bool = False) -> None:
        self.broadcast = Broadcast(lambda: state.pipeline.latest, state.now)
        self._state, self._auth, self._secure = state, auth, secure
        self._requests = RateLimiter(REQUESTS_A_SECOND, REQUESTS_AT_ONCE)
        self._logins = RateLimiter(LOGINS_A_SECOND, LOGINS_AT_ONCE)
        self._predictions = RateLimiter(predictions_a_second, max(2 * predictions_a_second, 4))
        self._all_predictions = RateLimiter(2 * predictions_a_second, max(4 * predictions_a_second, 8))
        self._receiving: Counter[str] = Counter()
        self._predicting = 0
        self._image_bytes = min(MOST_IMAGE_BYTES, image_io.memory_budget())
        self._readers = ThreadPoolExecutor(READERS, "images", _step_back)
        self._routes: Dict[str, Dict[str, Route]] = {
            "/": {"GET": self._page},
            "/login": {"POST": self._login},
            "/stream": {"GET": self._stream},
            "/v1/state": {"GET": self._now},
            "/v1/events": {"GET": self._events},
            "/v1/models": {"GET": self._models},
            "/v1/model": {"POST": self._switch},
            "/v1/predict": {"POST": self._predict},
            "/health": {"GET": self._health},
            "/ready": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
        }

    async def handle(self, request: Request) -> Response:
        """Return the response; HEAD is handled as GET, and the server leaves out the body.

        Raises:
            HttpError: the request is refused.
        """
        _take(self._requests, request.peer)
        self._auth.check(request)
        methods = self._routes.get(request.path)
        if methods is None:
            raise HttpError(404, "not found", "see /openapi.json for the paths")
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise HttpError(405, f"{request.method} is not allowed here", Allow=", ".join(methods))
        return await route(request)

    async def _page(self, request: Request) -> Response:
        return pages.live_page() if self._auth.is_authenticated(request) else pages.login_page(failed=False)

    async def _login(self, request: Request) -> Response:
        """Log in with a token from a form; the rate limit slows down guessing."""
        _take(self._logins, request.peer)
        if request.unread > 4096:
            raise HttpError(413, "the form is longer than a token")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise HttpError(415, "expected application/x-www-form-urlencoded", "send token=…")
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        if not self._auth.is_token(form.get("token", [""])[0].strip()):
            return pages.login_page(failed=True)
        return Response(303, {"Location": "./", "Set-Cookie": self._auth.session(secure=self._secure)})

    async def _stream(self, _request: Request) -> Response:
        return self.broadcast.stream()

    async def _events(self, _request: Request) -> Response:
        return self.broadcast.event_stream()

    async def _now(self, _request: Request) -> Response:
        return json_response(self._state.now())

    async def _models(self, _request: Request) -> Response:
        return json_response({"models": await _aside(self._beside)})

    def _beside(self) -> List[Dict[str, Any]]:
        return list_models(self._state.pipeline.worker.loaded.release)

    async def _switch(self, request: Request) -> Response:
        """Switch to another model on the device until the next reload; ROOT/current stays as it is."""
        release = _json_object(await _small_body(request)).get("release")
        if not isinstance(release, str) or not release:
            raise HttpError(422, "'release' must be a non-empty string", "send one of /v1/models")
        names = [model["release"] for model in await _aside(self._beside)]
        if release not in names:
            raise HttpError(404, "no such model on this device", "see /v1/models")
        pipeline = self._state.pipeline
        try:
            await _aside(pipeline.use, pipeline.worker.loaded.release.with_name(release))
        except DeviceError as error:
            raise HttpError(409, str(error), error.remedy) from None
        loaded = pipeline.worker.loaded
        self._state.note(f"switched to {loaded.manifest.get('name')} by hand")
        return json_response(identity(loaded.release, loaded.manifest))

    async def _predict(self, request: Request) -> Response:
        """Classify an image; a slow upload counts towards its address only, a prediction towards all limits."""
        if self._receiving[request.peer] >= PREDICTIONS_PER_ADDRESS:
            raise HttpError(429, "too many predictions from this address at once", Retry_After="1")
        self._receiving[request.peer] += 1
        try:
            content = image_in(await request.body(), request.headers.get("content-type"))
            _take(self._predictions, request.peer)
            _take(self._all_predictions, "all")
            return json_response(await self._answer(await self._decoded(content)))
        finally:
            self._receiving[request.peer] -= 1
            self._receiving += Counter()  # removes the addresses whose count is 0

    async def _decoded(self, content: bytes) -> Pixels:
        if self._predicting >= PREDICTIONS_AT_ONCE:
            raise HttpError(429, "too many predictions at once", Retry_After="1")
        self._predicting += 1
        try:
            pixels: Pixels = await _aside(_image, content, self._image_bytes, on=self._readers)
            return pixels
        finally:
            self._predicting -= 1

    async def _answer(self, pixels: Pixels) -> Dict[str, Any]:
        """Classify an image through the queue of the camera's frames."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Tuple[Optional[Answer], str]] = loop.create_future()

        def settle(answer: Optional[Answer], why: str) -> None:
            if not outcome.done():
                outcome.set_result((answer, why))

        def reply(answer: Optional[Answer], why: str) -> None:
            loop.call_soon_threadsafe(settle, answer, why)

        pipeline, begin_ns = self._state.pipeline, now_ns()
        if not await _aside(pipeline.ask, pixels, reply, on=self._readers):
            raise HttpError(429, "too many predictions at once", Retry_After="1")
        try:
            answer, why = await asyncio.wait_for(outcome, ANSWER_S)
        except asyncio.TimeoutError:
            raise HttpError(504, f"no answer within {ANSWER_S:g} s") from None
        if answer is None:
            raise HttpError(503, why, "send it again", Retry_After="1")
        return self._prediction(answer, (now_ns() - begin_ns) / 1e6)

    def _prediction(self, answer: Answer, latency_ms: float) -> Dict[str, Any]:
        loaded = self._state.pipeline.worker.loaded
        labels = labels_above_threshold(answer, loaded.manifest)
        ranking = top_k(answer, loaded.manifest["labels"])
        unknown = is_unknown(answer, loaded.manifest)
        return {
            **identity(loaded.release, loaded.manifest),
            "ranking": [{"label": label, "probability": value} for label, value in ranking],
            "latency_ms": round(latency_ms, 3),
            **({} if labels is None else {"labels": labels}),
            **({} if unknown is None else {"unknown": unknown}),
        }

    async def _health(self, _request: Request) -> Response:
        """Return whether inference works, whatever the state of the camera."""
        failing = self._state.pipeline.worker.failing
        return json_response({"ok": failing is None}, 200 if failing is None else 503)

    async def _ready(self, _request: Request) -> Response:
        """Return whether the camera and inference work."""
        wrong = current_problem(self._state.pipeline)
        return json_response({"ok": wrong is None}, 200 if wrong is None else 503)

    async def _metrics(self, _request: Request) -> Response:
        pipeline = self._state.pipeline
        text = render_metrics(self._state.now(), pipeline.dropped(), pipeline.meter.histogram())
        return Response(200, {"Content-Type": CONTENT_TYPE}, text.encode())

    async def _openapi(self, _request: Request) -> Response:
        return json_response(openapi_document())


def _take(buckets: RateLimiter, key: str) -> None:
    wait_s = buckets.wait_s(key)
    if wait_s:
        raise HttpError(429, "too many requests", "send fewer requests per second", Retry_After=str(math.ceil(wait_s)))


def _step_back() -> None:
    """Lower the priority of this thread; on Linux, setpriority applies to one thread."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), READERS_NICE)


async def _aside(function: Callable[..., Any], *arguments: Any, on: Optional[ThreadPoolExecutor] = None) -> Any:
    """Run a function on another thread."""
    return await asyncio.get_running_loop().run_in_executor(on, function, *arguments)


async def _small_body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpError(415, "expected application/json", "send Content-Type: application/json")
    if request.unread > 65_536:
        raise HttpError(413, "the document is too large")
    return await request.body()


def _json_object(content: bytes) -> Dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise HttpError(400, "not a JSON document") from None
    if not isinstance(value, dict):
        raise HttpError(422, "not a JSON object")
    return value


def _image(content: bytes, limit: int) -> Pixels:
    """Return the image as u8 [height, width, 3], RGB; decoded as strictly as a file."""
    try:
        return image_io.read_image(content, limit)
    except image_io.ImageTooLargeError as error:
        raise HttpError(413, str(error), "send a smaller image") from None
    except image_io.ImageError as error:
        raise HttpError(422, str(error), "send the bytes of a JPEG, PNG, WebP or BMP file") from None
