"""The pipeline: all stages, the latest result, counters and rates."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Tuple

from ...image_io import resize
from ...rejection import judge
from ...runtime import interface
from .capture import FrameCapture
from .decoding import Decoder
from .inference import InferenceWorker, Load, LoadedModel
from .messages import Classification, Counters, DropOldestQueue, Frame, Query, now_ns
from .throughput import ThroughputMeter
from .topk import labels_above_threshold, top_k
from .trigger import Trigger, TriggerSettings

if TYPE_CHECKING:
    from ..sources.base import Source
    from .messages import Answer, Pixels, Reply

CAPTURED, READY, ANSWERED = 2, 2, 16
_STEP_S = 0.2
JOIN_S = 15.0
"""How long a stage may take to end; a hanging camera driver can block its thread."""
Listener = Callable[[Classification], None]
Answered = Tuple["LoadedModel", Query, "Answer", int]


@dataclass(frozen=True)
class PipelineOptions:
    """Options of a pipeline; 0 decoders means one per core, at most four."""

    fps: float = 25.0
    decoders: int = 0
    exact: bool = False
    """Whether frames are resized exactly as in training, which takes longer."""
    trigger: Optional[TriggerSettings] = None
    """Which frames are classified; None: all."""

    @property
    def decoder_count(self) -> int:
        """Return the number of decoding threads."""
        return self.decoders or max(1, min(4, len(os.sched_getaffinity(0))))


class FramePipeline:
    """The stages from camera to results; runs from `begin` to `end`. The other methods are thread-safe."""

    def __init__(
        self,
        source: Optional[Source],
        settings: interface.Settings,
        shape: PipelineOptions,
        log: Callable[[str], None],
        load: Load = interface.load,
        **engine: Callable[[], bool],
    ) -> None:
        self.counters, self.meter = Counters(), ThroughputMeter()
        self.latest: Optional[Classification] = None
        self.listeners: List[Listener] = []
        """Called in turn for each result, by the last stage."""
        self._captured: DropOldestQueue[Frame] = DropOldestQueue(CAPTURED)
        self._ready: DropOldestQueue[Query] = DropOldestQueue(READY)
        self._answered: DropOldestQueue[Answered] = DropOldestQueue(ANSWERED)
        self.worker = InferenceWorker(self._ready, settings, self._on_answer, self.counters, log, load, **engine)
        self.capture = FrameCapture(source, self._captured, self.counters, log, shape.fps) if source else None
        trigger = Trigger(shape.trigger) if shape.trigger else None
        self._decoders = [
            Decoder(self._captured, self._ready, self.worker.input_format, self.counters, trigger, exact=shape.exact)
            for _ in range(shape.decoder_count if source else 0)
        ]
        self._stopping = False
        self._results = threading.Thread(target=self._work, name="results", daemon=True)
        self.source_name = source.name if source else "none"

    def begin(self, release: Path) -> None:
        """Load the model and start every stage.

        Raises:
            DeviceError: the release cannot be used; no stage was started.
        """
        self.worker.begin(release)
        self._results.start()
        for decoder in self._decoders:
            decoder.start()
        if self.capture:
            self.capture.start()

    def end(self) -> List[str]:
        """Stop the stages in the order of the frames; return the names of threads that did not end."""
        left = [thread.name for stage in self._stages() for thread in stage if not _stopped(thread)]
        for query in self._ready.close():
            if query.reply is not None:
                query.reply(None, "the app is ending")
        self._stopping = True
        self._answered.close()
        self._results.join(JOIN_S)
        self.worker.let_go()
        return left + (["results"] if self._results.is_alive() else [])

    def _stages(self) -> List[List[threading.Thread]]:
        return [[self.capture] if self.capture else [], list(self._decoders), [self.worker]]

    def is_alive(self) -> bool:
        """Return whether every stage runs."""
        stages = [thread for stage in self._stages() for thread in stage]
        return all(thread.is_alive() for thread in [*stages, self._results])

    def ask(self, image: Pixels, reply: Reply) -> bool:
        """Queue an image (RGB, any size) ahead of camera frames; return False if there is no room."""
        input_format = self.worker.input_format()
        self.counters.add("requested")
        frame = Frame(0, now_ns(), pixels=image[..., ::-1])
        query = Query(frame, input_format, resize(image, input_format.size, input_format.crop), reply)
        return self._ready.keep(query)

    def use(self, release: Path) -> None:
        """Switch to another release; see InferenceWorker.use."""
        before = self.worker.loaded.release
        self.worker.use(release)
        if self.worker.loaded.release != before:
            self.meter.restart()

    def dropped(self) -> Dict[str, int]:
        """Return the number of dropped frames by queue."""
        return {
            "captured": self._captured.dropped,
            "ready": self._ready.dropped,
            "answered": self._answered.dropped,
        }

    def _on_answer(self, loaded: LoadedModel, query: Query, answer: Answer) -> None:
        """Pass on an answer; called on OpenVINO's thread."""
        self.counters.add("answered")
        if query.reply is not None:
            query.reply(answer, "")
        else:
            self._answered.put((loaded, query, answer, now_ns()))

    def _work(self) -> None:
        """Publish answers until the end: the last stage."""
        while not self._stopping:
            answered = self._answered.take(_STEP_S)
            if answered is not None:
                self._publish(*answered)

    def _publish(self, loaded: LoadedModel, query: Query, answer: Answer, at_ns: int) -> None:
        latency_ms = (at_ns - query.frame.captured_ns) / 1e6
        self.meter.add(latency_ms)
        if self.latest is not None and query.frame.number < self.latest.frame.number:
            self.counters.add("overtaken")
            return
        self.latest = self.make_result(loaded, query.frame, answer, at_ns, query.fitted)
        for listener in self.listeners:
            listener(self.latest)

    def make_result(
        self, loaded: LoadedModel, frame: Frame, answer: Answer, at_ns: int, fitted: Optional[Pixels] = None
    ) -> Classification:
        """Return the labels of an answer on a frame, or on a part of it, that came at `at_ns`."""
        ranking = top_k(answer, loaded.manifest["labels"])
        labels = labels_above_threshold(answer, loaded.manifest)
        unknown, score = judge(answer, loaded.manifest)
        latency_ms = (at_ns - frame.captured_ns) / 1e6
        return Classification(frame, ranking, labels, loaded.release.name, latency_ms, unknown, score, answer, fitted)


def _stopped(thread: threading.Thread) -> bool:
    thread.stop()  # type: ignore[attr-defined]  # every stage has `stop`
    thread.join(JOIN_S)
    return not thread.is_alive()
