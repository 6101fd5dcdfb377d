"""One measurement of benchmarks/app.py, in a process of its own: `app_stages.py KIND FOLDER SECONDS PRECISION [MORE…]`."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from toolkit.device.app.pipeline.decoding import prepare_frame
from toolkit.device.app.pipeline.frame_pipeline import FramePipeline, PipelineOptions
from toolkit.device.app.pipeline.messages import Frame, InputFormat, now_ns
from toolkit.device.release.manifest import input_size, read_manifest
from toolkit.device.runtime import interface

HEIGHT, WIDTH, FRAMES = 720, 1280, 24
WARM_S = 1.0


def encoded() -> list[bytes]:
    """Frames as a camera might compress them: soft structures, some noise; about a tenth of a megabyte each."""
    chooser = np.random.default_rng(1)
    actual = []
    for _ in range(FRAMES):
        coarse = chooser.integers(0, 256, (24, 40, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += chooser.integers(-6, 7, image.shape, dtype=np.int16)
        _, jpeg = cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
        actual.append(jpeg.tobytes())
    return actual


class Memory:
    """A source of frames that were read beforehand."""

    name = "memory"
    fps: float | None = None

    def __init__(self, *, live: bool = False) -> None:
        self.live, self._frames, self._next = live, encoded(), 0

    def open(self) -> None:
        """There is nothing to open."""

    def read(self) -> bytes:
        """The next one."""
        self._next += 1
        return self._frames[self._next % FRAMES]

    def close(self) -> None:
        """There is nothing to close."""


def decode(folder: Path, seconds: float, precision: str | None) -> dict[str, float]:
    """CPU time of decoding one frame, one after the other on one thread."""
    del folder, precision
    cv2.setNumThreads(1)
    arrays = [np.frombuffer(jpeg, np.uint8) for jpeg in encoded()]
    count, begin, spent = 0, time.monotonic(), time.process_time()
    while time.monotonic() - begin < seconds / 2:
        cv2.imdecode(arrays[count % FRAMES], cv2.IMREAD_COLOR)
        count += 1
    return {"cpu_ms": 1000 * (time.process_time() - spent) / count}


def synchronous(folder: Path, seconds: float, precision: str | None) -> dict[str, float]:
    """The loop that one writes first, by OpenVINO's and OpenCV's own examples."""
    import openvino

    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", **({"INFERENCE_PRECISION_HINT": precision} if precision else {})}
    model = core.compile_model(folder / "model.xml", "CPU", hints)
    _, height, width, _ = model.input(0).shape
    frames = encoded()

    def one(number: int) -> None:
        image = cv2.imdecode(np.frombuffer(frames[number % FRAMES], np.uint8), cv2.IMREAD_COLOR)
        small = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)
        answer = model(small[None])[0][0]
        best = int(answer.argmax())
        cv2.putText(image, f"{best} {answer[best]:.2f}", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)

    count, begin = _repeat(one, seconds)
    return {"fps": count / (time.monotonic() - begin)}


def _repeat(one: Callable[[int], None], seconds: float) -> tuple[int, float]:
    """How often it was done since when, after a warm-up."""
    begin, number = time.monotonic(), 0
    while time.monotonic() - begin < WARM_S:
        one(number)
        number += 1
    begin, count = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        one(count)
        count += 1
    return count, begin


def begin_pipeline(folder: Path, precision: str | None, source: Memory, fps: float) -> FramePipeline:
    """The app's stages, running."""
    cv2.setNumThreads(1)
    settings = interface.Settings("CPU", precision=precision, hint="throughput")
    app = FramePipeline(source, settings, PipelineOptions(fps), lambda text: print(text, file=sys.stderr))
    app.begin(folder)
    return app


def pipeline(folder: Path, seconds: float, precision: str | None) -> dict[str, float]:
    """The app's stages as fast as they go."""
    app = begin_pipeline(folder, precision, Memory(), 0)
    time.sleep(WARM_S)
    begin, spent, before = time.monotonic(), time.process_time(), app.counters["answered"]
    time.sleep(seconds)
    passed, used, count = time.monotonic() - begin, time.process_time() - spent, app.counters["answered"] - before
    app.end()
    return {"fps": count / passed, "cpu_ms": 1000 * used / count}


