"""Health check of the service that runs the release, after a switch."""

from __future__ import annotations

import subprocess
import time
from typing import Any, Dict, Optional, Tuple

START_TIMEOUT_S = 60.0
"""How long a service may take to become healthy; some accelerators load large networks slowly."""
POLL_INTERVAL_S = 0.5
REQUEST_TIMEOUT_S = 5.0


def check_health(unit: str, url: Optional[str], seconds: float, patience_s: float = START_TIMEOUT_S) -> Dict[str, Any]:
    """Wait until the service is healthy and stays so for `seconds`; return {"ok", "message", "checks"}.

    The systemd `unit` must be active without a restart, and `url` must answer 200. If there is neither, nothing is
    checked and `checks` is empty.
    """
    checks = [name for name, there in (("unit", _unit_exists(unit)), ("url", bool(url))) if there]
    if not checks:
        return {
            "ok": True,
            "message": f"nothing to check: there is no unit {unit}, and no address is set",
            "checks": checks,
        }
    place = url if "url" in checks else None
    running = unit if "unit" in checks else None
    why, first = _wait_until_healthy(running, place, patience_s)
    if why is None:
        why = _wait_while_healthy(running, place, seconds, first)
    message = why or f"healthy for {seconds:g} s"
    return {"ok": why is None, "message": message, "checks": checks}


def _wait_until_healthy(
    unit: Optional[str], url: Optional[str], patience_s: float
) -> Tuple[Optional[str], Optional[str]]:
    """Wait until the service is healthy; return the problem or None, and its number of restarts."""
    deadline = time.monotonic() + patience_s
    while True:
        why, starts = _find_problem(unit, url)
        if why is None or time.monotonic() > deadline or (unit and "is failed" in why):
            return why, starts
        time.sleep(POLL_INTERVAL_S)


def _wait_while_healthy(unit: Optional[str], url: Optional[str], seconds: float, first: Optional[str]) -> Optional[str]:
    """Return why the service did not stay healthy; None if it did."""
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < seconds:
        time.sleep(min(POLL_INTERVAL_S, seconds - passed))
        why, starts = _find_problem(unit, url)
        if why is None and starts != first:
            why = f"{unit} was restarted"
        if why is not None:
            return f"{why}, {time.monotonic() - begin:.0f} s after it was well"
    return None


def _find_problem(unit: Optional[str], url: Optional[str]) -> Tuple[Optional[str], Optional[str]]:
    """Return the current problem or None, and the number of restarts."""
    starts = None
    if unit:
        shown = _unit_properties(unit, "ActiveState", "NRestarts")
        starts = shown.get("NRestarts")
        if shown.get("ActiveState") != "active":
            return f"{unit} is {shown.get('ActiveState') or 'unknown to systemd'}", starts
    return (_http_problem(url) if url else None), starts


def _http_problem(url: str) -> Optional[str]:
    """Return the problem with the health URL; None if it answers 200."""
    import urllib.error  # slow to import, and many services have no health URL
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=REQUEST_TIMEOUT_S) as answer:  # noqa: S310 - the inventory gives it
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except (OSError, ValueError) as error:
        return f"{url} does not answer: {getattr(error, 'reason', error)}"


def _unit_exists(unit: str) -> bool:
    return _unit_properties(unit, "LoadState").get("LoadState") not in (None, "", "not-found")


def _unit_properties(unit: str, *names: str) -> Dict[str, str]:
    """Return properties of a unit; empty without systemd."""
    try:
        output = subprocess.run(
            ["systemctl", "show", f"--property={','.join(names)}", unit],
            capture_output=True,
            text=True,
            timeout=REQUEST_TIMEOUT_S,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
