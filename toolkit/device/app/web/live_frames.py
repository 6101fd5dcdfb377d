"""The response of POST /v1/frame: the latest result as a line of JSON, then the classified image.

    request     {}, or {"from": NUMBER, "height": H, "width": W, "crop": CROP}
    answer      {"frame", "release", "name", "label", "probability", "unknown", "latency_ms", "answered", "at_ns", "image"}

"image" is null unless "from" is there and the latest frame has that number or a higher one; nothing waits. It says what follows
the line: "input", the network's input as u8 [H, W, 3] in RGB if the two networks take the same, else the whole frame, "jpeg" or
"bgr". Nothing is encoded, so that a program that looks at each k-th frame costs the app a copy of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ..pipeline.messages import InputFormat, now_ns
from ..pipeline.topk import answer_label
from ..status import identity
from .http import HttpError, Response

if TYPE_CHECKING:
    from ..pipeline.frame_pipeline import FramePipeline
    from ..pipeline.messages import Classification


def live_frame(pipeline: FramePipeline, request: Dict[str, Any]) -> Response:
    """Return the latest result, with its image if the request asks for it.

    Raises:
        HttpError: there is no camera or no result yet, or the request is not valid.
    """
    start, target = _parse(request)
    result = pipeline.latest
    if pipeline.capture is None or result is None:
        why = "the app has no camera" if pipeline.capture is None else "no frame was classified yet"
        raise HttpError(409, why, "give the app a --source, and see /v1/state")
    kind, content, shape = (None, b"", (0, 0))
    if start is not None and result.frame.number >= start:
        kind, content, shape = _image(result, target, pipeline.worker.input_format())
    label, probability = answer_label(result.ranking, result.labels)
    head = {
        **identity(pipeline.worker.loaded.release.with_name(result.release), pipeline.worker.loaded.manifest),
        "frame": result.frame.number,
        "label": label,
        "probability": round(probability, 6),
        "unknown": result.unknown,
        "latency_ms": round(result.latency_ms, 3),
        "answered": pipeline.counters["answered"],
        "at_ns": now_ns(),
        "image": None if kind is None else {"kind": kind, "height": shape[0], "width": shape[1]},
    }
    return Response(200, {"Content-Type": "application/octet-stream"}, json.dumps(head).encode() + b"\n" + content)


def _parse(request: Dict[str, Any]) -> Tuple[Optional[int], InputFormat]:
    """Return the first frame number that is asked for, or None, and the input of the other network."""
    start, height, width = (_integer(request.get(name, 0)) for name in ("from", "height", "width"))
    crop = request.get("crop", "")
    if start is None or height is None or width is None or min(height, width) < 0 or not isinstance(crop, str):
        what = "'from' must be an integer, 'height' and 'width' sizes in pixels, and 'crop' a string"
        raise HttpError(422, what, "see /openapi.json")
    return (start if "from" in request else None), InputFormat((height, width), crop)


def _integer(number: object) -> Optional[int]:
    """Return an integer as JSON Schema understands it, 600.0 too; None for anything else."""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    return int(number) if isinstance(number, int) or number.is_integer() else None


def _image(result: Classification, target: InputFormat, own: InputFormat) -> Tuple[str, bytes, Tuple[int, int]]:
    """Return what the image is, its bytes, and (height, width); a JPEG tells its size itself."""
    fitted, frame = result.fitted, result.frame
    if fitted is not None and target == own and fitted.shape[:2] == target.size:
        return "input", fitted.tobytes(), target.size
    if frame.pixels is not None:
        height, width = frame.pixels.shape[:2]
        return "bgr", frame.pixels.tobytes(), (height, width)
    return "jpeg", frame.jpeg or b"", (0, 0)
