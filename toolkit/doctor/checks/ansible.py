"""Ansible, which reads the inventory and provisions devices."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning

PROGRAMS = ("ansible-inventory", "ansible-playbook")


def check(place: Place) -> Iterator[Finding]:
    """Check the package, and its programs beside this interpreter or on PATH."""
    del place
    try:
        version = metadata.version("ansible-core")
    except metadata.PackageNotFoundError:
        yield bad(
            "ansible-core is not installed, so no inventory can be read", "pip install 'edge-vision-toolkit[fleet]'"
        )
        return
    missing = [name for name in PROGRAMS if not (Path(sys.executable).with_name(name).exists() or shutil.which(name))]
    if missing:
        yield warning(
            f"ansible-core {version}, but {' and '.join(missing)} is not on PATH",
            "activate the environment: . .venv/bin/activate",
        )
    else:
        yield good(f"ansible-core {version}")


CHECK = Check("ansible", "the inventory and provisioning", check)
