"""Run on a device by the runner's user: what a stick's plugin does on the USB, by the kernel's usbfs alone.

Boots the stick with two megabytes of firmware if it waits for one, then sends it something again and again and reads the answer.
`stick_user.py REPORT` writes a JSON object to REPORT after each answer and ends when the stick is gone; `--boot-only` ends after
the boot.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys
import time
from pathlib import Path

CLAIM, BULK = 0x8004550F, 0xC0185502
FIRMWARE = bytes(2_000_000)
PIECE = 16384


class Bulk(ctypes.Structure):
    """The kernel's usbdevfs_bulktransfer."""

    _fields_ = (
        ("endpoint", ctypes.c_uint),
        ("length", ctypes.c_uint),
        ("timeout_ms", ctypes.c_uint),
        ("data", ctypes.c_void_p),
    )


def find() -> tuple[str, Path] | None:
    """USB product id and device file of the stick."""
    for vendor in Path("/sys/bus/usb/devices").glob("*/idVendor"):
        number = line(vendor.with_name("devnum"))
        if line(vendor) == "03e7" and number:
            bus = line(vendor.with_name("busnum"))
            return line(vendor.with_name("idProduct")), Path(f"/dev/bus/usb/{int(bus):03}/{int(number):03}")
    return None


def line(path: Path) -> str:
    """Content of a small file; empty if it is gone."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def wait_for(product: str, seconds: float = 60.0) -> int:
    """Wait for the stick with that product id, and open it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stick = find()
        if stick and stick[0] == product and os.access(stick[1], os.R_OK | os.W_OK):
            handle = os.open(stick[1], os.O_RDWR)
            fcntl.ioctl(handle, CLAIM, ctypes.c_uint(0))
            return handle
        time.sleep(0.2)
    raise SystemExit(f"no stick {product}")


def transfer(handle: int, endpoint: int, content: bytes) -> bytes:
    """Send or receive data; return what was received."""
    buffer = ctypes.create_string_buffer(content, len(content))
    count = fcntl.ioctl(handle, BULK, Bulk(endpoint, len(content), 5000, ctypes.addressof(buffer)))
    return buffer.raw[:count]


def boot() -> int:
    """Send the firmware; return the number of bytes."""
    handle = wait_for("2485")
    sent = 0
    while sent < len(FIRMWARE):
        sent += len(transfer(handle, 0x01, FIRMWARE[sent : sent + PIECE]))
    os.close(handle)
    return sent


def serve(report: Path) -> None:
    """Wait until the stick is gone."""
    started = time.time()
    stick = find()
    if stick is None or stick[0] != "f63b":
        boot()
    handle = wait_for("f63b")
    answers = json.loads(line(report) or "{}").get("answers", 0)
    while True:
        transfer(handle, 0x01, b"an image")
        assert transfer(handle, 0x81, bytes(64)) == b"an image"
        answers += 1
        part = report.with_suffix(".part")
        part.write_text(json.dumps({"started": started, "answers": answers}))
        part.rename(report)
        time.sleep(0.5)


if sys.argv[1] == "--boot-only":
    print(json.dumps({"sent_bytes": boot()}))
else:
    serve(Path(sys.argv[1]))
