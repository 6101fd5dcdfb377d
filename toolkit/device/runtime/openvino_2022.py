"""OpenVINO 2022.1 and later: Core, CompiledModel, AsyncInferQueue."""

from __future__ import annotations

import importlib
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from ..errors import DeviceEnvironmentError
from .accelerators import find_accelerator
from .error_messages import translate
from .interface import OnDone, Settings, channels_last, executed_precision, require_accelerator

if TYPE_CHECKING:
    from .interface import Answer, Image

RELEASE_TIMEOUT_S = 10.0
"""Longest wait for OpenVINO's threads on close; a caller that handles a callback's exception also keeps it alive."""


def _api() -> Any:
    package = importlib.import_module("openvino")
    return package if hasattr(package, "Core") else importlib.import_module("openvino.runtime")


def load(xml: Path, settings: Settings) -> CompiledModel:
    """Read and compile a model; a dynamic batch dimension is set to 1."""
    api = _api()
    core = api.Core()
    require_accelerator(core, settings)
    model = core.read_model(str(xml))
    if model.input().get_partial_shape().is_dynamic:
        model.reshape([1, *list(model.input().get_partial_shape())[1:]])
    supported = set(core.get_property(settings.accelerator, "SUPPORTED_PROPERTIES"))
    compiled = core.compile_model(model, settings.accelerator, _properties(settings, supported))
    return CompiledModel(api, core, compiled, settings)


def _properties(settings: Settings, supported: set[str]) -> Dict[str, str]:
    """Return the settings as OpenVINO properties.

    Raises:
        DeviceEnvironmentError: the accelerator does not support a setting of the user.
    """
    requested = {
        "INFERENCE_NUM_THREADS": settings.threads,
        "NUM_STREAMS": settings.streams,
        "INFERENCE_PRECISION_HINT": settings.precision,
    }
    properties = {name: str(value) for name, value in requested.items() if value is not None}
    for name in properties:
        if name not in supported:
            raise DeviceEnvironmentError(f"{settings.accelerator} does not know {name}", where="settings")
    if settings.streams is None and "PERFORMANCE_HINT" in supported:
        properties["PERFORMANCE_HINT"] = settings.hint.upper()
    return properties


