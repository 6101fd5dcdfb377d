"""The commands that run on a device, as argument vectors. Pure, so that tests compare whole commands without a device.

They read a device's ROOT, as toolkit.device.layout describes it. What changes a device runs there, as
toolkit.device.activation; see toolkit.deploy.session.
"""

from __future__ import annotations

from toolkit.artifacts.fleet import Device
from toolkit.deploy import scripts
from toolkit.device.layout import release_path
from toolkit.fleet.transfer.scripts import LOADER

SERVICE, RESTART, HEALTH = "toolkit_service", "toolkit_restart", "toolkit_health"
"""The inventory's variables: the systemd unit that runs the release, what to run instead of restarting it, its address."""
UNIT = "toolkit-runner.service"
AGENT = "/usr/lib/toolkit-agent/toolkit-agent"
"""Where Ansible's role `runner` installs the agent."""


def release_folder(device: Device, release: str) -> str:
    """Return a release's folder on the device."""
    return f"{device.root}/{release_path(release)}"


def session(device: Device) -> list[str]:
    """Start a session of the device's agent if root owns one there, else of the code that comes on stdin."""
    return ["/bin/sh", "-c", scripts.SESSION, "sh", device.root, device.python, AGENT, LOADER]


def status(device: Device) -> list[str]:
    """Print what the device serves; needs no Python there."""
    return ["/bin/sh", "-c", scripts.STATUS, "sh", device.root, AGENT]


def files(device: Device, release: str) -> list[str]:
    """Print the release's index on the first line, then each file's digest and path; nothing if there is no release."""
    return ["/bin/sh", "-c", scripts.FILES, "sh", device.root, release]


def logs(device: Device, lines: int, *, follow: bool) -> list[str]:
    """Print the service's journal; without a unit, the device's audit log."""
    return ["/bin/sh", "-c", scripts.LOGS, "sh", device.root, service(device), str(lines), "yes" if follow else ""]


def service(device: Device) -> str:
    """Return the systemd unit that runs the release."""
    return str(device.variables.get(SERVICE) or UNIT)
