"""A candidate beside the serving release, `python -m device shadow RELEASE`: both classify the same live frames.

It is a process of its own, at the lowest priority, so that it can neither crash nor block the app. It asks the app for each k-th
frame and the serving model's answer. Requests are lines of JSON on stdin, each answered by one line on stdout; it ends with stdin.

    {"do": "begin", "app": URL, "token": TOKEN or null, "every": K, "baseline": FRAMES}
        measures the app's frame rate over that many frames, then loads the candidate
        {"ok", "serving": {"release", "name"}, "fps", "notes"}
    {"do": "classify", "image": BASE64}
        {"ok", "label", "probability", "unknown", "ms"}: the candidate's answer to a JPEG
    {"do": "judge", "app", "token_file", "every", "baseline", "agreement", "seconds"}
        on devices that pull their releases: all of the comparison, until the test of agreement decides or time is up
        {"ok", "decision": "passed", "refused" or "undecided", "reason", "serving", "frames", "counted", "agreed", "fps", …}
    {"do": "compare", "frames": N}
        {"ok", "serving": RELEASE, "fps", "frames": [{"serving", "candidate", "changed"}, …]}, each answer {"label", "probability",
        "unknown", "ms"}; "changed": whether the image differs visibly from the last one that did
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, TextIO, Tuple
from urllib.parse import urlsplit

import cv2
import numpy as np

from ..errors import DeviceError
from ..layout import model_file
from ..rejection import judge
from ..release.manifest import input_size, read_manifest
from ..release.verify import require_trusted
from ..runtime import accelerators, interface
from ..sequential import FAIL, PASS, SequentialTest, agreements
from .pipeline.decoding import prepare_frame
from .pipeline.messages import Frame, InputFormat
from .pipeline.topk import answer_label, labels_above_threshold, top_k

if TYPE_CHECKING:
    from .pipeline.messages import Pixels

POLL_S, TIMEOUT_S, SILENCE_S = 0.03, 20.0, 60.0
"""Pause between two looks for a frame, the limit of one request, and the longest time without a frame."""
CHANGED = 2.0
"""Mean difference in levels, of 255, from which on two images are not the same scene; a camera's noise is below it."""
THUMBNAIL = (16, 16)
ROUND = 10
"""Frames between two tests of `judge`."""
Json = Dict[str, Any]


def run(release: Path, accelerator: str, stdin: TextIO, stdout: TextIO, load: Any = interface.load) -> None:
    """Answer requests until stdin ends."""
    shadow = Shadow(release, accelerator, load)
    for line in stdin:
        try:
            request = json.loads(line)
            answer = shadow.answer(request)
        except DeviceError as error:
            answer = {"ok": False, "error": error.to_json()}
        print(json.dumps(answer), file=stdout, flush=True)


