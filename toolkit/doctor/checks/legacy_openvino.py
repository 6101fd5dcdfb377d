"""A Python 3.9 for OpenVINO 2021 and 2022, which `toolkit check` uses."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.convert.runtimes import interpreters
from toolkit.doctor.finding import Check, Finding, Place, good, warning

VERSION = "3.9"


def check(place: Place) -> Iterator[Finding]:
    """Check for the interpreter; it is otherwise unpacked when first needed."""
    del place
    path = interpreters.find_python(VERSION)
    if path:
        yield good(f"Python {VERSION}: {path}")
    else:
        yield warning(f"no Python {VERSION} on PATH; Debian 11's is unpacked when first needed", "toolkit doctor --fix")


def fix(place: Place) -> str:
    """Unpack Debian 11's interpreter."""
    return f"unpacked: {interpreters.ensure_python(VERSION, place.progress)}"


CHECK = Check("legacy-openvino", "legacy runtimes", check, fix)
