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

from ...errors import EnvironmentFailure, Failure
from ...release.manifest import input_size, read_manifest
from ...release.verify import require_trusted
from ...runtime import interface, ncs2_usb
from .decoding import fitted
from .messages import Between, Counters, Form, Query, now_ns

if TYPE_CHECKING:
    from .messages import Answer

RETRY_S = 10.0
SPARE = 1
"""Requests beyond those that keep a CPU's streams busy: answers are taken on the streams' own threads."""
_STEP_S = 0.2
_WARM_UP = -1
Say = Callable[[str], None]
Load = Callable[[Path, interface.Settings], interface.Model]
OnAnswer = Callable[["Loaded", Query, "Answer"], None]


@dataclass
class Loaded:
    """A release whose model is in an accelerator; `queue` keeps several queries in flight there."""

    release: Path
    """Its folder, without links."""
    manifest: Dict[str, Any]
    form: Form
    model: interface.Model
    queue: interface.Queue
    used: Dict[str, Any]
    flying: Dict[int, Query]

    @property
    def kind(self) -> str:
        """CPU or MYRIAD."""
        return self.model.settings.kind


class Engine(threading.Thread):
    """Takes queries, gives answers to `on_answer`, which is called on OpenVINO's threads and must be quick."""

    def __init__(
        self,
        ready: Between[Query],
        settings: interface.Settings,
        on_answer: OnAnswer,
        counters: Counters,
        say: Say,
        load: Load = interface.load,
        stick_seen: Callable[[], bool] = lambda: bool(ncs2_usb.sticks()),
    ) -> None:
        super().__init__(name="inference", daemon=True)
        self.failing: Optional[str] = None
        """Why nothing can be answered; None while it can."""
        self.busy_since_ns: Optional[int] = None
        """When it began with what it does now; None while it waits for a query."""
        self._ready, self._settings, self._on_answer = ready, settings, on_answer
        self._counters, self._say, self._load, self._stick_seen = counters, say, load, stick_seen
        self._numbers = itertools.count()
        self._loading = threading.Lock()
        self._next: Optional[Loaded] = None
        self._retired: List[Loaded] = []
        self._adopted = threading.Event()
        self._stopping = threading.Event()
        self.loaded: Loaded

    @property
    def wants_stick(self) -> bool:
        """Whether a stick is to be used when one can be had."""
        return self._settings.kind in ("MYRIAD", "AUTO")

    def form(self) -> Form:
        """What images have to be for the model that works now."""
        return self.loaded.form

    def begin(self, release: Path) -> None:
        """Load the first model, then start.

        Raises:
            Failure: the release cannot be used; nothing was started.
        """
        self.loaded = self._load_best(release)
        self.start()

    def use(self, release: Path) -> None:
        """Let another release take over; returns when it has. The old one works on when the new one cannot be loaded.

        Raises:
            Failure: it cannot be loaded, or is not trusted; says why.
        """
        with self._loading:
            self._hand_over(self._load_best(release))

    def look_for_stick(self) -> bool:
        """Go back to the stick, if it is wanted, lost and there again; whether that was done."""
        if not self.wants_stick or self.loaded.kind == "MYRIAD" or not self._stick_seen():
            return False
        with self._loading:
            try:
                loaded = self._load_one(self.loaded.release, self._on_stick())
            except EnvironmentFailure:
                return False
            self._hand_over(loaded)
        self._say("the stick is back and works again")
        return True

    def _hand_over(self, loaded: Loaded) -> None:
        self._adopted.clear()
        self._next = loaded
        while not self._adopted.wait(_STEP_S):
            if not self.is_alive():
                return
        self._retired.clear()

    def _on_stick(self) -> interface.Settings:
        """A stick has one precision and no threads to choose."""
        named = self._settings.accelerator if self._settings.kind == "MYRIAD" else "MYRIAD"
        return replace(self._settings, accelerator=named, precision=None, threads=None, streams=None)

    def _load_best(self, release: Path) -> Loaded:
        """On the accelerator that is wanted, or on the CPU in a stick's place."""
        if self.wants_stick:
            try:
                return self._load_one(release, self._on_stick())
            except EnvironmentFailure as failure:
                self._say(f"the CPU stands in for the stick: {failure}")
        return self._load_one(release, self._on_cpu())

    def _on_cpu(self) -> interface.Settings:
        return replace(self._settings, accelerator="CPU") if self.wants_stick else self._settings

    def _load_one(self, release: Path, settings: interface.Settings) -> Loaded:
        """Read, check, compile and warm up, on a thread that ends with it.

        OpenVINO's CPU plugin gives the thread that compiles a stack for signals, and frees that with the model, whoever
        lets it go: the next signal to that thread would end the process. So it may not be the main one.
        """
        with ThreadPoolExecutor(1, "loading") as apart:
            return apart.submit(self._load_here, release, settings).result()

    def _load_here(self, release: Path, settings: interface.Settings) -> Loaded:
        folder = release.resolve()
        require_trusted(folder)
        manifest = read_manifest(folder)
        form = Form(input_size(manifest), manifest["input"].get("crop", "resize"))
        model = self._load(folder / "model.xml", settings)
        flying: Dict[int, Query] = {}
        loaded: List[Loaded] = []
        spare = SPARE if model.settings.kind == "CPU" else 0
        queue = model.queue(lambda number, answer: self._done(loaded[0], number, answer), spare)
        loaded.append(Loaded(folder, manifest, form, model, queue, {}, flying))
        _warm_up(queue, form)
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
        _finish(self.loaded)

    def _adopt(self) -> None:
        """Let the next model take over, once what the old one has in flight is answered."""
        loaded, self._next = self._next, None
        if loaded is None:
            return
        old, self.loaded = self.loaded, loaded
        self._retired.append(old)
        self.failing = None
        _finish(old)
        self._adopted.set()

    def _submit(self, query: Query) -> None:
        loaded = self.loaded
        number = next(self._numbers)
        loaded.flying[number] = query
        image = query.fitted if query.form == loaded.form else fitted(query.frame, loaded.form)
        try:
            loaded.queue.submit(number, image)
        except EnvironmentFailure as failure:
            self._lost(loaded, failure)

    def _done(self, loaded: Loaded, number: int, answer: Callable[[], Answer]) -> None:
        """On OpenVINO's thread."""
        if number == _WARM_UP:
            return
        query = loaded.flying.pop(number, None)
        if query is not None:
            self.failing = None
            self._on_answer(loaded, query, answer())

    def _lost(self, loaded: Loaded, failure: EnvironmentFailure) -> None:
        """What was in flight is lost; a stick is replaced by the CPU, and a CPU is asked again."""
        self._retired = [loaded]
        self._refuse(loaded, str(failure))
        _finish(loaded)
        try:
            self.loaded = self._load_one(loaded.release, self._on_cpu())
        except Failure as worse:
            self._fail(str(worse))
            return
        if loaded.kind == "MYRIAD":
            self._say(f"the stick is lost, the CPU takes its place: {failure}")
        else:
            self._fail(str(failure))

    def _fail(self, why: str) -> None:
        if self.failing != why:
            self._say(f"inference fails: {why}")
        self.failing = why
        self._stopping.wait(_STEP_S)

    def _refuse(self, loaded: Loaded, why: str) -> None:
        for number in list(loaded.flying):
            query = loaded.flying.pop(number, None)
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


def _warm_up(queue: interface.Queue, form: Form) -> None:
    """Each request once: they set themselves up when they are first used."""
    import numpy as np

    for _ in range(queue.requests):
        queue.submit(_WARM_UP, np.zeros((*form.size, 3), np.uint8))
    queue.wait()


def _finish(loaded: Loaded) -> None:
    """Wait for what is in flight, and let the model go: its requests hold what they call back, and that holds the model."""
    try:
        loaded.queue.wait()
    except EnvironmentFailure:
        loaded.flying.clear()
    loaded.queue.close()
