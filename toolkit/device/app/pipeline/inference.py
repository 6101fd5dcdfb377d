"""The third stage: queries to the accelerator, several in flight, through losses of a stick and changes of the release.

A stick that fails is left for the CPU at once; while the CPU stands in for it, it is looked for every RETRY_S seconds and taken
back when it is there. A new release is loaded and warmed up beside the old one, which works until the new one takes over between
two frames.
"""

from __future__ import annotations

import gc
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from ...errors import DeviceEnvironmentError, DeviceError
from ...release.manifest import input_size, read_manifest
from ...release.verify import require_trusted
from ...runtime import interface, ncs2_usb
from .decoding import prepare_frame
from .messages import Counters, DropOldestQueue, InputFormat, Query, now_ns

if TYPE_CHECKING:
    from .messages import Answer

RETRY_S = 10.0
SPARE = 1
"""Requests beyond those that keep a CPU's streams busy: answers are taken on the streams' own threads."""
_STEP_S = 0.2
_WARM_UP = -1
Log = Callable[[str], None]
Load = Callable[[Path, interface.Settings], interface.Model]
OnAnswer = Callable[["LoadedModel", Query, "Answer"], None]


@dataclass
class LoadedModel:
    """A release whose model is in an accelerator; `queue` keeps several queries in flight there."""

    release: Path
    """Its folder, without links."""
    manifest: Dict[str, Any]
    input_format: InputFormat
    model: interface.Model
    queue: interface.Queue
    used: Dict[str, Any]
    in_flight: Dict[int, Query]

    @property
    def kind(self) -> str:
        """CPU or MYRIAD."""
        return self.model.settings.kind


