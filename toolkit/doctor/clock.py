"""The clock: records carry its time, signatures and certificates are judged by it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, bad, care, good

TIMEOUT_S = 10


def look(place: Place) -> Iterator[Finding]:
    """Not before the newest file that was ever written here; kept right by somebody."""
    now = time.time()
    newest = max(path.stat().st_mtime for path in (Path(__file__), place.workspace.database) if path.exists())
    told = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now < newest - 1:
        yield bad(
            f"it is {told}, before this toolkit's own files were written", "set the clock: timedatectl set-ntp true"
        )
        return
    synchronised = _synchronised()
    if synchronised is False:
        yield care(f"{told}, kept right by nobody", "timedatectl set-ntp true")
    else:
        yield good(f"{told}{', kept right over the network' if synchronised else ''}")


def _synchronised() -> bool | None:
    """By systemd's word; None where there is none to ask."""
    words = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() == "yes" if done.returncode == 0 else None


CHECK = Check("clock", "records and signatures", look)
