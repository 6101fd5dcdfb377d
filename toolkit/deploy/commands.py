"""The commands that run on a device, as argument vectors. Pure, so that tests compare whole commands without a device.

ROOT/releases/<digest>/   a release, read-only
ROOT/current, previous    links to releases, each switched by one rename
ROOT/deploy.lock/         there while somebody changes the device: info says who, since when and why
ROOT/rollout.lock/        the same, on the first device of a rollout, while it goes on
ROOT/audit.jsonl          what was done to the device, one JSON object a line; audit.jsonl.1 and .2 are older
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.artifacts.fleet import Device
from toolkit.deploy import scripts
from toolkit.fleet import device_command

SERVICE, RESTART, HEALTH = "toolkit_service", "toolkit_restart", "toolkit_health"
"""The inventory's variables: the systemd unit that runs the release, what to run instead of restarting it, its address."""
UNIT = "toolkit-runner.service"
AUDIT_BYTES = 1 << 20
"""From this size on, the audit log is put aside and another one begun."""


def releases_path(release: str) -> str:
    """Return a release's path relative to ROOT."""
    return f"releases/{release}"


def release_folder(device: Device, release: str) -> str:
    """Return a release's folder on the device."""
    return f"{device.root}/{releases_path(release)}"


def verify(device: Device, release: str) -> list[str]:
    """Verify the release's digests and signature, by its own code, outside any container."""
    folder = release_folder(device, release)
    return device_command.on_host(device, folder, "verify", folder)


def golden(device: Device, release: str) -> list[str]:
    """Check the golden samples, by the release's own code, on the device's accelerator."""
    folder = release_folder(device, release)
    return device_command.in_runtime(device, folder, "golden", folder, "--accelerator", device.accelerator)


def health(device: Device, release: str, seconds: float, patience_s: float) -> list[str]:
    """Check that the service stays healthy for so long, by the release's own code and the machine's systemd."""
    arguments = {
        "unit": service(device),
        "url": device.variables.get(HEALTH),
        "seconds": seconds,
        "patience": patience_s,
    }
    options = [f"--{name}={value}" for name, value in arguments.items() if value]
    folder = release_folder(device, release)
    return device_command.on_host(device, folder, "health", folder, *options)


def bench(device: Device, release: str, images: str, settings: Mapping[str, object]) -> list[str]:
    """Run a short benchmark by the release's own code on images of the device; it ends with stdin."""
    options = [f"--{name}={value}" for name, value in settings.items() if value is not None]
    arguments = [f"--images={device.root}/images/{images}", f"--root={device.root}", "--stop-on-eof"]
    folder = release_folder(device, release)
    return device_command.in_runtime(device, folder, "bench", folder, "--scenario=single-stream", *arguments, *options)


def has_images(device: Device, images: str) -> list[str]:
    """Check by the exit code whether a set of images sent for a benchmark still exists."""
    return ["test", "-f", f"{device.root}/images/{images}/images.json"]


def switch(device: Device, release: str) -> list[str]:
    """Serve the release and remember the one before; if cut between the two renames, the old one serves."""
    return ["/bin/sh", "-c", scripts.SWITCH, "sh", device.root, release]


def switch_back(device: Device, release: str) -> list[str]:
    """Serve the previous release again; if cut between the two renames, it already serves."""
    return ["/bin/sh", "-c", scripts.SWITCH_BACK, "sh", device.root, release]


def restore(device: Device, release: str | None, previous: str | None) -> list[str]:
    """Restore both links; None, or a previous release that was pruned meanwhile, removes the link."""
    return ["/bin/sh", "-c", scripts.RESTORE, "sh", device.root, release or "", previous or ""]


def lock(device: Device, info: str, *, break_lock: bool, name: str = "deploy") -> list[str]:
    """Take one of the device's locks by an atomic mkdir, and hold it until stdin ends.

    A lock from before the device's last start is taken over; prints "held", or "taken" and the info of who has it.
    """
    return ["/bin/sh", "-c", scripts.LOCK, "sh", device.root, info, "yes" if break_lock else "no", name]


def status(device: Device) -> list[str]:
    """Print what the device serves; needs no Python there."""
    return ["/bin/sh", "-c", scripts.STATUS, "sh", device.root]


def files(device: Device, release: str) -> list[str]:
    """Print the release's index on the first line, then each file's digest and path; nothing if there is no release."""
    return ["/bin/sh", "-c", scripts.FILES, "sh", device.root, release]


def audit(device: Device, line: str, limit: int = AUDIT_BYTES) -> list[str]:
    """Append a line to the device's audit log, which is rotated beyond `limit` bytes."""
    return ["/bin/sh", "-c", scripts.AUDIT, "sh", device.root, line, str(limit)]


def restart(device: Device) -> list[str]:
    """Restart the service on the current release; prints what was restarted, or "none"."""
    return [
        "/bin/sh",
        "-c",
        scripts.RESTART,
        "sh",
        device.root,
        service(device),
        str(device.variables.get(RESTART) or ""),
        "yes" if device.become_password else "no",
    ]


def logs(device: Device, lines: int, *, follow: bool) -> list[str]:
    """Print the service's journal; without a unit, the device's audit log."""
    return ["/bin/sh", "-c", scripts.LOGS, "sh", device.root, service(device), str(lines), "yes" if follow else ""]


def service(device: Device) -> str:
    """Return the systemd unit that runs the release."""
    return str(device.variables.get(SERVICE) or UNIT)
