"""POST /v1/frame: the latest result, and its image in the form that costs least."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from toolkit.device.app.pipeline.messages import Classification, Counters, Frame, InputFormat
from toolkit.device.app.web.http import HttpError
from toolkit.device.app.web.live_frames import live_frame

PIXELS = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
FITTED = np.full((4, 4, 3), 7, np.uint8)
SAME = {"from": 5, "height": 4, "width": 4, "crop": "resize"}


def _pipeline(frame: Frame, **changes: Any) -> Any:
    result = Classification(frame, [("dark", 0.75), ("light", 0.25)], None, "r1", 12.5, unknown=False, fitted=FITTED)
    loaded = SimpleNamespace(release=Path("/root/releases/r1"), manifest={"name": "tiny"})
    worker = SimpleNamespace(loaded=loaded, input_format=lambda: InputFormat((4, 4), "resize"))
    return SimpleNamespace(
        **{"latest": result, "capture": object(), "counters": Counters(), "worker": worker, **changes}
    )


def _ask(pipeline: Any, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    head, _, image = live_frame(pipeline, request).body.partition(b"\n")
    return json.loads(head), image


@pytest.mark.parametrize("height", [4, 4.0])
def test_frame_for_the_same_input_is_what_the_network_saw(height: float) -> None:
    head, image = _ask(_pipeline(Frame(5, 0, pixels=PIXELS)), {**SAME, "height": height})
    assert head["image"] == {"kind": "input", "height": 4, "width": 4}
    assert image == FITTED.tobytes()
    assert (head["release"], head["name"], head["label"], head["probability"]) == ("r1", "tiny", "dark", 0.75)


@pytest.mark.parametrize(
    ("frame", "kind", "content"),
    [(Frame(5, 0, pixels=PIXELS), "bgr", PIXELS.tobytes()), (Frame(5, 0, jpeg=b"jpeg"), "jpeg", b"jpeg")],
)
def test_frame_for_another_input_is_whole(frame: Frame, kind: str, content: bytes) -> None:
    head, image = _ask(_pipeline(frame), {**SAME, "crop": "center"})
    assert (head["image"]["kind"], image) == (kind, content)


def test_frame_that_is_older_than_asked_for_has_no_image() -> None:
    assert _ask(_pipeline(Frame(4, 0, pixels=PIXELS)), SAME)[0]["image"] is None
    assert _ask(_pipeline(Frame(5, 0, pixels=PIXELS)), {})[0]["image"] is None


@pytest.mark.parametrize(
    ("changes", "request_", "status"),
    [
        ({"capture": None}, SAME, 409),
        ({"latest": None}, SAME, 409),
        ({}, {"from": "5"}, 422),
        ({}, {"from": None}, 422),
        ({}, {**SAME, "height": True}, 422),
        ({}, {**SAME, "width": 4.5}, 422),
        ({}, {**SAME, "crop": 3}, 422),
    ],
)
def test_requests_that_cannot_be_answered_are_refused(
    changes: dict[str, Any], request_: dict[str, Any], status: int
) -> None:
    with pytest.raises(HttpError) as caught:
        live_frame(_pipeline(Frame(5, 0, pixels=PIXELS), **changes), request_)
    assert caught.value.status == status
