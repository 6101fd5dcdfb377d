"""The interpreter, and whether it is one of a virtual environment."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from toolkit.doctor.finding import Check, Finding, Place, bad, care, good

OLDEST, FIRST_TOO_NEW = (3, 11), (3, 14)


def look(place: Place) -> Iterator[Finding]:
    """Versions that the requirements are locked for."""
    del place
    told = f"Python {platform.python_version()}, {platform.machine()}, {sys.executable}"
    if OLDEST <= sys.version_info[:2] < FIRST_TOO_NEW:
        yield good(told)
    else:
        yield bad(told, "set the environment up with Python 3.11, 3.12 or 3.13: PYTHON=python3.12 just setup")
    if sys.prefix == sys.base_prefix:
        yield care("not in a virtual environment: packages are shared with the system", "just setup makes .venv")


CHECK = Check("python", "everything", look)
