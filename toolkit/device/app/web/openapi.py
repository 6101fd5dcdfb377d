"""OpenAPI 3.1 document of the API."""

from __future__ import annotations

from typing import Any, Dict, Optional

Json = Dict[str, Any]

_TEXT: Json = {"type": "string"}
_MAYBE_NUMBER: Json = {"type": ["number", "null"]}
_AGE: Json = {"type": "number", "minimum": 0, "description": "Seconds since the frame arrived."}
_COUNT: Json = {"type": "integer", "minimum": 0}
_GUESS = {
    "type": "object",
    "required": ["label", "probability"],
    "properties": {"label": _TEXT, "probability": {"type": "number", "minimum": 0, "maximum": 1}},
}
_RANKING = {"type": "array", "maxItems": 5, "items": {"$ref": "#/components/schemas/Guess"}}
_IDENTITY = {"release": _TEXT, "name": _TEXT}
_LABELS = {"type": "array", "items": _TEXT, "description": "For multi-label models: those above 1/2."}
_UNKNOWN = {
    "type": "boolean",
    "description": "Whether the best guess is too unsure to be an answer; absent without a rule.",
}

_DRIFT: Json = {
    "learned": {"type": "number", "minimum": 0, "maximum": 1},
    "limit": {"type": "number", "minimum": 0},
    "deviations": {"type": "object", "additionalProperties": {"type": "number"}},
    "raised": {"type": "array", "items": _TEXT},
    "recent": {
        "type": "object",
        "description": "Means of the signals and shares of the classes, compared with other cameras.",
    },
}
_CAPTURE_COUNTERS = dict.fromkeys(
    ("stored", "dropped", "duplicates", "no_room", "failed", "evicted", "expired", "held", "size_bytes"), _COUNT
)


def _object(properties: Json, optional: Optional[Json] = None) -> Json:
    return {"type": "object", "required": list(properties), "properties": {**properties, **(optional or {})}}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _schemas() -> Json:
    latest = _object(
        {"frame": _COUNT, "release": _TEXT, "ranking": _RANKING, "latency_ms": {"type": "number"}, "age_s": _AGE},
        {"labels": _LABELS, "unknown": _UNKNOWN},
    )
    throttled = _object({"now": {"type": "boolean"}, "since_boot": {"type": "boolean"}})
    captures = _object({**_CAPTURE_COUNTERS, "problem": {"type": ["string", "null"]}})
    state: Json = {
        **_IDENTITY,
        "accelerator": _TEXT,
        "cpu_fallback": {"type": "boolean", "description": "The CPU replaces a missing accelerator."},
        "precision": {"type": ["string", "null"]},
        "runtime": _TEXT,
        "source": _TEXT,
        "problem": {"type": ["string", "null"]},
        "camera": {"type": ["boolean", "null"], "description": "Whether frames come; null without a camera."},
        "fps": {"type": "number", "minimum": 0},
        "latency_ms": _object(dict.fromkeys(("p50", "p90", "p95", "p99"), _MAYBE_NUMBER)),
        "frames": {"type": "object", "additionalProperties": _COUNT},
        "dropped": _COUNT,
        "latest": _nullable(latest),
        "temperature_c": _MAYBE_NUMBER,
        "accelerator_temperature_c": _MAYBE_NUMBER,
        "throttled": _nullable(throttled),
        "alerts": {**_COUNT, "description": "Alerts of rules since the app started."},
        "alert_sinks": {"type": "array", "items": _object({"name": _TEXT, "problem": {"type": ["string", "null"]}})},
        "captures": _nullable(captures),
        "drift": _nullable(_object(_DRIFT)),
        "notes": {"type": "array", "items": _TEXT},
        "uptime_s": {"type": "integer"},
    }
    model: Json = {**_IDENTITY, "precision": {"type": ["string", "null"]}, "active": {"type": "boolean"}}
    return {
        "Guess": _GUESS,
        "Error": _object({"error": _object({"what": _TEXT, "remedy": _TEXT})}),
        "Verdict": _object(
            {"ok": {"type": "boolean"}},
            {
                "captures": _object(_CAPTURE_COUNTERS),
                "alert_sinks": {"type": "array", "items": _object({"kind": _TEXT, "ok": {"type": "boolean"}})},
            },
        ),
        "Identity": _object(_IDENTITY),
        "Models": _object({"models": {"type": "array", "items": _object(model)}}),
        "Prediction": _object(
            {**_IDENTITY, "ranking": _RANKING, "latency_ms": {"type": "number"}},
            {"labels": _LABELS, "unknown": _UNKNOWN},
        ),
        "State": _object(state),
        "Drift": _object({**_DRIFT, "days": {"type": "object", "additionalProperties": {"type": "object"}}}),
    }


