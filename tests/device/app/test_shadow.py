"""The candidate's process on the device, with a model and an app that are doubles."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.fakes.runtime import FakeHost
from toolkit.device.app import shadow
from toolkit.device.errors import DeviceError

from .conftest import REPOSITORY

MANIFEST = {"name": "new", "labels": ["dark", "light"], "input": {"height": 4, "width": 4, "crop": "resize"}}


class FakeApp:
    """Each question finds the next frame of a list of levels, all of them classified as dark."""

    def __init__(self, levels: list[int], kind: str = "input") -> None:
        self._levels, self._kind = levels, kind
        self._asked = 0

    def ask(self, **request: Any) -> tuple[dict[str, Any], bytes]:
        self._asked += 1
        number = self._asked
        answer = {"label": "dark", "probability": 0.9, "unknown": None, "latency_ms": 20.0}
        head = {"release": "r1", "name": "old", "frame": number, "answered": number, "at_ns": number * 10**8, **answer}
        if request.get("from", number + 1) > number:
            return {**head, "image": None}, b""
        size = 4 if self._kind == "input" else 32
        image = np.full((size, size, 3), self._levels[number % len(self._levels)], np.uint8)
        return {**head, "image": {"kind": self._kind, "height": size, "width": size}}, image.tobytes()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    return tmp_path


def _talk(
    release: Path, app: FakeApp, monkeypatch: pytest.MonkeyPatch, *requests: dict[str, Any], accelerator: str = "CPU"
) -> list[dict[str, Any]]:
    monkeypatch.setattr(shadow, "AppClient", lambda *_: app)
    monkeypatch.setattr(shadow, "POLL_S", 0.0)
    answers = io.StringIO()
    stdin = io.StringIO("".join(f"{json.dumps(request)}\n" for request in requests))
    shadow.run(release, accelerator, stdin, answers, FakeHost().load)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


BEGIN = {"do": "begin", "app": "http://127.0.0.1:1", "token": None, "every": 3, "baseline": 5}


@pytest.mark.parametrize("kind", ["input", "bgr"])
def test_shadow_answers_each_kth_frame(release: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    app = FakeApp([0, 250], kind)
    begin_answer, compared = _talk(release, app, monkeypatch, BEGIN, {"do": "compare", "frames": 4})
    assert (begin_answer["ok"], begin_answer["serving"], begin_answer["fps"]) == (
        True,
        {"release": "r1", "name": "old"},
        10.0,
    )
    assert [frame["candidate"]["label"] for frame in compared["frames"]] == ["light", "dark", "light", "dark"]
    assert {frame["serving"]["label"] for frame in compared["frames"]} == {"dark"}
    assert compared["fps"] == 10.0


@pytest.mark.parametrize(
    ("levels", "seconds", "decision", "frames"),
    [([0, 60], 600, "passed", 30), ([255, 0, 255, 60], 600, "refused", 30), ([0], 1e-9, "undecided", 0)],
)
def test_shadow_judges_alone(
    release: Path, levels: list[int], seconds: float, decision: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {**BEGIN, "do": "judge", "token_file": None, "every": 1, "agreement": 0.5, "seconds": seconds}
    (answer,) = _talk(release, FakeApp(levels), monkeypatch, request)
    assert (answer["decision"], answer["frames"], answer["serving"]) == (decision, frames, "r1")
    assert answer["reason"].startswith("agreement ")


def test_shadow_classifies_stored_frames(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = cv2.imencode(".jpg", np.full((32, 32, 3), 250, np.uint8))[1].tobytes()
    requests = [{"do": "classify", "image": base64.b64encode(content).decode()} for content in (jpeg, b"no JPEG")]
    _, light, damaged = _talk(release, FakeApp([0]), monkeypatch, BEGIN, *requests)
    assert (light["ok"], light["label"]) == (True, "light")
    assert damaged["error"]["what"] == "a labeled capture is no JPEG"


def test_frames_that_look_like_the_last_are_marked(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = FakeApp([10, 11, 10, 11, 200, 200])
    _, compared = _talk(release, app, monkeypatch, BEGIN | {"every": 1}, {"do": "compare", "frames": 6})
    changed = [frame["changed"] for frame in compared["frames"]]
    assert changed[0] is True
    assert 0 < changed.count(True) < 4


def test_shadow_leaves_the_accelerator_to_the_app(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (begin_answer,) = _talk(release, FakeApp([0]), monkeypatch, BEGIN, accelerator="MYRIAD")
    assert "MYRIAD is in use by the app" in begin_answer["notes"][0]


def test_app_that_classifies_nothing_is_reported(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = FakeApp([0])
    monkeypatch.setattr(shadow, "SILENCE_S", 0.0)
    monkeypatch.setattr(app, "ask", lambda **_: ({"answered": 0, "frame": 0}, b""))
    (answer,) = _talk(release, app, monkeypatch, BEGIN)
    assert "classified no frame" in answer["error"]["what"]


@pytest.mark.parametrize(
    ("status", "what", "remedy"),
    [
        (401, "asks for a token", "toolkit_app_token_file"),
        (404, "older than --shadow", "without --shadow"),
        (409, "the app has no camera", "give the app a camera"),
        (500, "it answers 500", "start the app"),
    ],
)
def test_refusal_says_what_to_do(status: int, what: str, remedy: str) -> None:
    body = b'{"error": {"what": "the app has no camera"}}' if status == 409 else b""
    error = shadow._refusal(status, body)
    assert what in error.what
    assert remedy in error.remedy


def test_app_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match=r"no app answers at http://127\.0\.0\.1:1"):
        shadow.AppClient("http://127.0.0.1:1", None).ask()


def test_process_gives_way_to_all_others() -> None:
    """Looked at from outside: it may not get the processor to say so itself."""
    code = "import sys; from toolkit.device.app import shadow; shadow.lowest_priority(); sys.stdin.read()"
    own = Path("/proc/self/autogroup")
    before = own.read_text() if own.exists() else ""
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while os.sched_getscheduler(process.pid) != os.SCHED_IDLE and time.monotonic() < deadline:
            time.sleep(0.01)
        result = (os.sched_getscheduler(process.pid), os.getpriority(os.PRIO_PROCESS, process.pid))
        process.kill()
    assert result == (os.SCHED_IDLE, 19)
    assert before == (own.read_text() if own.exists() else ""), "this session keeps its priority"
