"""The Python interpreter and its virtual environment."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning

OLDEST, FIRST_TOO_NEW = (3, 11), (3, 14)


def check(place: Place) -> Iterator[Finding]:
    """Check the version and the virtual environment."""
    del place
    text = f"Python {platform.python_version()}, {platform.machine()}, {sys.executable}"
    if OLDEST <= sys.version_info[:2] < FIRST_TOO_NEW:
        yield good(text)
    else:
        yield bad(text, "set the environment up with Python 3.11, 3.12 or 3.13: PYTHON=python3.12 just setup")
    if sys.prefix == sys.base_prefix:
        yield warning("no virtual environment, so packages are shared with the system", "just setup makes .venv")


CHECK = Check("python", "everything", check)