def _answer(description: str, schema: str, kind: str = "application/json") -> Json:
    return {"description": description, "content": {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _plain(description: str, kind: str) -> Json:
    return {"description": description, "content": {kind: {"schema": _TEXT}}}


_ERRORS: Dict[int, str] = {
    400: "Malformed request",
    401: "A token is required",
    403: "Requests from another site are not allowed",
    404: "Not found",
    409: "Not possible in this state",
    411: "The body has no length",
    413: "Too large",
    415: "Unsupported media type",
    421: "Not a name of this app",
    422: "Cannot be processed",
    429: "Too many requests",
    503: "Temporarily unavailable",
    504: "No answer in time",
}
_ALL = (400, 401, 403, 413, 421, 429)


def _operation(summary: str, success: Json, *errors: int, status: int = 200, **more: Any) -> Json:
    refusals = {str(code): _answer(_ERRORS[code], "Error") for code in sorted({*_ALL, *errors})}
    name = "".join(word for word in summary.title() if word.isalpha())
    return {"operationId": name, "summary": summary, "responses": {str(status): success, **refusals}, **more}


def _paths() -> Json:
    verdict, no = _answer("Yes", "Verdict"), _answer("No", "Verdict")
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _IMAGES}
    how = "The bytes of an image under any image type, or a file of a multipart form (curl -F file=@image.jpg)."
    image = {"required": True, "description": how, "content": content}
    switch = {
        "required": True,
        "content": {"application/json": {"schema": _object({"release": {**_TEXT, "minLength": 1}})}},
    }
    asked = {"from": {"type": "integer"}, "height": _COUNT, "width": _COUNT, "crop": _TEXT}
    frame = {"required": True, "content": {"application/json": {"schema": _object({}, asked)}}}
    health, ready = (
        _operation("Liveness", verdict, security=[]),
        _operation("Readiness", verdict, security=[]),
    )
    for path in (health, ready):
        path["responses"]["503"] = no
    return {
        "/v1/predict": {"post": _operation("Classify an image", _answer("The most probable classes", "Prediction"), 411, 415, 422, 503, 504, requestBody=image)},
        "/v1/capture": {"post": _operation("Store the next frame to be labeled", _answer("It will be stored", "Verdict"), 409, status=202)},
        "/v1/frame": {"post": _operation("Latest result with its image", _plain("A line of JSON, then the bytes of the image", "application/octet-stream"), 409, 411, 415, 422, requestBody=frame)},
        "/v1/drift": {"get": _operation("Drift and the sketch of each day", _answer("Drift", "Drift"), 404)},
        "/v1/state": {"get": _operation("Current state", _answer("The state", "State"))},
        "/v1/models": {"get": _operation("List the models on the device", _answer("The models", "Models"))},
        "/v1/model": {"post": _operation("Switch to another model", _answer("The active model", "Identity"), 404, 409, 411, 415, 422, requestBody=switch)},
        "/v1/events": {"get": _operation("The state twice a second", _plain("Server-sent events", "text/event-stream"), 503)},
        "/stream": {"get": _operation("Live stream", _plain("Motion JPEG", "multipart/x-mixed-replace"), 503)},
        "/health": {"get": health},
        "/ready": {"get": ready},
        "/metrics": {"get": _operation("Prometheus metrics", _plain("Version 0.0.4 of its text format", "text/plain"))},
    }  # fmt: skip


_IMAGES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")


def openapi_document() -> Json:
    """Return the whole document; it is the same on every device."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Edge Vision Toolkit: a device's live app",
            "version": "1",
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": "."}],
        "security": [{"bearer": []}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Required where the app has a token."}
            },
        },
    }
