"""Common interface to the runtimes: the three APIs of OpenVINO for an IR (`model.xml`), LiteRT for `model.tflite`.

    2021.4             openvino.inference_engine   openvino_2021.py
    2022.1 to 2022.3   openvino.runtime            openvino_2022.py
    2023.0 and later   openvino                    openvino_2022.py (the same API, one level up)
    LiteRT             ai_edge_litert              litert.py

Accelerators are those of `accelerators`; if AUTO takes the CPU, a note says why.

A `Model` runs one image at a time (`infer`), or as many in flight as the accelerator holds (`queue`). Images are copied
into tensors of the runtime, and answers out of them: no array is shared with the caller.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional, Protocol, Tuple

from ..errors import DeviceEnvironmentError
from . import error_messages
from .accelerators import AUTO, CPU, REMOVABLE, find_accelerator, kind_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]
    Answer = npt.NDArray[np.float32]

OnDone = Callable[[int, Callable[[], "Answer"]], None]
"""Called on any thread when a query is done, with its number and a function that copies the answer."""


@dataclass(frozen=True)
class Settings:
    """Options for compiling a model; None leaves the choice to OpenVINO."""

    accelerator: str = CPU.name
    threads: Optional[int] = None
    streams: Optional[int] = None
    precision: Optional[str] = None
    """Precision of the arithmetic: "f32", "f16", "bf16"; None is the accelerator's default."""
    hint: str = "latency"
    """"latency" for one query at a time, "throughput" for many; used only if streams is None."""

    @property
    def kind(self) -> str:
        """Return the accelerator without its number."""
        return kind_of(self.accelerator)


class Queue(Protocol):
    """A queue with several queries in flight."""

    requests: int

    def submit(self, number: int, image: "Image") -> None:
        """Start a query as soon as a request is free; the image may be reused once this returns.

        Raises:
            DeviceEnvironmentError: the accelerator failed on an earlier query.
        """

    def wait(self) -> None:
        """Wait until no query is in flight; raise the last exception of the on_done callback, if any.

        Raises:
            DeviceEnvironmentError: the accelerator failed.
        """

    def close(self) -> None:
        """Release the on_done callback; no query may be in flight. An open queue keeps itself and the model alive."""


class Model(Protocol):
    """A compiled model: u8 [1, height, width, 3] or [1, 3, height, width] in, f32 [1, classes] out."""

    runtime: str
    """"OpenVINO" or "LiteRT"."""
    version: str
    settings: Settings
    """The settings in effect: `accelerator` is the selected one, never "AUTO"."""
    notes: List[str]
    """Notes for the user, such as another accelerator than requested, or a slow USB port."""

    def infer(self, image: "Image") -> "Answer":
        """Run one image: u8 [height, width, 3] or [1, height, width, 3] → f32 [classes].

        Raises:
            DeviceEnvironmentError: the accelerator failed, for example because it was unplugged.
        """

    def queue(self, on_done: OnDone, spare: int = 0) -> Queue:
        """Return a queue with the number of requests that OpenVINO recommends; do not mix with `infer`.

        `spare` requests are added, so that a stream has its next query while the last answer is copied; ignored by
        2021.4.
        """

    def used(self) -> Dict[str, Any]:
        """Return the settings in effect: accelerator, precision, threads, streams, requests; and the notes."""

    def temperature_c(self) -> Optional[float]:
        """Return the accelerator's temperature in degrees Celsius; None if it reports none."""


def load(path: Path, settings: Settings) -> Model:
    """Compile an IR with the installed OpenVINO, or make a .tflite ready with LiteRT.

    Raises:
        DeviceEnvironmentError: the runtime or the accelerator is missing, or the runtime refuses the model or a setting.
    """
    if path.suffix == ".tflite":
        return _load_litert(path, settings)
    model = _load_auto(path, settings) if settings.accelerator == AUTO else _load(path, settings)
    warning = find_accelerator(model.settings.accelerator).connection_warning()
    model.notes += [warning] if warning else []
    for note in model.notes:
        print(f"note: {note}", file=sys.stderr)
    return model


