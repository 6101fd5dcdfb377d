"""Captures: images that the live app stores to be labeled, and the JSON file of each.

    ROOT/captures/<YYYY-MM-DD>/<SHA-256 of the JPEG>.jpg
    ROOT/captures/<YYYY-MM-DD>/<the same>.json    written last: an image without it is not yet, or no longer, a capture

The app writes the JSON and the controller reads it, both by this module. Python 3.9 and later; standard library.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

SCHEMA = 1
IMAGE_SUFFIX, JSON_SUFFIX = ".jpg", ".json"
UNSURE, CHANGE, UNKNOWN, RANDOM, REQUESTED = "unsure", "change", "unknown", "random", "requested"
POLICIES = (UNSURE, CHANGE, UNKNOWN, RANDOM, REQUESTED)
"""Why an image was captured: an unsure answer, another class, the answer "unknown", one frame in N, or on request."""
MAX_JSON_BYTES, MAX_IMAGE_BYTES, MAX_CLASSES, MAX_TEXT = 1 << 20, 32 << 20, 20_000, 1024
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True)
class CaptureRecord:
    """The JSON of a capture."""

    digest: str
    """SHA-256 of the JPEG, in hex."""
    release: str
    """Name of the release's folder, which is its digest."""
    camera: str
    time: str
    """When the result came, UTC, ISO 8601; by a clock that may be wrong unless `clock_synchronized`."""
    policy: str
    label: str
    """The most probable class, also where the answer is "unknown"; "class" in the JSON."""
    confidence: float
    """Its probability."""
    probabilities: Tuple[float, ...]
    """Of each class, in the order of the bundle's labels."""
    score: Optional[float]
    """Rejection score, higher for surer answers; None if the bundle has no rule for unknown images."""
    clock_synchronized: bool

    def to_json(self) -> bytes:
        """Return the JSON document."""
        fields = asdict(self)
        fields["class"] = fields.pop("label")
        return json.dumps({"schema": SCHEMA, **fields}, ensure_ascii=False, allow_nan=False).encode()

    def seconds(self) -> float:
        """Return `time` in seconds since 1970."""
        return _moment(self.time).timestamp()


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 digest in hex."""
    return _DIGEST.fullmatch(text) is not None


def is_day(text: str) -> bool:
    """Return whether a text may name a folder of captures, YYYY-MM-DD."""
    return _DAY.fullmatch(text) is not None


def read_record(content: bytes, digest: str) -> CaptureRecord:
    """Return the record of the capture with this digest from its JSON, which is not trusted.

    Raises:
        ValueError: the document is not valid; names the first field that is not.
    """
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"is larger than {MAX_JSON_BYTES} bytes")
    try:
        fields = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("is not an object")  # noqa: TRY004 - of a document, not of an argument
    problem = next(_problems(fields, digest), None)
    if problem:
        raise ValueError(problem)
    numbers = tuple(float(value) for value in fields["probabilities"])
    score = None if fields["score"] is None else float(fields["score"])
    texts = {name: fields[name] for name in ("digest", "release", "camera", "policy")}
    moment = _moment(fields["time"]).astimezone(timezone.utc).isoformat()
    return CaptureRecord(
        **texts,
        time=moment,
        label=fields["class"],
        confidence=float(fields["confidence"]),
        probabilities=numbers,
        score=score,
        clock_synchronized=fields["clock_synchronized"],
    )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _problems(fields: Dict[str, Any], digest: str) -> Iterator[str]:
    """Yield what is not valid."""
    if fields.get("schema") != SCHEMA:
        yield f"schema: is not {SCHEMA}"
    if {*fields} != {*_EXPECTED, *_OTHERS}:
        yield f"fields: {', '.join(sorted({*_EXPECTED, *_OTHERS} ^ {*fields}))[:200]} missing or not known"
    if fields["digest"] != digest or not is_digest(digest):
        yield "digest: is not that of the image"
    for name, (is_valid, expected) in _EXPECTED.items():
        if not is_valid(fields[name]):
            yield f"{name}: is not {expected}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()


def _is_policy(value: object) -> bool:
    return value in POLICIES


def _are_probabilities(value: object) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= MAX_CLASSES and all(map(_is_probability, value))


def _is_score(value: object) -> bool:
    return value is None or _is_probability(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_probability(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and len(value) <= 40 and _moment(value).astimezone(timezone.utc).year >= 1970
    except (ValueError, OverflowError):
        return False


_TEXT = (_is_text, f"a text of 1 to {MAX_TEXT} printable characters")
_EXPECTED: Dict[str, Tuple[Callable[[object], bool], str]] = {
    "release": _TEXT,
    "camera": _TEXT,
    "class": _TEXT,
    "policy": (_is_policy, f"one of {', '.join(POLICIES)}"),
    "time": (_is_time, "a time with a zone in ISO 8601"),
    "probabilities": (_are_probabilities, f"a list of 1 to {MAX_CLASSES} numbers from 0 to 1"),
    "confidence": (_is_probability, "a number from 0 to 1"),
    "score": (_is_score, "null or a number from 0 to 1"),
    "clock_synchronized": (_is_flag, "true or false"),
}
_OTHERS = ("schema", "digest")


def _moment(text: str) -> datetime:
    """Parse a time; Python 3.9 and 3.10 read no Z.

    Raises:
        ValueError: it has no zone, or is not in ISO 8601.
    """
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if moment.tzinfo is None:
        raise ValueError("has no zone")
    return moment
