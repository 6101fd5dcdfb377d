"""What systemd is told: sd_notify(3) by a datagram to the socket that it names, and nothing where it names none."""

from __future__ import annotations

import os
import socket
from typing import Mapping, Optional


class SystemdNotifier:
    """READY=1, STATUS=…, RELOADING=1, STOPPING=1, and WATCHDOG=1 within each `watchdog_s`."""

    def __init__(self, environment: Optional[Mapping[str, str]] = None) -> None:
        given = os.environ if environment is None else environment
        self._address = given.get("NOTIFY_SOCKET", "")
        asked_us = given.get("WATCHDOG_USEC", "")
        own = given.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_s: Optional[float] = int(asked_us) / 1e6 if asked_us.isdigit() and own else None
        """How often systemd wants to hear that all is well; None if it does not."""

    def notify(self, *fields: str) -> bool:
        """Whether it was told; a systemd that does not listen is no reason to end."""
        if not self._address:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto("\n".join(fields).encode(), address)
            except OSError:
                return False
        return True
