"""The clock, which dates records and decides whether signatures and certificates are valid."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning

TIMEOUT_S = 10


def check(place: Place) -> Iterator[Finding]:
    """Check that it is not earlier than files written here, and that it is synchronized."""
    now = time.time()
    newest = max(path.stat().st_mtime for path in (Path(__file__), place.workspace.database) if path.exists())
    text = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now < newest - 1:
        yield bad(
            f"the clock says {text}, which is before the toolkit's own files were written",
            "set the clock: timedatectl set-ntp true",
        )
        return
    synchronized = _synchronized()
    if synchronized is False:
        yield warning(f"{text}, not synchronized over the network", "timedatectl set-ntp true")
    else:
        yield good(f"{text}{', synchronized over the network' if synchronized else ''}")


def _synchronized() -> bool | None:
    """Return what systemd says; None without systemd."""
    argv = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() == "yes" if done.returncode == 0 else None


CHECK = Check("clock", "records and signatures", check)