class InferenceWorker(threading.Thread):
    """Takes queries, gives answers to `on_answer`, which is called on OpenVINO's threads and must be quick."""

    def __init__(
        self,
        ready: DropOldestQueue[Query],
        settings: interface.Settings,
        on_answer: OnAnswer,
        counters: Counters,
        log: Log,
        load: Load = interface.load,
        accelerator_present: Callable[[], bool] = lambda: bool(ncs2_usb.find_ncs2()),
    ) -> None:
        super().__init__(name="inference", daemon=True)
        self.failing: Optional[str] = None
        """Why nothing can be answered; None while it can."""
        self.busy_since_ns: Optional[int] = None
        """When it began with what it does now; None while it waits for a query."""
        self._ready, self._settings, self._on_answer = ready, settings, on_answer
        self._counters, self._log, self._load, self._accelerator_present = counters, log, load, accelerator_present
        self._numbers = itertools.count()
        self._loading = threading.Lock()
        self._next: Optional[LoadedModel] = None
        self._retired: List[LoadedModel] = []
        self._adopted = threading.Event()
        self._stopping = threading.Event()
        self.loaded: LoadedModel

    @property
    def prefers_removable(self) -> bool:
        """Whether a stick is to be used when one can be had."""
        return self._settings.kind in ("MYRIAD", "AUTO")

    def input_format(self) -> InputFormat:
        """What images have to be for the model that works now."""
        return self.loaded.input_format

    def begin(self, release: Path) -> None:
        """Load the first model, then start.

        Raises:
            DeviceError: the release cannot be used; nothing was started.
        """
        self.loaded = self._load_best(release)
        self.start()

    def use(self, release: Path) -> None:
        """Let another release take over; returns when it has. The old one works on when the new one cannot be loaded.

        Raises:
            DeviceError: it cannot be loaded, or is not trusted; says why.
        """
        with self._loading:
            self._hand_over(self._load_best(release))

    def retry_accelerator(self) -> bool:
        """Go back to the stick, if it is wanted, lost and there again; whether that was done."""
        if not self.prefers_removable or self.loaded.kind == "MYRIAD" or not self._accelerator_present():
            return False
        with self._loading:
            try:
                loaded = self._load_one(self.loaded.release, self._removable_settings())
            except DeviceEnvironmentError:
                return False
            self._hand_over(loaded)
        self._log("the stick is back and works again")
        return True

    def _hand_over(self, loaded: LoadedModel) -> None:
        self._adopted.clear()
        self._next = loaded
        while not self._adopted.wait(_STEP_S):
            if not self.is_alive():
                return
        self._retired.clear()

    def _removable_settings(self) -> interface.Settings:
        """A stick has one precision and no threads to choose."""
        named = self._settings.accelerator if self._settings.kind == "MYRIAD" else "MYRIAD"
        return replace(self._settings, accelerator=named, precision=None, threads=None, streams=None)

    def _load_best(self, release: Path) -> LoadedModel:
        """On the accelerator that is wanted, or on the CPU in a stick's place."""
        if self.prefers_removable:
            try:
                return self._load_one(release, self._removable_settings())
            except DeviceEnvironmentError as error:
                self._log(f"the CPU stands in for the stick: {error}")
        return self._load_one(release, self._cpu_settings())

    def _cpu_settings(self) -> interface.Settings:
        return replace(self._settings, accelerator="CPU") if self.prefers_removable else self._settings

    def _load_one(self, release: Path, settings: interface.Settings) -> LoadedModel:
        """Read, check, compile and warm up, on a thread that ends with it.

        OpenVINO's CPU plugin gives the thread that compiles a stack for signals, and frees that with the model, whoever
        lets it go: the next signal to that thread would end the process. So it may not be the main one.
        """
        with ThreadPoolExecutor(1, "loading") as apart:
            return apart.submit(self._load_here, release, settings).result()

    def _load_here(self, release: Path, settings: interface.Settings) -> LoadedModel:
        folder = release.resolve()
        require_trusted(folder)
        manifest = read_manifest(folder)
        input_format = InputFormat(input_size(manifest), manifest["input"].get("crop", "resize"))
        model = self._load(folder / "model.xml", settings)
        in_flight: Dict[int, Query] = {}
        loaded: List[LoadedModel] = []
        spare = SPARE if model.settings.kind == "CPU" else 0
        queue = model.queue(lambda number, answer: self._done(loaded[0], number, answer), spare)
        loaded.append(LoadedModel(folder, manifest, input_format, model, queue, {}, in_flight))
        _warm_up(queue, input_format)
        loaded[0].used = model.used()
        return loaded[0]

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            self.busy_since_ns = None
            query = self._ready.take(_STEP_S)
            self.busy_since_ns = now_ns()
            self._adopt()
            if query is not None:
                self._submit(query)
        self.busy_since_ns = None
        _drain(self.loaded)

    def _adopt(self) -> None:
        """Let the next model take over, once what the old one has in flight is answered."""
        loaded, self._next = self._next, None
        if loaded is None:
            return
        old, self.loaded = self.loaded, loaded
        self._retired.append(old)
        self.failing = None
        _drain(old)
        self._adopted.set()

    def _submit(self, query: Query) -> None:
        loaded = self.loaded
        number = next(self._numbers)
        loaded.in_flight[number] = query
        image = (
            query.fitted
            if query.input_format == loaded.input_format
            else prepare_frame(query.frame, loaded.input_format)
        )
        try:
            loaded.queue.submit(number, image)
        except DeviceEnvironmentError as error:
            self._lost(loaded, error)

    def _done(self, loaded: LoadedModel, number: int, answer: Callable[[], Answer]) -> None:
        """On OpenVINO's thread."""
        if number == _WARM_UP:
            return
        query = loaded.in_flight.pop(number, None)
        if query is not None:
            self.failing = None
            self._on_answer(loaded, query, answer())

    def _lost(self, loaded: LoadedModel, error: DeviceEnvironmentError) -> None:
        """What was in flight is lost; a stick is replaced by the CPU, and a CPU is asked again."""
        self._retired = [loaded]
        self._refuse(loaded, str(error))
        _drain(loaded)
        try:
            self.loaded = self._load_one(loaded.release, self._cpu_settings())
        except DeviceError as worse:
            self._fail(str(worse))
            return
        if loaded.kind == "MYRIAD":
            self._log(f"the stick is lost, the CPU takes its place: {error}")
        else:
            self._fail(str(error))

    def _fail(self, why: str) -> None:
        if self.failing != why:
            self._log(f"inference fails: {why}")
        self.failing = why
        self._stopping.wait(_STEP_S)

    def _refuse(self, loaded: LoadedModel, why: str) -> None:
        for number in list(loaded.in_flight):
            query = loaded.in_flight.pop(number, None)
            if query is not None:
                self._counters.add("failed")
                if query.reply is not None:
                    query.reply(None, why)

    def stop(self) -> None:
        """Ask it to end; what is in flight is answered."""
        self._stopping.set()

    def let_go(self) -> None:
        """Have OpenVINO end its threads, once this one has ended: alive at Python's own end, they would crash it."""
        if not self.is_alive() and hasattr(self, "loaded"):
            del self.loaded
            self._next = None
            self._retired.clear()
            gc.collect()


def _warm_up(queue: interface.Queue, input_format: InputFormat) -> None:
    """Each request once: they set themselves up when they are first used."""
    import numpy as np

    for _ in range(queue.requests):
        queue.submit(_WARM_UP, np.zeros((*input_format.size, 3), np.uint8))
    queue.wait()


def _drain(loaded: LoadedModel) -> None:
    """Wait for what is in flight, and let the model go: its requests hold what they call back, and that holds the model."""
    try:
        loaded.queue.wait()
    except DeviceEnvironmentError:
        loaded.in_flight.clear()
    loaded.queue.close()
