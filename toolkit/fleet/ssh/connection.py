"""Connect to a device over SSH: with fabric if possible, or else with the program `ssh`.

A host without a pinned key is refused: unknown keys are never accepted silently. The user's ~/.ssh/config is read only
if the inventory sets `toolkit_ssh_config: true`, so that the same inventory connects in the same way from every machine.
`toolkit_ssh_transport` is "auto" (the default), "fabric" or "openssh". With "auto", fabric is used unless the inventory,
the keys or the server require a feature that only OpenSSH has; `toolkit fleet probe` shows the choice and the reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet import cancellation
from toolkit.fleet.ssh import options
from toolkit.fleet.ssh.fabric_shell import SshShell
from toolkit.fleet.ssh.openssh import OpenSshShell
from toolkit.fleet.ssh.shell import LocalShell, Shell
from toolkit.fleet.ssh.ssh_errors import openssh_can_help

TRANSPORTS = ("auto", "fabric", "openssh")
_requires_openssh: dict[tuple[str, str, int, str | None], str] = {}
"""Devices that fabric could not connect to in this process, and why."""


@contextmanager
def connect(device: Device) -> Iterator[Shell]:
    """A shell on the device for the length of a with-block; its connection is closed at the end.

    Raises:
        FleetError: it cannot be reached, refuses the login, or shows another host key; says what to do.
    """
    shell = open_shell(device)
    try:
        with cancellation.cancellable(shell.close):
            yield shell
    finally:
        shell.close()


def open_shell(device: Device) -> Shell:
    """Return a connected shell.

    Raises:
        FleetError: see `connect`.
    """
    if device.connection == "local":
        return LocalShell(device)
    transport = str(device.variables.get("toolkit_ssh_transport", "auto"))
    key = (device.name, device.host, device.port, device.user)
    reason = options.needs_openssh(device) or _requires_openssh.get(key, "")
    if transport == "openssh" or (transport == "auto" and reason):
        return OpenSshShell(device, reason if transport == "auto" else "toolkit_ssh_transport is openssh")
    try:
        return SshShell(device)
    except FleetError as error:
        reason = openssh_can_help(device, error.__cause__)
        if transport != "auto" or not reason or shutil.which("ssh") is None:
            raise
    shell = OpenSshShell(device, reason)
    _requires_openssh[key] = reason
    return shell
