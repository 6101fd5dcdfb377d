"""What a device is: read, never guessed; whatever cannot be read is null.

This file imports nothing of its neighbors, so that it also answers where no release is yet:
`ssh device python - --root /opt/toolkit < probe.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

NCS2_USB_VENDOR = "03e7"  # Intel Movidius


def probe(root: str) -> Dict[str, Any]:
    """All facts as one JSON-like object; `root` is where releases live."""
    facts: Dict[str, Any] = {
        "model": board_model(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "os": os_name(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "boot_id": first_line("/proc/sys/kernel/random/boot_id"),
        **memory(),
        **free_space(root),
        **releases(root),
        **readings(),
    }
    for name, module in (("numpy", "numpy"), ("opencv", "cv2")):
        facts[name], facts[name + "_error"] = version_of(module)
    facts.update(openvino())
    return facts


def readings() -> Dict[str, Any]:
    """What changes while a device works: taken before and after a benchmark.

    `throttled` is what the firmware says (`vcgencmd get_throttled`), never the kernel's copy of it, which has read 0
    while the firmware said otherwise.
    """
    return {
        "temperature_c": temperature_c(),
        "clock_mhz": clock_mhz(),
        "throttled": throttled(),
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "usb_mbit": ncs2_usb_mbit(),
        "load_1min": os.getloadavg()[0],
    }


def poll(root: str, app: str, state_file: str) -> Dict[str, Any]:
    """What `toolkit fleet watch` shows, read in a moment."""
    return {
        "release": _link(root, "current"),
        "name": _object(text_of(Path(root, "current", "manifest.json"))).get("name"),
        **readings(),
        **service(app, state_file),
    }


def service(address: str, state_file: str) -> Dict[str, Any]:
    """What the live app says of itself, by the file that it writes or by its API; else why it says nothing."""
    told = _object(text_of(state_file))
    if told:
        return {"app": told, "app_error": None}
    try:
        with urllib.request.urlopen(f"{address}/v1/state", timeout=3) as answer:  # noqa: S310 - the inventory gives it
            return {"app": _object(answer.read(1 << 16)), "app_error": None}
    except (OSError, ValueError) as error:  # HTTP errors are of the first kind
        return {"app": None, "app_error": str(getattr(error, "reason", error))}


def _object(text: Union[str, bytes]) -> Dict[str, Any]:
    """A JSON object; empty where it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def text_of(path: Union[str, Path]) -> str:
    """A small file's text; empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def first_line(path: Union[str, Path]) -> Optional[str]:
    """The first line of a small file without its line end or trailing NUL, or None."""
    return text_of(path).partition("\n")[0].rstrip("\x00") or None


def board_model() -> Optional[str]:
    """The device tree's model on an ARM board, the DMI product elsewhere."""
    return first_line("/proc/device-tree/model") or first_line("/sys/class/dmi/id/product_name")


