"""LiteRT (TensorFlow Lite) with XNNPACK, on the CPU alone: the runtime of `model.tflite`.

Several queries at once need an interpreter each: an interpreter has one set of tensors. They map the same file.
"""

from __future__ import annotations

import importlib
import os
import platform
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import numpy as np

from .. import probe
from ..errors import DeviceEnvironmentError
from .accelerators import CPU
from .interface import OnDone, Settings

if TYPE_CHECKING:
    from .interface import Answer, Image

PACKAGE = "ai-edge-litert"
_LAYERS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
"""Operations with weights."""


def load(path: Path, settings: Settings) -> LiteRtModel:
    """Read a .tflite with a u8 image input and make it ready.

    Raises:
        DeviceEnvironmentError: LiteRT is not installed or refuses the model, or does not have a setting of the user.
    """
    if settings.kind != CPU.name:
        raise DeviceEnvironmentError(f"LiteRT runs on the {CPU.name}, not on {settings.accelerator}", where=str(path))
    if settings.precision not in (None, "f32"):
        raise DeviceEnvironmentError(f"LiteRT computes floats in f32, not in {settings.precision}", where=str(path))
    try:
        api = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        remedy = "run ansible/provision-pi.yml; elsewhere: pip install " + PACKAGE
        raise DeviceEnvironmentError(f"LiteRT cannot be imported: {error}", remedy=remedy) from None
    return LiteRtModel(api, path, settings)


class LiteRtModel:
    """A model with an interpreter for single queries."""

    runtime = "LiteRT"

    def __init__(self, api: Any, path: Path, settings: Settings) -> None:
        cores = len(os.sched_getaffinity(0))
        streams = settings.streams or (cores if settings.hint == "throughput" else 1)
        self.settings, self.version = settings, metadata.version(PACKAGE)
        self.notes: List[str] = []
        self.requests, self.threads = streams, max(1, (settings.threads or cores) // streams)
        self._api, self._path = api, path
        self._unused: Optional[Interpreter] = self._new()
        self._precision = self._unused.precision()
        self._single: Optional[Interpreter] = None

    def interpreter(self) -> Interpreter:
        """Return an interpreter for the caller alone; the first is the one that loading the model has made."""
        unused, self._unused = self._unused, None
        return unused or self._new()

    def _new(self) -> Interpreter:
        """Return another interpreter of the model.

        Raises:
            DeviceEnvironmentError: LiteRT cannot read the model.
        """
        try:
            return Interpreter(self._api.Interpreter(model_path=str(self._path), num_threads=self.threads))
        except (RuntimeError, ValueError) as error:
            what = f"LiteRT cannot use it: {' '.join(str(error).split())}"
            raise DeviceEnvironmentError(what, where=str(self._path), remedy="deploy the bundle again") from None

    def infer(self, image: Image) -> Answer:
        """Run one image: u8 [height, width, 3] or [1, height, width, 3] → f32 [classes]."""
        if self._single is None:
            self._single = self.interpreter()
        return self._single.infer(image)

    def queue(self, on_done: OnDone, spare: int = 0) -> LiteRtQueue:
        """Return a queue with an interpreter for each stream; it computes nothing in advance, so `spare` adds none."""
        del spare
        return LiteRtQueue(self, on_done)

    def used(self) -> Dict[str, Any]:
        """Return the settings in effect."""
        return {
            "accelerator": self.settings.accelerator,
            "device_name": probe.processor() or platform.machine(),
            "precision": self._precision,
            "threads": self.threads,
            "streams": self.requests,
            "requests": self.requests,
            "notes": list(self.notes),
        }

    def temperature_c(self) -> Optional[float]:
        """Return None: LiteRT reads no temperature."""
        return None


class Interpreter:
    """An interpreter with its input and output."""

    def __init__(self, interpreter: Any) -> None:
        interpreter.allocate_tensors()
        (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
        self._interpreter, self._input, self._output = interpreter, image["index"], answer["index"]
        self._shape = image["shape"]

    def infer(self, image: Image) -> Answer:
        """Run one image: u8 [height, width, 3] or [1, height, width, 3] → f32 [classes].

        Raises:
            DeviceEnvironmentError: LiteRT fails.
        """
        try:
            self._interpreter.set_tensor(self._input, np.reshape(image, self._shape))
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise DeviceEnvironmentError(f"LiteRT fails: {' '.join(str(error).split())}", where="inference") from error
        answer: Answer = self._interpreter.get_tensor(self._output)[0].astype(np.float32)
        return answer

    def precision(self) -> str:
        """Return what most of the layers with weights compute in: "i8" or "f32"."""
        types = {tensor["index"]: tensor["dtype"] for tensor in self._interpreter.get_tensor_details()}
        operations = self._interpreter._get_ops_details()  # noqa: SLF001 - LiteRT has no other list of them
        layers = [types.get(each["inputs"][0]) for each in operations if each["op_name"] in _LAYERS]
        return "i8" if 2 * sum(kind is np.int8 for kind in layers) > len(layers) else "f32"


class LiteRtQueue:
    """A queue that computes on a thread for each interpreter; LiteRT releases the GIL while it computes."""

    def __init__(self, model: LiteRtModel, on_done: OnDone) -> None:
        self.requests = model.requests
        self._on_done = on_done
        self._idle: SimpleQueue[Interpreter] = SimpleQueue()
        for _ in range(model.requests):
            self._idle.put(model.interpreter())
        self._threads = ThreadPoolExecutor(model.requests, "litert")
        self._jobs: List[Future[None]] = []

    def submit(self, number: int, image: Image) -> None:
        """Start a query as soon as an interpreter is free; the image is copied."""
        interpreter = self._idle.get()
        self._jobs = [job for job in self._jobs if not job.done() or job.exception() is not None]
        self._jobs.append(self._threads.submit(self._run, interpreter, number, np.array(image)))

    def _run(self, interpreter: Interpreter, number: int, image: Image) -> None:
        try:
            answer = interpreter.infer(image)
            self._on_done(number, _giver(answer))
        finally:
            self._idle.put(interpreter)

    def wait(self) -> None:
        """Wait until no query is in flight; raise the first exception of one."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.exception()
        for job in jobs:
            job.result()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()


def _giver(answer: Answer) -> Callable[[], Answer]:
    return lambda: answer
