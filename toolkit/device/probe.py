"""Facts about a device, read and never guessed; facts that cannot be read are null.

Imports no other module of the device code, so that it also runs on a device without a release:
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
from importlib import metadata as importlib_metadata
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

NCS2_USB_VENDOR = "03e7"  # Intel Movidius
ARM_CORES = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd41": "Cortex-A78",
}
"""Names of Arm's own cores by their part number in /proc/cpuinfo (implementer 0x41)."""
_FIELD = re.compile(r"^(Package|Version|Source|Status): (.+)$", re.MULTILINE)
ROOT, RELEASES, CURRENT, PREVIOUS, MANIFEST = "/opt/toolkit", "releases", "current", "previous", "manifest.json"
"""As in `layout`, which cannot be imported here."""


def probe(root: str) -> Dict[str, Any]:
    """Return all facts as one JSON object; `root` contains the releases."""
    facts: Dict[str, Any] = {
        "model": board_model(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "os": os_name(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "boot_id": first_line("/proc/sys/kernel/random/boot_id"),
        **memory(),
        **free_space(root),
        **releases(root),
        **readings(),
    }
    for name, module in (("numpy", "numpy"), ("opencv", "cv2")):
        facts[name], facts[name + "_error"] = version_of(module)
    facts["litert"], facts["litert_error"] = version_of("ai_edge_litert", "interpreter")
    facts.update(openvino())
    return facts


def readings() -> Dict[str, Any]:
    """Return the facts that change under load; read before and after a benchmark.

    `throttled` comes from the firmware (`vcgencmd get_throttled`); the kernel's copy can read 0 while the firmware
    reports throttling.
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
    """Return the facts that `toolkit fleet watch` shows."""
    return {
        "release": _link(root, CURRENT),
        "name": _object(text_of(Path(root, CURRENT, MANIFEST))).get("name"),
        **readings(),
        **service(app, state_file),
    }


def service(address: str, state_file: str) -> Dict[str, Any]:
    """Return the state of the live app, from its state file or its API; else the reason why there is none."""
    state = _object(text_of(state_file))
    if state:
        return {"app": state, "app_error": None}
    try:
        with urllib.request.urlopen(f"{address}/v1/state", timeout=3) as answer:  # noqa: S310 - the inventory gives it
            return {"app": _object(answer.read(1 << 16)), "app_error": None}
    except (OSError, ValueError) as error:  # HTTP errors are OSError
        return {"app": None, "app_error": str(getattr(error, "reason", error))}


def _object(text: Union[str, bytes]) -> Dict[str, Any]:
    """Return a JSON object; empty if the value is not one."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def text_of(path: Union[str, Path]) -> str:
    """Return the text of a small file; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def first_line(path: Union[str, Path]) -> Optional[str]:
    """Return the first line of a small file, without line end or trailing NUL, or None."""
    return text_of(path).partition("\n")[0].rstrip("\x00") or None


def board_model() -> Optional[str]:
    """Return the model from the device tree on an ARM board, else the DMI product."""
    return first_line("/proc/device-tree/model") or first_line("/sys/class/dmi/id/product_name")


def processor() -> Optional[str]:
    """Return the processor's name; for ARM the names of its cores, such as "Cortex-A55 + Cortex-A76"."""
    text = text_of("/proc/cpuinfo")
    cores = re.findall(r"^CPU implementer\s*:\s*(\S+)(?:\n.+)*?\nCPU part\s*:\s*(\S+)", text, re.MULTILINE)
    names = {ARM_CORES.get(part, part) if maker == "0x41" else f"{maker} {part}" for maker, part in cores}
    model = re.search(r"^model name\s*:\s*(.+)", text, re.MULTILINE)
    return " + ".join(sorted(names)) or (model.group(1).strip() if model else None)


def os_name() -> Optional[str]:
    """Return PRETTY_NAME of os-release."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', text_of("/etc/os-release"), re.MULTILINE)
    return match.group(1) if match else None


def memory() -> Dict[str, Optional[int]]:
    """Return total and available memory in bytes."""
    kib = dict(re.findall(r"^(\w+):\s+(\d+) kB", text_of("/proc/meminfo"), re.MULTILINE))
    return {
        name: int(kib[key]) * 1024 if key in kib else None
        for name, key in (("memory_bytes", "MemTotal"), ("free_memory_bytes", "MemAvailable"))
    }


def free_space(root: str) -> Dict[str, Any]:
    """Return free bytes and inodes of the file system of `root`, also if `root` does not exist yet."""
    requested = Path(root).absolute()
    place = next(folder for folder in (requested, *requested.parents) if folder.is_dir())
    volume = os.statvfs(place)
    return {
        "root": str(requested),
        "free_bytes": volume.f_bavail * volume.f_frsize,
        "free_inodes": volume.f_favail,
        "writable": os.access(place, os.W_OK),
    }


def releases(root: str) -> Dict[str, Any]:
    """Return the digests of all releases, of the current one and of the previous one."""
    try:
        there = sorted(folder.name for folder in Path(root, RELEASES).iterdir() if not folder.name.startswith("."))
    except OSError:
        there = []
    return {"current": _link(root, CURRENT), "previous": _link(root, PREVIOUS), "releases": there}


def _link(root: str, name: str) -> Optional[str]:
    try:
        return Path(root, name).readlink().name
    except OSError:
        return None


def vcgencmd(*arguments: str) -> str:
    """Return the value after "=" in an answer of the Raspberry Pi firmware; empty without that firmware."""
    program = shutil.which("vcgencmd")
    if program is None:
        return ""
    try:
        answer = subprocess.run([program, *arguments], check=True, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().partition("=")[2]


def throttled() -> Optional[int]:
    """Return the throttling bits of the firmware: 0-3 for now, 16-19 for since boot."""
    answer = re.fullmatch(r"0x[0-9a-fA-F]+", vcgencmd("get_throttled"))
    return int(answer.group(), 16) if answer else None


def temperature_c() -> Optional[float]:
    """Return the processor temperature in degrees Celsius, from the firmware, else the hottest thermal zone."""
    answer = re.fullmatch(r"(-?[\d.]+)'C", vcgencmd("measure_temp"))
    if answer:
        return float(answer.group(1))
    zones = [first_line(path) for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    return max((int(zone) / 1000 for zone in zones if zone and zone.lstrip("-").isdigit()), default=None)


def clock_mhz() -> Optional[float]:
    """Return the clock of the first core, from the firmware, else the kernel."""
    answer = vcgencmd("measure_clock", "arm")
    if answer.isdigit():
        return int(answer) / 1e6
    khz = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if khz:
        return int(khz) / 1000
    match = re.search(r"^cpu MHz\s*:\s*([\d.]+)", text_of("/proc/cpuinfo"), re.MULTILINE)
    return float(match.group(1)) if match else None


def ncs2_usb_mbit() -> Optional[float]:
    """Return the USB speed of an NCS2 in Mbit/s: 480 is USB 2, 5000 USB 3; None without an NCS2."""
    for vendor in Path("/sys/bus/usb/devices").glob("*/idVendor"):
        if first_line(vendor) == NCS2_USB_VENDOR:
            speed = first_line(vendor.with_name("speed"))
            return float(speed) if speed else None
    return None


def version_of(module: str, part: str = "") -> Tuple[Optional[str], Optional[str]]:
    """Return the version of a package, or why it or its `part` cannot be imported (missing, or built for another system)."""
    try:
        importlib.import_module(module + ("." + part if part else ""))
        return str(importlib.import_module(module).__version__), None
    except Exception as error:  # noqa: BLE001 - a package built for another system fails in its own way
        return None, f"{type(error).__name__}: {error}"


def openvino() -> Dict[str, Any]:
    """Return OpenVINO's version and accelerators, through the API of the installed generation."""
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


def packages() -> List[Dict[str, str]]:
    """Return what is installed: kind ("pypi", "deb", "generic"), name and version; of "deb" also the source package.

    "pypi" is what this interpreter imports; OpenVINO from Intel's archive is no package, and "generic".
    """
    names = {(str(each.metadata["Name"]), each.version) for each in importlib_metadata.distributions()}
    installed = [{"kind": "pypi", "name": name, "version": version} for name, version in sorted(names)]
    if "openvino" not in {name for name, _ in names}:
        version = openvino()["openvino"]
        installed += [{"kind": "generic", "name": "openvino", "version": version.partition("-")[0]}] if version else []
    return installed + debian_packages(Path("/var/lib/dpkg"))


def debian_packages(folder: Path) -> List[Dict[str, str]]:
    """Return dpkg's packages; a container image of ours has one file for each of them in status.d."""
    texts = [text_of(path) for path in (folder / "status", *sorted(folder.glob("status.d/*")))]
    paragraphs = [dict(_FIELD.findall(part)) for text in texts for part in text.split("\n\n")]
    return [
        {"kind": "deb", "name": fields["Package"], "version": fields["Version"], **_source(fields)}
        for fields in paragraphs
        if {"Package", "Version"} <= {*fields} and fields.get("Status", " installed").endswith(" installed")
    ]


def _source(fields: Dict[str, str]) -> Dict[str, str]:
    """Return the source package, by which vulnerabilities are listed; its version may be another one."""
    name, _, version = fields.get("Source", fields["Package"]).partition(" ")
    return {"source": name, "source_version": version.strip("()") or fields["Version"]}


def main(arguments: Optional[List[str]] = None) -> int:
    """Print the facts as one JSON document."""
    parser = argparse.ArgumentParser(prog="probe", description="What this device is.")
    parser.add_argument("--root", default=ROOT, help="folder that holds the releases")
    parser.add_argument("--packages", action="store_true", help="only the installed packages")
    parser.add_argument("--glance", action="store_true", help="only what changes while it works")
    parser.add_argument("--app", default="http://127.0.0.1:8080", help="with --glance: URL of the live app")
    parser.add_argument(
        "--state-file", default="/run/toolkit-runner/state.json", help="with --glance: state file of the live app"
    )
    options = parser.parse_args(arguments)
    stdout = os.dup(1)
    os.dup2(2, 1)  # OpenVINO's plugins may write other output to stdout
    if options.packages:
        facts: Dict[str, Any] = {"packages": packages()}
    else:
        facts = poll(options.root, options.app, options.state_file) if options.glance else probe(options.root)
    os.write(stdout, json.dumps(facts).encode() + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