def os_name() -> Optional[str]:
    """PRETTY_NAME of os-release."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', text_of("/etc/os-release"), re.MULTILINE)
    return found.group(1) if found else None


def memory() -> Dict[str, Optional[int]]:
    """Total and available memory in bytes."""
    kib = dict(re.findall(r"^(\w+):\s+(\d+) kB", text_of("/proc/meminfo"), re.MULTILINE))
    return {
        name: int(kib[key]) * 1024 if key in kib else None
        for name, key in (("memory_bytes", "MemTotal"), ("free_memory_bytes", "MemAvailable"))
    }


def free_space(root: str) -> Dict[str, Any]:
    """Free bytes and inodes of the file system that `root` is on, or will be on once it is made."""
    wanted = Path(root).absolute()
    place = next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())
    volume = os.statvfs(place)
    return {
        "root": str(wanted),
        "free_bytes": volume.f_bavail * volume.f_frsize,
        "free_inodes": volume.f_favail,
        "writable": os.access(place, os.W_OK),
    }


def releases(root: str) -> Dict[str, Any]:
    """The digests of the releases that are there, of the one being served and of the one before it."""
    try:
        there = sorted(folder.name for folder in Path(root, "releases").iterdir() if not folder.name.startswith("."))
    except OSError:
        there = []
    return {"current": _link(root, "current"), "previous": _link(root, "previous"), "releases": there}


def _link(root: str, name: str) -> Optional[str]:
    try:
        return Path(root, name).readlink().name
    except OSError:
        return None


def vcgencmd(*words: str) -> str:
    """What follows "=" in an answer of the Raspberry Pi's firmware; empty where there is no such firmware."""
    program = shutil.which("vcgencmd")
    if program is None:
        return ""
    try:
        answer = subprocess.run([program, *words], check=True, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().partition("=")[2]


def throttled() -> Optional[int]:
    """The firmware's bits: 0-3 what is the case now, 16-19 what has been since boot."""
    answer = re.fullmatch(r"0x[0-9a-fA-F]+", vcgencmd("get_throttled"))
    return int(answer.group(), 16) if answer else None


def temperature_c() -> Optional[float]:
    """Of the processor, in degrees Celsius: the firmware's word, else the hottest thermal zone."""
    answer = re.fullmatch(r"(-?[\d.]+)'C", vcgencmd("measure_temp"))
    if answer:
        return float(answer.group(1))
    zones = [first_line(path) for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    return max((int(zone) / 1000 for zone in zones if zone and zone.lstrip("-").isdigit()), default=None)


def clock_mhz() -> Optional[float]:
    """The first core's clock: the firmware's word, else the kernel's."""
    answer = vcgencmd("measure_clock", "arm")
    if answer.isdigit():
        return int(answer) / 1e6
    khz = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if khz:
        return int(khz) / 1000
    found = re.search(r"^cpu MHz\s*:\s*([\d.]+)", text_of("/proc/cpuinfo"), re.MULTILINE)
    return float(found.group(1)) if found else None


def ncs2_usb_mbit() -> Optional[float]:
    """How fast a Neural Compute Stick is attached: 480 is USB 2, 5000 USB 3; None without a stick."""
    for vendor in Path("/sys/bus/usb/devices").glob("*/idVendor"):
        if first_line(vendor) == NCS2_USB_VENDOR:
            speed = first_line(vendor.with_name("speed"))
            return float(speed) if speed else None
    return None


def version_of(module: str) -> Tuple[Optional[str], Optional[str]]:
    """Its version, or why it cannot be imported (missing, or built for another system)."""
    try:
        return str(importlib.import_module(module).__version__), None
    except Exception as error:  # noqa: BLE001 - a package built for another system fails in its own way
        return None, f"{type(error).__name__}: {error}"


def openvino() -> Dict[str, Any]:
    """OpenVINO's version and the accelerators it sees, by the API of whichever era is there."""
    facts: Dict[str, Any] = {"openvino": None, "openvino_error": None, "accelerators": []}
    try:
        core, version = _openvino_core()
        facts["openvino"], facts["accelerators"] = version, sorted(core.available_devices)
    except Exception as error:  # noqa: BLE001 - see version_of
        facts["openvino_error"] = f"{type(error).__name__}: {error}"
    return facts


def _openvino_core() -> Tuple[Any, str]:
    package = importlib.import_module("openvino")
    if hasattr(package, "Core"):
        return package.Core(), package.get_version()
    try:
        older = importlib.import_module("openvino.runtime")
    except ImportError:
        oldest = importlib.import_module("openvino.inference_engine")
        return oldest.IECore(), oldest.get_version()
    return older.Core(), older.get_version()


def main(arguments: Optional[List[str]] = None) -> int:
    """Print the facts as one JSON document."""
    parser = argparse.ArgumentParser(prog="probe", description="What this device is.")
    parser.add_argument("--root", default="/opt/toolkit", help="where releases live")
    parser.add_argument("--glance", action="store_true", help="only what changes while it works")
    parser.add_argument("--app", default="http://127.0.0.1:8080", help="with --glance: where the live app answers")
    parser.add_argument("--state-file", default="/run/toolkit-runner/state.json", help="with --glance: what it writes")
    asked = parser.parse_args(arguments)
    stdout = os.dup(1)
    os.dup2(2, 1)  # where OpenVINO's plugins may write what is no JSON
    found = poll(asked.root, asked.app, asked.state_file) if asked.glance else probe(asked.root)
    os.write(stdout, json.dumps(found).encode() + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
