"""Neural Compute Sticks on USB: presence, the process that uses one, and whether this user may open it.

An NCS2 is 03e7:2485, at USB 2 speed, until its firmware is loaded; then 03e7:f63b, while a process uses it or after one
ended without releasing it. 03e7:2150 is the first generation, which OpenVINO 2021.4 and later do not support.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

VENDOR = "03e7"  # Intel Movidius
UNBOOTED, BOOTED, FIRST_GENERATION = "2485", "f63b", "2150"
USB_3_MBIT = 5000

Reason = Tuple[str, str]
"""The problem and the remedy."""


@dataclass(frozen=True)
class Ncs2:
    """One stick on USB."""

    product: str
    speed_mbit: float
    node: Path
    """The path of its device file."""

    @property
    def usable(self) -> bool:
        """Return whether this process may open the device file."""
        return os.access(self.node, os.R_OK | os.W_OK)


def find(sys: Path = Path("/sys/bus/usb/devices"), dev: Path = Path("/dev/bus/usb")) -> List[Ncs2]:
    """Return all sticks that are plugged in."""
    sticks = []
    for vendor in sorted(sys.glob("*/idVendor")):
        read = {name: _line(vendor.with_name(name)) for name in ("idProduct", "speed", "busnum", "devnum")}
        if _line(vendor) == VENDOR and read["busnum"].isdigit() and read["devnum"].isdigit():
            node = dev / f"{int(read['busnum']):03}" / f"{int(read['devnum']):03}"
            sticks.append(Ncs2(read["idProduct"], float(read["speed"] or 0), node))
    return sticks


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def why_unavailable(seen: List[Ncs2], proc: Path = Path("/proc")) -> Reason:
    """Return why no stick can be used, by the USB state; the plugin itself reports only NC_ERROR for most causes."""
    current = [stick for stick in seen if stick.product in (UNBOOTED, BOOTED)]
    if not seen:
        return "no Neural Compute Stick is plugged in", "plug it in; a container needs /dev/bus/usb passed to it"
    if not current:
        return (
            "the stick is of the first generation, which this OpenVINO does not drive",
            "use a Neural Compute Stick 2",
        )
    closed = [stick for stick in current if not stick.usable]
    if len(closed) == len(current):
        return _why_no_access(closed[0])
    if all(stick.product == BOOTED for stick in current):
        holder = _holder(current, proc)
        who = f"in use by {holder}" if holder else "in use by another process, or was left running by one that ended"
        return f"the stick is {who}", "end that process; if there is none, unplug the stick and plug it in again"
    return (
        "the stick is there and does not start",
        "plug it straight into another port, better a USB 3 one (blue), or into a hub with its own power; `dmesg` may log more",
    )


def _why_no_access(stick: Ncs2) -> Reason:
    if not stick.node.exists():
        return (
            f"the stick is there, but {stick.node} is not",
            "pass /dev/bus/usb to the container, and allow 'c 189:* rmw'",
        )
    return (
        f"this user may not open the stick ({stick.node})",
        "set toolkit_accelerator: MYRIAD, which provisions the udev rule; then plug the stick in, and log in, again",
    )


def _holder(current: List[Ncs2], proc: Path) -> Optional[str]:
    """Return the process that has a stick open, if this user can see it."""
    nodes = {stick.node for stick in current}
    for link in proc.glob("[0-9]*/fd/*"):
        try:
            held = link.readlink() in nodes
        except OSError:
            continue
        process = link.parent.parent
        if held and process.name != str(os.getpid()):
            return f"{_line(process / 'comm') or 'a process'} (process {process.name})"
    return None


def usb_speed_warning(seen: List[Ncs2]) -> Optional[str]:
    """Return a warning about a stick below USB 3 speed; None if there is none."""
    for stick in seen:
        if stick.product == BOOTED and 0 < stick.speed_mbit < USB_3_MBIT:
            return f"the stick is on a USB 2 port ({stick.speed_mbit:.0f} Mbit/s), which slows it down: use a USB 3 port (blue)"
    return None
