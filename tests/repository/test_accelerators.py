"""What belongs to one accelerator stands in its table and its own modules, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

NCS2 = re.compile(r"MYRIAD|Movidius|Neural Compute|ncs2(?!-compiler)|\bsticks?\b", re.IGNORECASE)
ALLOWED = {
    "device/runtime/accelerators.py": "the table",
    "device/runtime/ncs2_usb.py": "its driver",
    "device/runtime/error_messages.py": "what its plugin prints",
    "device/probe.py": "runs alone from stdin, and reads its USB speed",
    "convert/runtimes/ncs2_check.py": "its compiler",
    "convert/runtimes/ncs2_compiler.py": "its compiler's download",
    "doctor/__init__.py": "the name of the check of that download",
    "doctor/checks/ncs2_compiler.py": "the check of that download",
    "cli/convert.py": "the names of the targets, as users write them",
    "cli/fleet.py": "the verb that plugs in a virtual one",
    "experiment/toml_writer.py": "the names of the targets, in the file that `init` writes",
    "virtual/__init__.py": "what the package emulates",
    "virtual/devices.py": "plugs in a virtual one",
    "virtual/machine.py": "its place in the virtual network",
    "virtual/ncs2_emulator.py": "the virtual one",
    "virtual/seed.py": "attaches the virtual one",
    "virtual/usbip_client.py": "attaches the virtual one",
}
"""Modules that may name the NCS2, each with the reason. Elsewhere, ask the table."""


def test_the_ncs2_is_named_in_its_own_modules_only(repository: Path, tracked: tuple[Path, ...]) -> None:
    package = repository / "toolkit"
    modules = [path for path in tracked if path.suffix == ".py" and package in path.parents]
    naming = {str(path.relative_to(package)) for path in modules if NCS2.search(path.read_text())}
    assert naming == set(ALLOWED)