def _load_litert(path: Path, settings: Settings) -> Model:
    litert = importlib.import_module(".litert", __package__)
    model: Model = litert.load(
        path, replace(settings, accelerator=CPU.name) if settings.accelerator == AUTO else settings
    )
    return model


def _load_auto(xml: Path, settings: Settings) -> Model:
    """Compile for the removable accelerator, which has no precision or threads to choose; if that fails, for the CPU."""
    try:
        return _load(xml, replace(settings, accelerator=REMOVABLE.name, precision=None, threads=None))
    except DeviceEnvironmentError as error:
        model = _load(xml, replace(settings, accelerator=CPU.name))
        model.notes.append(f"AUTO chose the CPU: {error}")
        return model


def _load(xml: Path, settings: Settings) -> Model:
    error_messages.require_ir_files(xml)
    module = _backend()
    try:
        back_end = importlib.import_module("." + module, __package__)
        model: Model = back_end.load(xml, settings)
    except DeviceEnvironmentError:
        raise
    except Exception as error:
        raise error_messages.translate(str(error), settings.accelerator, str(xml)) from error
    return model


def require_accelerator(core: Any, settings: Settings) -> None:
    """Check that OpenVINO (a Core or an IECore) has the accelerator; trying to load for a missing one can take seconds.

    Raises:
        DeviceEnvironmentError: the accelerator is missing; gives the cause if it is known.
        RuntimeError: the plugin cannot be loaded.
    """
    there = core.available_devices
    if settings.accelerator in there or settings.kind in {*map(kind_of, there)}:
        return
    accelerator = find_accelerator(settings.accelerator)
    if not accelerator.removable:
        raise DeviceEnvironmentError(
            f"has no accelerator {settings.accelerator}; it has {', '.join(there)}", where="this device"
        )
    if not core.get_versions(accelerator.name):
        raise error_messages.translate(f'Device with "{accelerator.name}" name is not registered', accelerator.name)
    what, remedy = accelerator.why_unavailable()
    raise DeviceEnvironmentError(what, where=accelerator.name, remedy=remedy)


def channels_last(tensor: Any) -> Any:
    """Return a view of a model's input with channels last, also for a planar input [1, 3, H, W]."""
    return tensor if tensor.shape[-1] == 3 else tensor.transpose(0, 2, 3, 1)


def _backend() -> str:
    """Return the module for the installed OpenVINO.

    Raises:
        DeviceEnvironmentError: OpenVINO is not installed.
    """
    try:
        package = importlib.import_module("openvino")
    except ImportError as error:
        raise DeviceEnvironmentError(
            f"OpenVINO cannot be imported: {error}", remedy="provision the device again"
        ) from None
    if hasattr(package, "Core") or importlib.util.find_spec("openvino.runtime") is not None:
        return "openvino_2022"
    return "openvino_2021"


COMPUTE_LAYERS = ("Convolution", "GroupConvolution", "FullyConnected", "InnerProduct", "MatMul", "Subgraph")
PRECISION_NAMES = {"fp32": "f32", "fp16": "f16"}


def executed_precision(layers: Iterable[Tuple[str, str]]) -> Optional[str]:
    """Return the precision of the arithmetic, from the (layer type, precision) pairs of the executed graph.

    It is the most common precision of the most expensive layer type; None if the graph does not tell.
    """
    precisions: Dict[str, List[str]] = {}
    for kind, precision in layers:
        name = precision.lower()
        precisions.setdefault(kind, []).append(PRECISION_NAMES.get(name, name))
    for kind in COMPUTE_LAYERS:
        if kind in precisions:
            return max(sorted(set(precisions[kind])), key=precisions[kind].count)
    return None
