"""One small interface over the three APIs that OpenVINO has had.

    2021.4             openvino.inference_engine   openvino_2021.py
    2022.1 to 2022.3   openvino.runtime            openvino_2022.py
    2023.0 and later   openvino                    openvino_2022.py (the same API, one level up)

The accelerator is "CPU", "MYRIAD" (a Neural Compute Stick 2, or one of several by its full name) or "AUTO": a stick if
one can be had, else the CPU, and that is said.

A `Model` answers one image at a time (`infer`), or keeps as many in flight as the accelerator takes (`queue`). Images
are copied into tensors that OpenVINO allocated, answers are copied out of them: no array is shared with the caller.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional, Protocol, Tuple

from ..errors import DeviceEnvironmentError
from . import error_messages, ncs2_usb

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]
    Answer = npt.NDArray[np.float32]

OnDone = Callable[[int, Callable[[], "Answer"]], None]
"""Called when a query is done, on any thread: its number, and a function that copies its answer out."""


@dataclass(frozen=True)
class Settings:
    """How a model is to be compiled; None leaves the choice to OpenVINO."""

    accelerator: str = "CPU"
    threads: Optional[int] = None
    streams: Optional[int] = None
    precision: Optional[str] = None
    """What to compute in: "f32", "f16", "bf16"; None is the accelerator's own choice."""
    hint: str = "latency"
    """"latency" for one query at a time, "throughput" for many; OpenVINO heeds it where streams is None."""

    @property
    def kind(self) -> str:
        """The accelerator without its number: MYRIAD of MYRIAD.1.2-ma2480."""
        return self.accelerator.partition(".")[0]


class Queue(Protocol):
    """Several queries in flight."""

    requests: int

    def submit(self, number: int, image: "Image") -> None:
        """Start a query as soon as a request is free; the image may be reused once this returns.

        Raises:
            DeviceEnvironmentError: the accelerator failed on an earlier query.
        """

    def wait(self) -> None:
        """Return when nothing is in flight. Raises what the on_done callback raised last, if it did.

        Raises:
            DeviceEnvironmentError: the accelerator failed.
        """

    def close(self) -> None:
        """Forget the on_done callback; nothing may be in flight. A queue that is not closed is held by it, and holds the model."""


class Model(Protocol):
    """A compiled model: u8 [1, height, width, 3] or [1, 3, height, width] in, f32 [1, classes] out."""

    settings: Settings
    """As it was loaded: `accelerator` is the one that was taken, never "AUTO"."""
    version: str
    notes: List[str]
    """What a person should know about how it runs: another accelerator than hoped for, a slow port."""

    def infer(self, image: "Image") -> "Answer":
        """u8 [height, width, 3] or [1, height, width, 3] → f32 [classes].

        Raises:
            DeviceEnvironmentError: the accelerator failed, as when a stick is pulled out.
        """

    def queue(self, on_done: OnDone, spare: int = 0) -> Queue:
        """A queue of as many requests as OpenVINO holds best; no `infer` while queries are in flight.

        With `spare` more, a stream has its next query while the answer to its last one is taken; 2021.4 does without.
        """

    def used(self) -> Dict[str, Any]:
        """What was really taken: accelerator, precision computed in, threads, streams, requests; and the notes."""

    def temperature_c(self) -> Optional[float]:
        """A stick's own temperature in degrees Celsius; None for what has none."""


def load(xml: Path, settings: Settings) -> Model:
    """Compile an IR by whichever API is there.

    Raises:
        DeviceEnvironmentError: there is no OpenVINO, or not this accelerator, or it refuses the model or a setting.
    """
    model = _load_auto(xml, settings) if settings.accelerator == "AUTO" else _load(xml, settings)
    slow = ncs2_usb.usb_speed_warning(ncs2_usb.find_ncs2()) if model.settings.kind == "MYRIAD" else None
    model.notes += [slow] if slow else []
    for note in model.notes:
        print(f"note: {note}", file=sys.stderr)
    return model


def _load_auto(xml: Path, settings: Settings) -> Model:
    """On a stick, which has one precision and no threads to choose; else on the CPU."""
    try:
        return _load(xml, replace(settings, accelerator="MYRIAD", precision=None, threads=None))
    except DeviceEnvironmentError as error:
        model = _load(xml, replace(settings, accelerator="CPU"))
        model.notes.append(f"AUTO took the CPU: {error}")
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
    """See that OpenVINO (a Core or an IECore) has the accelerator, before five seconds are spent on looking for a stick.

    Raises:
        DeviceEnvironmentError: it has not; says why as far as that can be known.
        RuntimeError: its plugin cannot be loaded.
    """
    there = core.available_devices
    if settings.accelerator in there or settings.kind in {name.partition(".")[0] for name in there}:
        return
    if settings.kind != "MYRIAD":
        raise DeviceEnvironmentError(
            f"has no accelerator {settings.accelerator}; it has {', '.join(there)}", where="this device"
        )
    if not core.get_versions("MYRIAD"):
        raise error_messages.translate('Device with "MYRIAD" name is not registered', "MYRIAD")
    raise error_messages.accelerator_unavailable()


def channels_last(tensor: Any) -> Any:
    """A view of a model's input that takes images as they are: of planes, [1, 3, H, W], one with its channels last."""
    return tensor if tensor.shape[-1] == 3 else tensor.transpose(0, 2, 3, 1)


def _backend() -> str:
    """The back end's module.

    Raises:
        DeviceEnvironmentError: there is no OpenVINO.
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
    """What the arithmetic was really done in, from the executed graph's (layer type, precision) pairs.

    The commonest precision of the heaviest kind of layer that is there; None where the graph does not log.
    """
    found: Dict[str, List[str]] = {}
    for kind, precision in layers:
        name = precision.lower()
        found.setdefault(kind, []).append(PRECISION_NAMES.get(name, name))
    for kind in COMPUTE_LAYERS:
        if kind in found:
            return max(sorted(set(found[kind])), key=found[kind].count)
    return None
