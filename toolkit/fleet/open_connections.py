"""Connections that are left open between the look at a device and its deployment, so that each device is logged in to once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.fleet import Shell, cancellation

MOST_OPEN = 16
"""More connections than this are not left open: paramiko wakes ten times a second for each, which soon costs more than a login."""
RECENT_S = 60.0
"""Older connections are not used again: a router in between may have forgotten them."""


class OpenConnections:
    """At most `most` open connections, one for each device."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: dict[Device, tuple[Shell, ExitStack, float]] = {}

    @contextmanager
    def connect(self, device: Device, *, leave_open: bool = False) -> Iterator[Shell]:
        """A shell on the device for the length of a with-block: the one that was left open, or a new one.

        Raises:
            FleetError: see toolkit.fleet.connect.
        """
        with ExitStack() as stack:
            shell = self._take(device, stack) or stack.enter_context(fleet.connect(device))
            yield shell
            if leave_open:
                self._leave(device, shell, stack.pop_all())

    def close(self, *devices: Device) -> None:
        """Close those that are still open: of these devices, or all."""
        with self._lock:
            left = [self._open.pop(device, None) for device in devices or tuple(self._open)]
        for held in filter(None, left):
            held[1].close()

    def _take(self, device: Device, stack: ExitStack) -> Shell | None:
        """Return the device's open connection, which `stack` closes; None if there is none, or none that can be used."""
        with self._lock:
            shell, held, since = self._open.pop(device, (None, ExitStack(), 0.0))
        if shell is None or not shell.is_open or time.monotonic() - since > RECENT_S:
            held.close()
            return None
        stack.push(held)
        stack.enter_context(cancellation.cancellable(shell.close))
        return shell

    def _leave(self, device: Device, shell: Shell, stack: ExitStack) -> None:
        with self._lock:
            if len(self._open) < self._most:
                self._open[device] = (shell, stack, time.monotonic())
                return
        stack.close()