def live(folder: Path, seconds: float, precision: str | None, fps: str) -> dict[str, float]:
    """At a camera's pace: what a frame's way through the app takes beyond its own decoding and inference, done here alone."""
    alone = _alone(folder, precision)
    app = begin_pipeline(folder, precision, Memory(), float(fps))
    actual: list[float] = []
    app.listeners.append(lambda result: actual.append(result.latency_ms))
    time.sleep(WARM_S + seconds)
    app.end()
    latencies = sorted(actual[int(float(fps)) :])
    p99 = latencies[-(-len(latencies) * 99 // 100) - 1]
    return {
        "count": len(latencies),
        "p50_ms": statistics.median(latencies),
        "p99_ms": p99,
        "alone_ms": alone,
        "added_p99_ms": p99 - alone,
    }


def _alone(folder: Path, precision: str | None) -> float:
    """The median of one frame's decoding and inference with nothing else going on, in ms."""
    cv2.setNumThreads(1)
    model = interface.load(folder / "model.xml", interface.Settings("CPU", precision=precision, hint="throughput"))
    input_format, source = InputFormat(input_size(read_manifest(folder)), "resize"), Memory()
    times = []
    for number in range(100):
        begin = now_ns()
        model.infer(prepare_frame(Frame(number, 0, jpeg=source.read()), input_format))
        times.append((now_ns() - begin) / 1e6)
    return statistics.median(times)


def served(folder: Path, seconds: float, precision: str | None, clients: str, cores: str) -> dict[str, float]:
    """The whole app at full speed with so many clients, which are a process of their own."""
    from toolkit.device.app.status import HardwareStats, StatusReport
    from toolkit.device.app.web.auth import Auth
    from toolkit.device.app.web.routes import Routes
    from toolkit.device.app.web.server import Server

    app = begin_pipeline(folder, precision, Memory(), 0)
    routes = Routes(StatusReport(app, HardwareStats()), Auth(None), predictions_a_second=100)
    server = Server(routes.handle, "127.0.0.1", 0)
    server.begin(routes.broadcast.send_images, routes.broadcast.send_events)
    command = [sys.executable, __file__, "ask", str(folder), str(seconds + 3), "", str(server.port), clients, cores]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
        time.sleep(WARM_S + 1)
        begin, before = time.monotonic(), app.counters["answered"]
        time.sleep(seconds)
        fps = (app.counters["answered"] - before) / (time.monotonic() - begin)
        report = json.loads(crowd.communicate()[0])
    server.end(10)
    app.end()
    return {"fps": fps, **report}


def ask(folder: Path, seconds: float, precision: str | None, port: str, clients: str, cores: str) -> dict[str, float]:
    """Half of the clients watch the stream, half ask the API by turns for a prediction and for the state."""
    del folder, precision
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    end, counts, lock = (
        time.monotonic() + seconds,
        {"images_bytes": 0.0, "asked": 0.0, "predicted": 0.0},
        threading.Lock(),
    )
    jpeg = encoded()[0]

    def add(name: str, number: float) -> None:
        with lock:
            counts[name] += number

    def watch() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=seconds)
        connection.request("GET", "/stream")
        answer = connection.getresponse()
        while time.monotonic() < end:
            add("images_bytes", len(answer.read(65_536)))
        connection.close()

    def query() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        while time.monotonic() < end:
            connection.request("POST", "/v1/predict", jpeg, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read()
            add("predicted", answer.status == 200)
            connection.request("GET", "/v1/state")
            connection.getresponse().read()
            add("asked", 2)
            time.sleep(1.0)
        connection.close()

    threads = [threading.Thread(target=(watch, query)[number % 2], daemon=True) for number in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 10)
    time.sleep(max(0.0, end - time.monotonic()))
    return {**counts, "predicted_a_second": counts["predicted"] / seconds}


KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function for function in (decode, synchronous, pipeline, live, served, ask)
}


def main(kind: str, folder: str, seconds: str, precision: str, *more: str) -> None:
    """Print what was measured."""
    print(json.dumps(KINDS[kind](Path(folder), float(seconds), precision or None, *more)))


if __name__ == "__main__":
    main(*sys.argv[1:])