class CompiledModel:
    """A compiled model with a request for single queries; OpenVINO 2022 needs the core kept alive."""

    runtime = "OpenVINO"

    def __init__(self, api: Any, core: Any, compiled: Any, settings: Settings) -> None:
        self.settings, self.version = settings, api.get_version()
        self.notes: List[str] = []
        self._api, self._core, self._compiled = api, core, compiled
        self._request: Any = None

    def infer(self, image: Image) -> Answer:
        """Run one image: u8 [height, width, 3] or [1, height, width, 3] → f32 [classes]."""
        if self._request is None:
            self._request = self._compiled.create_infer_request()
            self._input = channels_last(self._request.get_input_tensor().data)
            self._output = self._request.get_output_tensor().data
        self._input[...] = image
        try:
            self._request.infer()
        except RuntimeError as error:
            raise translate(str(error), self.settings.accelerator, "inference") from error
        answer: Answer = self._output[0].astype(np.float32)
        return answer

    def queue(self, on_done: OnDone, spare: int = 0) -> InferQueue:
        """Return a queue with the number of requests that OpenVINO recommends, and `spare` more."""
        best = _number(self._ask("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        jobs = best + spare if best and spare else 0
        return InferQueue(self._api.AsyncInferQueue(self._compiled, jobs), on_done, self.settings.accelerator)

    def used(self) -> Dict[str, Any]:
        """Return the settings in effect, as reported by OpenVINO."""
        return {
            "accelerator": self.settings.accelerator,
            "device_name": self._ask("FULL_DEVICE_NAME") or self._accelerator_name(),
            "precision": executed_precision(_executed(self._compiled.get_runtime_model())),
            "threads": _number(self._ask("INFERENCE_NUM_THREADS")),
            "streams": _number(self._ask("NUM_STREAMS")),
            "requests": _number(self._ask("OPTIMAL_NUMBER_OF_INFER_REQUESTS")),
            "notes": list(self.notes),
        }

    def temperature_c(self) -> Optional[float]:
        """Return DEVICE_THERMAL, which only some accelerators have."""
        thermal = self._ask("DEVICE_THERMAL") if find_accelerator(self.settings.kind).has_temperature else None
        return None if thermal is None else float(thermal)

    def _ask(self, name: str) -> Any:
        try:
            return self._compiled.get_property(name)
        except Exception:  # noqa: BLE001 - each plugin raises its own errors for unknown properties
            return None

    def _accelerator_name(self) -> Optional[str]:
        try:
            return str(self._core.get_property(self.settings.accelerator, "FULL_DEVICE_NAME"))
        except Exception:  # noqa: BLE001 - see _ask
            return None


def _number(value: Any) -> Optional[int]:
    try:
        return int(str(value))
    except ValueError:
        return None


FLOATS = ("f32", "f16", "bf16")


def _executed(graph: Any) -> Iterator[Tuple[str, str]]:
    """Return the (layer type, precision) pairs of a compiled model's executed graph.

    A kernel that names its precision counts: on cores without FP16 arithmetic, acl_f32 computes layers that are stated as f16.
    """
    for operation in graph.get_ordered_ops():
        info = operation.get_rt_info()
        if "layerType" in info and "runtimePrecision" in info:
            kernel = _text(info["primitiveType"]).rpartition("_")[2].lower() if "primitiveType" in info else ""
            precision = kernel if kernel in FLOATS else _text(info["runtimePrecision"])
            yield _text(info["layerType"]), precision


def _text(value: Any) -> str:
    """Return the text of an attribute, for every OpenVINO generation."""
    return str(value.astype(str)) if hasattr(value, "astype") else str(getattr(value, "value", value))


class InferQueue:
    """An AsyncInferQueue whose requests' input and output arrays are looked up once, not per query."""

    def __init__(self, queue: Any, on_done: OnDone, accelerator: str) -> None:
        self._queue, self._accelerator = queue, accelerator
        requests = [queue[index] for index in range(len(queue))]
        self.requests = len(requests)
        self._inputs = [channels_last(request.get_input_tensor().data) for request in requests]
        self._answers = _Callback(on_done, [request.get_output_tensor().data for request in requests])
        queue.set_callback(self._answers)

    def submit(self, number: int, image: Image) -> None:
        """Start a query as soon as a request is free; `start_async` takes the one `get_idle_request_id` named."""
        try:
            index = self._queue.get_idle_request_id()
            self._inputs[index][...] = image
            self._queue.start_async(userdata=(number, index))
        except RuntimeError as error:
            raise translate(str(error), self._accelerator, "inference") from error

    def wait(self) -> None:
        """Wait until no query is in flight."""
        try:
            self._queue.wait_all()
        except RuntimeError as error:
            raise translate(str(error), self._accelerator, "inference") from error
        failure, self._answers.failure = self._answers.failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Release the callback, and wait until OpenVINO's threads have released it too.

        A thread releases a callback some time after it has returned, and needs the GIL for that. If the callback itself
        released the model, its thread would wait for its own end; another thread would wait for it while holding
        the GIL.
        """
        self._inputs, self._answers, held = [], _Callback(_ignore, []), weakref.ref(self._answers)
        self._queue.set_callback(self._answers)
        deadline = time.monotonic() + RELEASE_TIMEOUT_S
        while held() is not None and time.monotonic() < deadline:
            time.sleep(0.001)


class _Callback:
    """The callback of a queue; it has no reference to the queue or model."""

    def __init__(self, on_done: OnDone, outputs: List[Any]) -> None:
        self.failure: Optional[BaseException] = None
        self._on_done, self._outputs = on_done, outputs

    def __call__(self, request: Any, query: Tuple[int, int]) -> None:
        """Pass on an answer; called on OpenVINO's thread."""
        del request
        number, index = query
        try:
            self._on_done(number, self._copier(index))
        except BaseException as error:  # noqa: BLE001 - raised on OpenVINO's thread; `wait` raises it on the caller's
            self.failure = error

    def _copier(self, index: int) -> Callable[[], Answer]:
        output = self._outputs[index]
        return lambda: output[0].astype(np.float32)


def _ignore(number: int, answer: Callable[[], Answer]) -> None:
    """Do nothing: the callback of a closed queue."""
