"""The stages on a stand-in for OpenVINO whose stick can be pulled out; test_serve.py has the real one."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.runtime import FakeHost
from toolkit.device.app.pipeline.frame_pipeline import FramePipeline, PipelineOptions
from toolkit.device.app.pipeline.messages import Classification
from toolkit.device.app.sources import make_source
from toolkit.device.app.sources.base import CaptureOptions
from toolkit.device.app.status import HardwareStats, StatusReport, list_models
from toolkit.device.errors import DeviceEnvironmentError, DeviceError
from toolkit.device.runtime import interface


def make_release(folder: Path, size: int = 8, **more: object) -> Path:
    folder.mkdir(parents=True)
    manifest = {"name": f"net-{size}", "labels": ["dark", "light"], "output": {"kind": "softmax"}, **more}
    manifest["input"] = {"height": size, "width": size, "crop": "resize"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "model.xml").touch()
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path / "releases" / "a")


class Running:
    """A pipeline that has begun, and what it said and found."""

    def __init__(self, host: FakeHost, release: Path, accelerator: str, source: str, fps: float) -> None:
        self.messages: list[str] = []
        self.results: list[Classification] = []
        self.host = host
        self.pipeline = FramePipeline(
            make_source(source, CaptureOptions()),
            interface.Settings(accelerator),
            PipelineOptions(fps, 2),
            self.messages.append,
            host.load,
            accelerator_present=lambda: host.ncs2,
        )
        self.pipeline.listeners.append(self.results.append)
        self.pipeline.begin(release)

    def more(self, count: int = 3) -> None:
        """Wait for so many more results."""
        target = len(self.results) + count
        self.until(lambda: len(self.results) >= target)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.005)


Begin = Callable[..., Running]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """begin(release, accelerator="CPU", ncs2=True, source="pattern", fps=200)."""
    running: list[Running] = []

    def call(
        release: Path, accelerator: str = "CPU", *, ncs2: bool = True, source: str = "pattern", fps: float = 200
    ) -> Running:
        running.append(Running(FakeHost(ncs2=ncs2), release, accelerator, source, fps))
        return running[-1]

    yield call
    for one in running:
        assert one.pipeline.end() == []


def test_pipeline_says_what_is_on_the_frames(begin: Begin, release: Path) -> None:
    app = begin(release)
    app.until(lambda: {result.ranking[0][0] for result in app.results} == {"dark", "light"})
    numbers = [result.frame.number for result in app.results]
    assert numbers == sorted(set(numbers))
    assert app.results[0].release == "a"
    assert all(result.latency_ms > 0 for result in app.results)


def test_pipeline_falls_back_to_the_cpu_and_returns_to_the_stick(begin: Begin, release: Path) -> None:
    app = begin(release, "MYRIAD")
    app.more()
    app.host.ncs2 = False
    app.until(lambda: app.host.loads == ["MYRIAD", "CPU"])
    app.more()
    assert any(messages.startswith("MYRIAD failed; switched to the CPU: ") for messages in app.messages)
    state = StatusReport(app.pipeline, HardwareStats()).now()
    assert (state["accelerator"], state["cpu_fallback"]) == ("CPU", True)
    assert not app.pipeline.worker.retry_accelerator()
    app.host.ncs2 = True
    assert app.pipeline.worker.retry_accelerator()
    app.more()
    assert app.messages[-1] == "MYRIAD is available again and in use"
    assert app.pipeline.worker.loaded.kind == "MYRIAD"
    assert app.pipeline.counters["failed"] >= 1


@pytest.mark.parametrize("accelerator", ["MYRIAD", "AUTO"])
def test_pipeline_begins_on_the_cpu_when_there_is_no_stick(begin: Begin, release: Path, accelerator: str) -> None:
    app = begin(release, accelerator, ncs2=False)
    app.more()
    assert app.messages[0].startswith("using the CPU instead of MYRIAD: MYRIAD: no Neural Compute Stick")
    assert app.host.loads == ["CPU"]


def test_pipeline_never_looks_for_a_stick_when_the_cpu_is_wanted(begin: Begin, release: Path) -> None:
    app = begin(release)
    assert not app.pipeline.worker.retry_accelerator()
    assert app.host.loads == ["CPU"]


def test_use_takes_another_release_and_drops_no_frame(begin: Begin, release: Path) -> None:
    other = make_release(release.with_name("b"), size=16)
    app = begin(release, fps=20)  # a rate that a busy machine holds, too
    app.more()
    for target in (other, release, other):
        app.pipeline.use(target)
        app.more()
        assert app.results[-1].release == target.name
    assert app.pipeline.dropped() == {"captured": 0, "ready": 0, "answered": 0}
    assert app.pipeline.counters["failed"] == 0


def test_use_keeps_the_old_release_when_the_new_one_is_none(begin: Begin, release: Path, tmp_path: Path) -> None:
    app = begin(release)
    with pytest.raises(DeviceError, match="cannot be read"):
        app.pipeline.use(tmp_path / "nowhere")
    app.more()
    assert app.results[-1].release == "a"


def test_use_lets_the_old_model_go(begin: Begin, release: Path) -> None:
    app = begin(release)
    old = weakref.ref(app.pipeline.worker.loaded.model)
    app.pipeline.use(make_release(release.with_name("b")))
    app.more()
    gc.disable()  # it must not take the collector, which comes when it comes
    try:
        app.until(lambda: old() is None)
    finally:
        gc.enable()


def test_ask_answers_an_image_between_frames(begin: Begin, release: Path) -> None:
    app = begin(release)
    answered = threading.Event()
    messages: list[object] = []

    def reply(answer: np.ndarray | None, why: str) -> None:
        messages.append((answer, why))
        answered.set()

    assert app.pipeline.ask(np.full((30, 20, 3), 255, np.uint8), reply)
    assert answered.wait(60)
    ((answer, why),) = messages
    assert (answer.tolist(), why) == ([0.0, 1.0], "")


def test_ask_is_refused_with_the_reason_when_the_stick_is_lost(begin: Begin, release: Path) -> None:
    app = begin(release, "MYRIAD", source="none")
    app.host.ncs2 = False
    messages: list[str] = []
    assert app.pipeline.ask(np.zeros((9, 9, 3), np.uint8), lambda answer, why: messages.append(why))
    app.until(lambda: bool(messages))
    assert "NC_ERROR" in messages[0]


def test_end_refuses_what_was_asked_too_late(release: Path) -> None:
    app = Running(FakeHost(), release, "CPU", "none", 0)
    app.pipeline.worker.stop()
    app.pipeline.worker.join()
    messages: list[str] = []
    app.pipeline.ask(np.zeros((9, 9, 3), np.uint8), lambda answer, why: messages.append(why))
    assert app.pipeline.end() == []
    assert messages == ["the app is ending"]


def test_pipeline_drops_oldest_when_frames_outpace_answers(
    begin: Begin, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = FakeHost.load

    def load(self: FakeHost, xml: Path, settings: interface.Settings) -> object:
        model = slow(self, xml, settings)
        answer = model.infer
        model.infer = lambda image: time.sleep(0.02) or answer(image)  # type: ignore[method-assign]
        return model

    monkeypatch.setattr(FakeHost, "load", load)
    app = begin(release, fps=500)
    app.until(lambda: app.pipeline.dropped()["captured"] > 20)
    app.more()
    assert app.pipeline.dropped()["ready"] == 0
    newest, captured = app.results[-1].frame.number, app.pipeline.counters["captured"]
    assert captured - newest < 60


def test_failure_of_the_cpu_is_told_and_tried_again(begin: Begin, release: Path) -> None:
    app = begin(release)
    app.more()
    model = app.pipeline.worker.loaded.model

    def broken(image: np.ndarray) -> np.ndarray:
        raise DeviceEnvironmentError("broken", where="inference")

    model.infer = broken  # type: ignore[method-assign]
    app.until(lambda: app.pipeline.counters["failed"] >= 1)
    app.more()
    assert "inference fails: inference: broken" in app.messages
    assert app.pipeline.worker.failing is None


def test_models_beside_names_every_release_of_the_device(release: Path) -> None:
    make_release(release.with_name("b"), size=16, precision="fp16")
    (release.with_name("c")).mkdir()
    (release.with_name("d")).mkdir()
    (release.with_name("d") / "manifest.json").write_text("damaged")
    assert list_models(release) == [
        {"release": "b", "name": "net-16", "precision": "fp16", "active": False},
        {"release": "a", "name": "net-8", "precision": None, "active": True},
    ]
