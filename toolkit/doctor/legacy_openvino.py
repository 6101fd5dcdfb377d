"""A Python 3.9 for the runtimes of 2021 and 2022, whose word on a bundle `toolkit check` asks for."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.convert.runtimes import interpreters
from toolkit.doctor.finding import Check, Finding, Place, care, good

VERSION = "3.9"


def look(place: Place) -> Iterator[Finding]:
    """Found on this machine; else made when first needed."""
    del place
    found = interpreters.find_python(VERSION)
    if found:
        yield good(f"Python {VERSION}: {found}")
    else:
        yield care(f"no Python {VERSION} on PATH: Debian 11's is unpacked when first needed", "toolkit doctor --fix")


def mend(place: Place) -> str:
    """Unpack Debian 11's."""
    return f"it is here: {interpreters.get_python(VERSION, place.progress)}"


CHECK = Check("eras", "older runtimes", look, mend)
