"""Third stage: inference, with several queries in flight; survives the loss of an accelerator and switches between releases.

If a removable accelerator fails, the CPU takes over at once; every RETRY_S seconds the thread checks whether it is back,
and switches to it. A new release is loaded and warmed up beside the old one, and takes over between two frames.
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
from ...layout import model_file
from ...release.manifest import input_size, read_manifest
from ...release.verify import require_trusted
from ...runtime import accelerators, interface
from .decoding import prepare_frame
from .messages import Counters, DropOldestQueue, InputFormat, Query, now_ns

if TYPE_CHECKING:
    from .messages import Answer

RETRY_S = 10.0
SPARE = 1
"""Extra requests on a CPU: callbacks run on the threads of its streams, which would otherwise be idle meanwhile."""
_STEP_S = 0.2
_WARM_UP = -1
Log = Callable[[str], None]
Load = Callable[[Path, interface.Settings], interface.Model]
OnAnswer = Callable[["LoadedModel", Query, "Answer"], None]


@dataclass
class LoadedModel:
    """A release whose model is loaded on an accelerator; `queue` keeps several queries in flight."""

    release: Path
    """The folder, with links resolved."""
    manifest: Dict[str, Any]
    input_format: InputFormat
    model: interface.Model
    queue: interface.Queue
    used: Dict[str, Any]
    in_flight: Dict[int, Query]

    @property
    def kind(self) -> str:
        """Return the accelerator without its number."""
        return self.model.settings.kind


class InferenceWorker(threading.Thread):
    """Runs queries and passes answers to `on_answer`, which is called on OpenVINO's threads and must be quick."""

    def __init__(
        self,
        ready: DropOldestQueue[Query],
        settings: interface.Settings,
        on_answer: OnAnswer,
        counters: Counters,
        log: Log,
        load: Load = interface.load,
        accelerator_present: Callable[[], bool] = accelerators.REMOVABLE.is_connected,
    ) -> None:
        super().__init__(name="inference", daemon=True)
        self.failing: Optional[str] = None
        """Why inference fails; None while it works."""
        self.busy_since_ns: Optional[int] = None
        """Start of the current work in nanoseconds; None while the thread waits for a query."""
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
        """Return whether a removable accelerator is used if there is one."""
        return accelerators.is_removable(self._settings.accelerator)

    def input_format(self) -> InputFormat:
        """Return the input format of the loaded model."""
        return self.loaded.input_format

    def begin(self, release: Path) -> None:
        """Load the first model and start the thread.

        Raises:
            DeviceError: the release cannot be used; the thread was not started.
        """
        self.loaded = self._load_best(release)
        self.start()

    def use(self, release: Path) -> None:
        """Load another release and wait until it takes over; if loading fails, the old one keeps running.

        Raises:
            DeviceError: the release cannot be loaded or is not trusted.
        """
        with self._loading:
            self._hand_over(self._load_best(release))

    def retry_accelerator(self) -> bool:
        """Switch back to a removable accelerator that is present again; return whether that was done."""
        if not self.prefers_removable or accelerators.is_removable(self.loaded.kind) or not self._accelerator_present():
            return False
        with self._loading:
            try:
                loaded = self._load_one(self.loaded.release, self._removable_settings())
            except DeviceEnvironmentError:
                return False
            self._hand_over(loaded)
        self._log(f"{loaded.kind} is available again and in use")
        return True

    def _hand_over(self, loaded: LoadedModel) -> None:
        self._adopted.clear()
        self._next = loaded
        while not self._adopted.wait(_STEP_S):
            if not self.is_alive():
                return
        self._retired.clear()

    def _removable_settings(self) -> interface.Settings:
        """Return the settings for a removable accelerator, which has no precision or threads to choose."""
        auto = self._settings.accelerator == accelerators.AUTO
        named = accelerators.REMOVABLE.name if auto else self._settings.accelerator
        return replace(self._settings, accelerator=named, precision=None, threads=None, streams=None)

    def _load_best(self, release: Path) -> LoadedModel:
        """Load the release on the requested accelerator, or on the CPU if a removable one is missing."""
        if self.prefers_removable:
            try:
                return self._load_one(release, self._removable_settings())
            except DeviceEnvironmentError as error:
                self._log(f"using the CPU instead of {self._removable_settings().accelerator}: {error}")
        return self._load_one(release, self._cpu_settings())

    def _cpu_settings(self) -> interface.Settings:
        return replace(self._settings, accelerator=accelerators.CPU.name) if self.prefers_removable else self._settings

    def _load_one(self, release: Path, settings: interface.Settings) -> LoadedModel:
        """Read, verify, compile and warm up a model, on a temporary thread.

        OpenVINO's CPU plugin gives the compiling thread an alternate signal stack and frees it with the model; the next
        signal to that thread would end the process. So models are never compiled on the main thread.
        """
        with ThreadPoolExecutor(1, "loading") as apart:
            return apart.submit(self._load_here, release, settings).result()

    def _load_here(self, release: Path, settings: interface.Settings) -> LoadedModel:
        folder = release.resolve()
        require_trusted(folder)
        manifest = read_manifest(folder)
        input_format = InputFormat(input_size(manifest), manifest["input"].get("crop", "resize"))
        model = self._load(model_file(folder), settings)
        in_flight: Dict[int, Query] = {}
        loaded: List[LoadedModel] = []
        spare = SPARE if model.settings.kind == "CPU" else 0
        queue = model.queue(lambda number, answer: self._done(loaded[0], number, answer), spare)
        loaded.append(LoadedModel(folder, manifest, input_format, model, queue, {}, in_flight))
        _warm_up(queue, input_format)
        loaded[0].used = model.used()
        return loaded[0]

    def run(self) -> None:
        """Run queries until `stop`."""
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
        """Switch to the next model, after the queries in flight on the old one are answered."""
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
        """Pass on an answer; called on OpenVINO's thread."""
        if number == _WARM_UP:
            return
        query = loaded.in_flight.pop(number, None)
        if query is not None:
            self.failing = None
            self._on_answer(loaded, query, answer())

    def _lost(self, loaded: LoadedModel, error: DeviceEnvironmentError) -> None:
        """Fail the queries in flight and load the model again, on the CPU."""
        self._retired = [loaded]
        self._refuse(loaded, str(error))
        _drain(loaded)
        try:
            self.loaded = self._load_one(loaded.release, self._cpu_settings())
        except DeviceError as worse:
            self._fail(str(worse))
            return
        if accelerators.is_removable(loaded.kind):
            self._log(f"{loaded.kind} failed; switched to the CPU: {error}")
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
        """Ask the thread to end; queries in flight are answered."""
        self._stopping.set()

    def let_go(self) -> None:
        """Release the models once the thread has ended: OpenVINO's threads would crash the interpreter at its exit."""
        if not self.is_alive() and hasattr(self, "loaded"):
            del self.loaded
            self._next = None
            self._retired.clear()
            gc.collect()


def _warm_up(queue: interface.Queue, input_format: InputFormat) -> None:
    """Run each request once: requests are initialized at their first use."""
    import numpy as np

    for _ in range(queue.requests):
        queue.submit(_WARM_UP, np.zeros((*input_format.size, 3), np.uint8))
    queue.wait()


def _drain(loaded: LoadedModel) -> None:
    """Wait for the queries in flight and close the queue, whose callbacks hold a reference to the model."""
    try:
        loaded.queue.wait()
    except DeviceEnvironmentError:
        loaded.in_flight.clear()
    loaded.queue.close()
