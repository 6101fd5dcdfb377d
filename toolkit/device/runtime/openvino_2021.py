"""OpenVINO 2021.4: IECore, ExecutableNetwork, InferRequest."""

from __future__ import annotations

import importlib
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional
from xml.etree import ElementTree as ET

import numpy as np

from ..errors import DeviceEnvironmentError
from .accelerators import find_accelerator
from .error_messages import translate
from .interface import OnDone, Settings, channels_last, executed_precision, require_accelerator

if TYPE_CHECKING:
    from .interface import Answer, Image


def load(xml: Path, settings: Settings) -> LegacyModel:
    """Read and compile an IR v10 with a u8 image input."""
    api = importlib.import_module("openvino.inference_engine")
    core = api.IECore()
    require_accelerator(core, settings)
    network = core.read_network(model=str(xml), weights=str(xml.with_suffix(".bin")))
    (name,) = network.input_info
    network.input_info[name].precision = "U8"
    configuration = _configuration(settings)
    network = core.load_network(network, settings.accelerator, configuration, num_requests=0)
    return LegacyModel(api.get_version(), core, network, settings)


def _configuration(settings: Settings) -> Dict[str, str]:
    """Return the settings as 2021.4 configuration keys; its streams are the equivalent of a throughput hint.

    Raises:
        DeviceEnvironmentError: OpenVINO 2021.4 or the accelerator does not support a setting of the user.
    """
    if settings.kind != "CPU" and (settings.threads or settings.precision):
        raise DeviceEnvironmentError(f"{settings.accelerator} takes neither threads nor a precision")
    if settings.precision not in (None, "f32", "bf16"):
        raise DeviceEnvironmentError(f"OpenVINO 2021.4 on a CPU computes in f32 or bf16, not {settings.precision}")
    configuration = {}
    if settings.precision:
        configuration["ENFORCE_BF16"] = "YES" if settings.precision == "bf16" else "NO"
    if settings.threads:
        configuration["CPU_THREADS_NUM"] = str(settings.threads)
    if settings.streams:
        configuration[settings.kind + "_THROUGHPUT_STREAMS"] = str(settings.streams)
    elif settings.hint == "throughput":
        configuration[settings.kind + "_THROUGHPUT_STREAMS"] = settings.kind + "_THROUGHPUT_AUTO"
    return configuration


class RequestArrays:
    """The input of a request as an array, with the blob that keeps it alive, and its answer.

    The first inference moves the output, so the output is looked up each time.
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        (self._blob,) = request.input_blobs.values()
        self.input = channels_last(self._blob.buffer)

    def answer(self) -> Answer:
        """Return a copy of the answer, f32 [classes]."""
        (blob,) = self._request.output_blobs.values()
        answer: Answer = blob.buffer[0].astype(np.float32)
        return answer


def _refuse(status: int) -> None:
    if status != 0:
        raise DeviceEnvironmentError(f"OpenVINO reports status {status}", where="inference")


class LegacyModel:
    """A loaded network with the number of requests that OpenVINO recommends."""

    runtime = "OpenVINO"

    def __init__(self, version: str, core: Any, network: Any, settings: Settings) -> None:
        self.settings, self.version = settings, version
        self.notes: List[str] = []
        self._core, self._network = core, network
        self._request: Any = None

    def infer(self, image: Image) -> Answer:
        """Run one image: u8 [height, width, 3] or [1, height, width, 3] → f32 [classes]."""
        if self._request is None:
            self._request = self._network.requests[0]
            self._arrays = RequestArrays(self._request)
        self._arrays.input[...] = image
        try:
            self._request.infer()
        except RuntimeError as error:
            raise translate(str(error), self.settings.accelerator, "inference") from error
        return self._arrays.answer()

    def queue(self, on_done: OnDone, spare: int = 0) -> LegacyQueue:
        """Return a queue with the number of requests that was set when the network was loaded."""
        del spare
        return LegacyQueue(self._network, on_done, self.settings.accelerator)

    def used(self) -> Dict[str, Any]:
        """Return the settings in effect, as reported by OpenVINO."""
        return {
            "accelerator": self.settings.accelerator,
            "device_name": self._core.get_metric(self.settings.accelerator, "FULL_DEVICE_NAME"),
            "precision": self._precision(),
            "threads": self._ask("CPU_THREADS_NUM"),
            "streams": self._ask(self.settings.kind + "_THROUGHPUT_STREAMS"),
            "requests": len(self._network.requests),
            "notes": list(self.notes),
        }

    def temperature_c(self) -> Optional[float]:
        """Return DEVICE_THERMAL, which only some accelerators have."""
        if not find_accelerator(self.settings.kind).has_temperature:
            return None
        return float(self._network.get_metric("DEVICE_THERMAL"))

    def _ask(self, name: str) -> Optional[int]:
        try:
            return int(self._network.get_config(name))
        except (RuntimeError, ValueError):
            return None

    def _precision(self) -> Optional[str]:
        """Return the precision of the arithmetic; 2021.4 can write the executed graph only to a file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "executed.xml")
            try:
                self._network.get_exec_graph_info().serialize(str(path))
                layers = ET.parse(path).getroot().iter("layer")  # noqa: S314 - written by OpenVINO just before
            except (RuntimeError, OSError, ET.ParseError):
                return None
            return executed_precision((layer.get("type", ""), _precision_of(layer)) for layer in layers)


def _precision_of(layer: ET.Element) -> str:
    data = layer.find("data")
    return "" if data is None else data.get("runtimePrecision", "")


class LegacyQueue:
    """The requests of a network, with their arrays looked up once, and a list of the idle ones."""

    def __init__(self, network: Any, on_done: OnDone, accelerator: str) -> None:
        self._on_done, self._accelerator = on_done, accelerator
        self._requests = list(network.requests)
        self.requests = len(self._requests)
        self._arrays = [RequestArrays(request) for request in self._requests]
        self._idle = list(range(self.requests))
        self._changed = threading.Condition()
        self._failure: Optional[BaseException] = None
        self._numbers: Dict[int, int] = {}
        for index, request in enumerate(self._requests):
            request.set_completion_callback(self._done, index)

    def submit(self, number: int, image: Image) -> None:
        """Start a query as soon as a request is free."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle)
            if isinstance(self._failure, DeviceEnvironmentError):
                raise self._failure
            index = self._idle.pop(0)
        try:
            self._requests[index].wait(-1)
            self._arrays[index].input[...] = image
            self._numbers[index] = number
            self._requests[index].async_infer()
        except RuntimeError as error:
            self._let_go(index)
            raise translate(str(error), self._accelerator, "inference") from error

    def _done(self, status: int, index: int) -> None:
        try:
            _refuse(status)
            self._on_done(self._numbers[index], self._arrays[index].answer)
        except BaseException as error:  # noqa: BLE001 - raised on OpenVINO's thread; `wait` raises it on the caller's
            self._failure = error
        self._let_go(index)

    def _let_go(self, index: int) -> None:
        with self._changed:
            self._idle.append(index)
            self._changed.notify()

    def wait(self) -> None:
        """Wait until no query is in flight."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._idle) == self.requests)
        for request in self._requests:
            request.wait(-1)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Release the callback, which the requests reference."""
        for request in self._requests:
            request.set_completion_callback(_ignore, None)
        self._on_done = _ignore
        self._requests, self._arrays = [], []


def _ignore(status: int, index: Any) -> None:
    """Do nothing: the callback of a closed queue."""
