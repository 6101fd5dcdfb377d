"""Notifications to systemd, as by sd_notify(3): datagrams to NOTIFY_SOCKET, or nothing without that variable."""

from __future__ import annotations

import os
import socket
from typing import Mapping, Optional


class SystemdNotifier:
    """Sends READY=1, STATUS=…, STOPPING=1, and WATCHDOG=1 at least every `watchdog_s`."""

    def __init__(self, environment: Optional[Mapping[str, str]] = None) -> None:
        variables = os.environ if environment is None else environment
        self._address = variables.get("NOTIFY_SOCKET", "")
        timeout_us = variables.get("WATCHDOG_USEC", "")
        own = variables.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_s: Optional[float] = int(timeout_us) / 1e6 if timeout_us.isdigit() and own else None
        """Interval of the watchdog in seconds; None if the unit has none."""

    def notify(self, *fields: str) -> bool:
        """Send the fields; return whether that worked. A failure is not an error."""
        if not self._address:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto("\n".join(fields).encode(), address)
            except OSError:
                return False
        return True