def lowest_priority() -> None:
    """Give way to every other process: nice 19, the scheduler's idle class, and the same for this session's group.

    With the kernel's autogroups, as Debian has them, nice counts within a session only, and the group's own value between
    sessions (sched(7)). The idle class gives the lowest priority at the disk, too (ionice(1)).
    """
    with suppress(OSError):  # it leads a session already
        os.setsid()  # the starting session keeps its priority
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class AppClient:
    """The serving app, asked for frames over one connection."""

    def __init__(self, url: str, token: Optional[str]) -> None:
        self._url = url
        address = urlsplit(url)
        self._path = address.path.rstrip("/") + "/v1/frame"
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        self._connection = _connection(address.scheme, address.hostname or "127.0.0.1", address.port)

    def ask(self, **request: Any) -> Tuple[Json, bytes]:
        """Return the head of the answer and its image, which may be empty.

        Raises:
            DeviceError: the app does not answer, has no frames, or wants a token.
        """
        try:
            self._connection.request("POST", self._path, json.dumps(request), self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DeviceError(f"no app answers at {self._url}: {why}", remedy=START) from None
        if answer.status != 200:
            raise _refusal(answer.status, body)
        head, _, image = body.partition(b"\n")
        document: Json = json.loads(head)
        return document, image


START = "start the app of the serving release (systemctl start toolkit-runner), or deploy without --shadow"


def _connection(scheme: str, host: str, port: Optional[int]) -> http.client.HTTPConnection:
    """Return a connection; the certificate of an app on this machine is not checked, since nobody is in between."""
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    if host in ("127.0.0.1", "::1", "localhost"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def _refusal(status: int, body: bytes) -> DeviceError:
    """Return the reason why the app gives no frame."""
    if status == 401:
        remedy = "name its token file, readable by the login, in the inventory: toolkit_app_token_file"
        return DeviceError("the app asks for a token", remedy=remedy)
    if status == 404:
        remedy = "deploy this bundle once without --shadow; from then on, the app has what --shadow needs"
        return DeviceError("the serving release is older than --shadow and gives no frames", remedy=remedy)
    try:
        why = str(json.loads(body)["error"]["what"])
    except (ValueError, KeyError, TypeError):
        why = f"it answers {status}"
    return DeviceError(f"the app gives no frames: {why}", remedy=START if status != 409 else "give the app a camera")


class Shadow:
    """The candidate, and the state of the comparison."""

    def __init__(self, release: Path, accelerator: str, load: Any) -> None:
        self._release, self._load = release.resolve(), load
        self._settings, self._notes = _settings(accelerator)
        self._last: Optional["np.ndarray[Any, Any]"] = None
        self._frame = self._every = 0

    def answer(self, request: Json) -> Json:
        """Return the answer to a request.

        Raises:
            DeviceError: see the methods.
        """
        if request["do"] == "begin":
            return self.begin(request)
        if request["do"] == "classify":
            return self.classify(base64.b64decode(request["image"]))
        if request["do"] == "judge":
            return self.judge(request)
        return self.compare(int(request["frames"]))

    def judge(self, request: Json) -> Json:
        """Compare until the test of agreement decides, or time is up.

        Raises:
            DeviceError: see `begin`; the token cannot be read; or the app switched to another release meanwhile.
        """
        start, bound = time.monotonic(), float(request["agreement"])
        started = self.begin({**request, "token": _read_token(request["token_file"])})
        test, frames, rates, decision = SequentialTest.above(bound), [], [], ""
        while not decision and time.monotonic() - start < float(request["seconds"]):
            answer = self.compare(ROUND)
            if answer["serving"] != started["serving"]["release"]:
                raise DeviceError("the app switched to another release meanwhile", remedy="the next pull tries again")
            frames += answer["frames"]
            rates += [answer["fps"]] if answer["fps"] else []
            decision = test.decide(agreements(frames))
        samples = agreements(frames)
        verdicts = {PASS: ("passed", "is above"), FAIL: ("refused", "is not above")}
        verdict, text = verdicts.get(decision, ("undecided", "could not be decided in time to be above"))
        return {
            "ok": True,
            "decision": verdict,
            "reason": f"agreement {text} {bound:.0%}: {sum(samples)} of {len(samples)} counted frames agree",
            "serving": started["serving"]["release"],
            "frames": len(frames),
            "counted": len(samples),
            "agreed": sum(samples),
            "confidence": [_mean([one[who]["probability"] for one in frames]) for who in ("serving", "candidate")],
            "ms": [_mean([one[who]["ms"] for one in frames]) for who in ("serving", "candidate")],
            "fps": [started["fps"], _mean(rates)],
            "notes": started["notes"],
            "seconds": round(time.monotonic() - start, 1),
        }

    def begin(self, request: Json) -> Json:
        """Measure the app alone, then load the candidate.

        Raises:
            DeviceError: the app gives no frames, or the candidate cannot be loaded.
        """
        self._app, self._every = AppClient(str(request["app"]), request.get("token")), int(request["every"])
        first = self._wait(0)
        last = self._wait(first["answered"] + int(request["baseline"]))
        require_trusted(self._release)
        self._manifest = read_manifest(self._release)
        self._input = InputFormat(input_size(self._manifest), self._manifest["input"].get("crop", "resize"))
        self._model = self._load(model_file(self._release), self._settings)
        self._model.infer(np.zeros((*self._input.size, 3), np.uint8))
        self._frame = last["frame"]
        serving = {"release": last["release"], "name": last["name"]}
        return {"ok": True, "serving": serving, "fps": _rate(first, last), "notes": self._notes}

    def _wait(self, answered: int) -> Json:
        """Return the app's latest result once it has answered so many; images are not transferred.

        Raises:
            DeviceError: none came for SILENCE_S.
        """
        seen, deadline = -1, time.monotonic() + SILENCE_S
        while True:
            head, _ = self._app.ask()
            if head["answered"] >= answered:
                return head
            if head["answered"] > seen:
                seen, deadline = head["answered"], time.monotonic() + SILENCE_S
            elif time.monotonic() > deadline:
                raise DeviceError(f"the app classified no frame for {SILENCE_S:g} s", remedy="see its /v1/state")
            time.sleep(POLL_S)

    def compare(self, number: int) -> Json:
        """Classify the next frames, each k-th of the camera's.

        Raises:
            DeviceError: the app gives no frames any more.
        """
        first, _ = self._app.ask()
        frames: List[Json] = []
        while len(frames) < number:
            head, image = self._next()
            with suppress(ValueError, cv2.error):  # a damaged frame, which the app has counted
                frames.append(self._compared(head, image))
        last, _ = self._app.ask()
        return {"ok": True, "serving": last["release"], "fps": _rate(first, last), "frames": frames}

    def classify(self, jpeg: bytes) -> Json:
        """Classify a stored frame.

        Raises:
            DeviceError: it is no JPEG.
        """
        begin = time.perf_counter()
        try:
            pixels = prepare_frame(Frame(0, 0, jpeg=jpeg), self._input)
        except (ValueError, cv2.error):
            raise DeviceError("a labeled capture is no JPEG", remedy="collect it again") from None
        return {"ok": True, **self._infer(pixels, begin)}

    def _next(self) -> Tuple[Json, bytes]:
        height, width = self._input.size
        deadline = time.monotonic() + SILENCE_S
        while True:
            start = self._frame + self._every
            head, image = self._app.ask(**{"from": start, "height": height, "width": width, "crop": self._input.crop})
            if head["image"] is not None:
                self._frame = head["frame"]
                return head, image
            if time.monotonic() > deadline:
                raise DeviceError(f"the app classified no new frame for {SILENCE_S:g} s", remedy="see its /v1/state")
            time.sleep(POLL_S)

    def _compared(self, head: Json, image: bytes) -> Json:
        begin = time.perf_counter()
        pixels = self._pixels(head["image"], image)
        serving = {name: head[name] for name in ("label", "probability", "unknown")} | {"ms": head["latency_ms"]}
        candidate = self._infer(pixels, begin)
        return {"serving": serving, "candidate": candidate, "changed": self._is_changed(pixels)}

    def _infer(self, pixels: Pixels, begin: float) -> Json:
        answer = self._model.infer(pixels)
        ms = (time.perf_counter() - begin) * 1e3
        label, probability = answer_label(
            top_k(answer, self._manifest["labels"]), labels_above_threshold(answer, self._manifest)
        )
        unknown, _ = judge(answer, self._manifest)
        return {"label": label, "probability": round(probability, 6), "unknown": unknown, "ms": round(ms, 3)}

    def _pixels(self, image: Json, content: bytes) -> Pixels:
        """Return the candidate's input: u8 [height, width, 3] in RGB."""
        if image["kind"] == "jpeg":
            return prepare_frame(Frame(0, 0, jpeg=content), self._input)
        pixels = np.frombuffer(content, np.uint8).reshape(image["height"], image["width"], 3)
        return pixels if image["kind"] == "input" else prepare_frame(Frame(0, 0, pixels=pixels), self._input)

    def _is_changed(self, pixels: Pixels) -> bool:
        small = cv2.resize(pixels, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._last is not None and float(np.mean(np.abs(small - self._last))) < CHANGED:
            return False
        self._last = small
        return True


def _read_token(path: Optional[str]) -> Optional[str]:
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else None
    except OSError as error:
        raise DeviceError(f"the app's token cannot be read: {error.strerror}", where=str(path)) from None


def _mean(values: List[float]) -> Optional[float]:
    return round(sum(values) / len(values), 4) if values else None


def _settings(accelerator: str) -> Tuple[interface.Settings, List[str]]:
    """Return the candidate's settings: one thread of the CPU where the app holds the accelerator."""
    if not accelerators.is_removable(accelerator):
        return interface.Settings(accelerator, threads=1), []
    note = f"{accelerator} is in use by the app: the candidate ran on the CPU, so that its latency is not that of {accelerator}"
    return interface.Settings(accelerators.CPU.name, threads=1), [note]


def _rate(first: Json, last: Json) -> Optional[float]:
    """Return the app's results per second between two answers; None if none came."""
    seconds = (last["at_ns"] - first["at_ns"]) / 1e9
    number = last["answered"] - first["answered"]
    return round(number / seconds, 2) if number and seconds > 0 else None
