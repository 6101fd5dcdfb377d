"""Known messages of OpenVINO and its MYRIAD plugin, with causes and remedies.

How each message is known:

    seen       printed by OpenVINO 2021.4.2, 2022.3.2 or 2026.4 in our tests
    stand-in   printed by the plugin of 2021.4.2 with a libusb that simulates an NCS2 (tests/device/stick.c)
    read       a string in libmyriadPlugin.so of 2021.4.2, never triggered
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

from ..errors import DeviceEnvironmentError
from .accelerators import NCS2

_INSTALL = "install OpenVINO again, with all its files: ansible's role openvino does"


@dataclass(frozen=True)
class KnownError:
    """A kind of message: `pattern` is a regular expression; an empty `what` means that the USB state shows the cause."""

    pattern: str
    what: str
    remedy: str
    known: str


KNOWN_ERRORS: Tuple[KnownError, ...] = (
    KnownError(
        r"Cannot find reader for model format",
        "OpenVINO 2021 reads IR version 10 and older, and this model is newer",
        "convert it for this runtime: `toolkit convert MODEL --target ncs2`",
        "seen",
    ),
    KnownError(
        r'Device with "MYRIAD" name is not registered',
        "this OpenVINO does not drive a Neural Compute Stick",
        "OpenVINO 2021.4.2 does on x86-64, and Intel's archive of 2022.3.1 or 2022.3.2 on a Pi: set toolkit_accelerator: MYRIAD "
        "and provision the device",
        "seen",
    ),
    KnownError(
        r"libusb-1\.0\.so\.0: ",
        "the MYRIAD plugin needs libusb, which is missing or damaged",
        "apt-get install libusb-1.0-0",
        "seen",
    ),
    KnownError(r"Failed to create plugin .*for device MYRIAD", "the MYRIAD plugin cannot be loaded", _INSTALL, "seen"),
    KnownError(r"Myriad device: \S+ not found", "no free stick has that name", "MYRIAD alone uses any stick", "seen"),
    KnownError(
        r"NC_MVCMD_NOT_FOUND|Firmware not found in",
        "the stick's firmware is not where the MYRIAD plugin is (usb-ma2x8x.mvcmd)",
        _INSTALL,
        "stand-in",
    ),
    KnownError(
        r"Cannot get a revision from not booted device",
        "the stick was lost as soon as its firmware ran",
        "plug it straight into another port, or into a hub with its own power; `dmesg` may log more",
        "stand-in",
    ),
    KnownError(r"Can not init Myriad device: NC_ERROR", "", "", "stand-in"),
    KnownError(r"No device was detected|NC_DEVICE_NOT_FOUND|No devices available", "", "", "read"),
    KnownError(r"NC_UNAUTHORIZED", "", "", "read"),
    KnownError(
        r"NC_OUT_OF_MEMORY|not enough memory on device|bigger than the device memory|Not enough memory to allocate intermediate",
        "the network does not fit into the stick's memory",
        "use a smaller network or smaller images (`toolkit check` estimates the memory), or end what else uses the stick",
        "read",
    ),
    KnownError(
        r"NC_UNSUPPORTED_GRAPH_FILE|NC_UNSUPPORTED_CONFIGURATION_FILE|didn't accept the graph",
        "the stick's firmware and the MYRIAD plugin are of different releases",
        _INSTALL,
        "read",
    ),
    KnownError(
        r"Maximum number of networks reached",
        "the stick holds as many networks as it can",
        "end the other processes that use it",
        "read",
    ),
    KnownError(
        r"Failed to compile layer|Unsupported layer|unsupported layer",
        "the stick's compiler refuses a layer of this model",
        "`toolkit check BUNDLE` names it and says what to use instead",
        "read",
    ),
    KnownError(
        r"X_LINK_(ERROR|COMMUNICATION\w+|TIMEOUT)|NC_(TIMEOUT|MYRIAD_ERROR|INVALID_DATA_LENGTH)"
        r"|Failed to (queue inference|read output from FIFO)",
        "the stick does not answer any more",
        "unplug it and plug it in again; if the error returns, use another port or a hub with its own power",
        "read",
    ),
)


def translate(message: str, accelerator: str, where: str = "") -> DeviceEnvironmentError:
    """Return the error for a message of OpenVINO about `accelerator`; it includes OpenVINO's text."""
    text = " ".join(message.split())
    for error in KNOWN_ERRORS:
        if re.search(error.pattern, text):
            what, remedy = (error.what, error.remedy) if error.what else NCS2.why_unavailable()
            return DeviceEnvironmentError(f"{what} (OpenVINO: {text})", where=where, remedy=remedy)
    return DeviceEnvironmentError(
        f"OpenVINO cannot use it on {accelerator}: {text}",
        where=where,
        remedy="`python -m device probe` lists the accelerators and OpenVINO's version",
    )


def require_ir_files(xml: Path) -> None:
    """Check that both files of an IR exist: OpenVINO 2021 crashes without the weights.

    Raises:
        DeviceEnvironmentError: a file is missing.
    """
    for path in (xml, xml.with_suffix(".bin")):
        if not path.is_file():
            raise DeviceEnvironmentError("is missing", where=str(path), remedy="deploy the bundle again")
