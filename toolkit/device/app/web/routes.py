"""Routes of the web app: one handler for each path and method, and the limits on requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Optional, Union
from urllib.parse import parse_qs

from ...errors import DeviceError
from ...rejection import is_unknown
from ..pipeline.topk import labels_above_threshold, top_k
from ..status import StatusReport, current_problem, identity, list_models
from . import open_inference, pages
from .auth import Auth
from .broadcast import Broadcast
from .http import HttpError, Request, Response, json_object, json_response
from .live_frames import live_frame
from .openapi import openapi_document
from .predictions import Predictions, run_aside, take
from .prometheus import CONTENT_TYPE, render_metrics
from .rate_limit import RateLimiter
from .uploads import image_in

if TYPE_CHECKING:
    from ..pipeline.messages import Answer, Pixels

REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 100, 300
"""Limits of one address."""
LOGINS_A_SECOND, LOGINS_AT_ONCE = 0.2, 5
Route = Callable[[Request], Awaitable[Response]]


class Routes:
    """Handles requests on the server's thread; slow work runs on other threads."""

    def __init__(self, state: StatusReport, auth: Auth, predictions_a_second: float, *, secure: bool = False) -> None:
        self.broadcast = Broadcast(lambda: state.pipeline.latest, state.now)
        self._state, self._auth, self._secure = state, auth, secure
        self._requests = RateLimiter(REQUESTS_A_SECOND, REQUESTS_AT_ONCE)
        self._logins = RateLimiter(LOGINS_A_SECOND, LOGINS_AT_ONCE)
        self._predictions = Predictions(state.pipeline, predictions_a_second)
        self._routes: Dict[str, Dict[str, Route]] = {
            "/": {"GET": self._page},
            "/login": {"POST": self._login},
            "/stream": {"GET": self._stream},
            "/v1/state": {"GET": self._now},
            "/v1/events": {"GET": self._events},
            "/v1/models": {"GET": self._models},
            "/v1/model": {"POST": self._switch},
            "/v1/predict": {"POST": self._predict},
            "/v1/capture": {"POST": self._capture},
            "/v1/drift": {"GET": self._drift},
            "/v1/frame": {"POST": self._frame},
            "/health": {"GET": self._health},
            "/ready": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
            "/v2": {"GET": self._server},
            "/v2/health/live": {"GET": self._live},
            "/v2/health/ready": {"GET": self._able},
        }

    async def handle(self, request: Request) -> Response:
        """Return the response; HEAD is handled as GET, and the server leaves out the body.

        Raises:
            HttpError: the request is refused.
        """
        try:
            return await self._handle(request)
        except HttpError as error:
            error.as_text = request.path.startswith("/v2")
            raise

    async def _handle(self, request: Request) -> Response:
        take(self._requests, request.peer)
        self._auth.check(request)
        methods = self._routes.get(request.path) or self._model_routes(request.path)
        if methods is None:
            raise HttpError(404, "not found", "see /openapi.json for the paths")
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise HttpError(405, f"{request.method} is not allowed here", Allow=", ".join(methods))
        return await route(request)

    def _model_routes(self, path: str) -> Optional[Dict[str, Route]]:
        """Return the routes of the Open Inference Protocol for the loaded model."""
        parsed = open_inference.parse_path(path)
        if parsed is None or parsed[0] != self._state.pipeline.worker.loaded.manifest.get("name"):
            return None
        routes: Dict[str, Dict[str, Route]] = {
            "": {"GET": self._model},
            "/ready": {"GET": self._able},
            "/infer": {"POST": self._infer},
        }
        return routes[parsed[1]]

    async def _server(self, _request: Request) -> Response:
        return json_response(open_inference.server_metadata(self._state.pipeline.worker.loaded.model.version))

    async def _live(self, _request: Request) -> Response:
        return json_response({"live": True})

    async def _able(self, _request: Request) -> Response:
        """Return whether inference works; the camera does not matter."""
        able = self._state.pipeline.worker.failing is None
        return json_response({"ready": able}, 200 if able else 503)

    async def _model(self, _request: Request) -> Response:
        return json_response(open_inference.model_metadata(self._state.pipeline.worker.loaded.manifest))

    async def _infer(self, request: Request) -> Response:
        length = request.headers.get(open_inference.HEADER_LENGTH.lower())
        parsed: List[open_inference.InferenceRequest] = []

        def read(content: bytes) -> Union[Pixels, bytes]:
            parsed.append(open_inference.parse_request(content, length))
            return parsed[0].image

        answer, _ = await self._predictions.classify(request, read)
        return open_inference.render_response(self._state.pipeline.worker.loaded.manifest, answer, parsed[0])

    async def _page(self, request: Request) -> Response:
        return pages.live_page() if self._auth.is_authenticated(request) else pages.login_page(failed=False)

    async def _login(self, request: Request) -> Response:
        """Log in with a token from a form; the rate limit slows down guessing."""
        take(self._logins, request.peer)
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
        return json_response({"models": await run_aside(self._beside)})

    def _beside(self) -> List[Dict[str, Any]]:
        return list_models(self._state.pipeline.worker.loaded.release)

    async def _switch(self, request: Request) -> Response:
        """Switch to another model on the device until the next reload; ROOT/current stays as it is."""
        release = json_object(await _small_body(request)).get("release")
        if not isinstance(release, str) or not release:
            raise HttpError(422, "'release' must be a non-empty string", "send one of /v1/models")
        names = [model["release"] for model in await run_aside(self._beside)]
        if release not in names:
            raise HttpError(404, "no such model on this device", "see /v1/models")
        pipeline = self._state.pipeline
        try:
            await run_aside(pipeline.use, pipeline.worker.loaded.release.with_name(release))
        except DeviceError as error:
            raise HttpError(409, str(error), error.remedy) from None
        loaded = pipeline.worker.loaded
        self._state.note(f"switched to {loaded.manifest.get('name')} by hand")
        return json_response(identity(loaded.release, loaded.manifest))

    async def _predict(self, request: Request) -> Response:
        kind = request.headers.get("content-type")
        answer, latency_ms = await self._predictions.classify(request, lambda content: image_in(content, kind))
        return json_response(self._prediction(answer, latency_ms))

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
        """Return whether inference works, whatever the state of the camera, with the state of captures and alert sinks.

        No token is needed here, so hosts, topics and messages of errors are left out.
        """
        failing = self._state.pipeline.worker.failing
        body: Dict[str, Any] = {"ok": failing is None}
        captures, sinks = self._state.captures(), self._state.sinks()
        if captures is not None:
            body["captures"] = {name: captures[name] for name in captures if name != "problem"}
        if sinks:
            body["alert_sinks"] = [
                {"kind": sink["name"].partition("://")[0], "ok": sink["problem"] is None} for sink in sinks
            ]
        return json_response(body, 200 if failing is None else 503)

    async def _capture(self, _request: Request) -> Response:
        """Store the next frame on the device, to be labeled."""
        if not self._state.ask_capture():
            raise HttpError(
                409, "captures on request are off", 'add [capture] with the policy "requested" to --capture FILE'
            )
        return json_response({"ok": True}, 202)

    async def _drift(self, _request: Request) -> Response:
        """Return the state of drift detection and the sketch of each day."""
        state = self._state.drift()
        if state is None:
            raise HttpError(404, "drift detection is off", "add [drift] to --capture FILE")
        return json_response({**state, "days": await run_aside(self._state.drift_days)})

    async def _frame(self, request: Request) -> Response:
        """Return the latest result and its image, for a release that runs beside the serving one."""
        return live_frame(self._state.pipeline, json_object(await _small_body(request)))

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


async def _small_body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HttpError(415, "expected application/json", "send Content-Type: application/json")
    if request.unread > 65_536:
        raise HttpError(413, "the document is too large")
    return await request.body()
