"""The inventory: readable, with a login key and a pinned host key for every device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.artifacts.fleet import Device
from toolkit.doctor.finding import Check, Finding, Place, good, warning
from toolkit.errors import ConfigurationError
from toolkit.fleet.inventory.load import find_inventory, load_inventory


def check(place: Place) -> Iterator[Finding]:
    """Check the files; connects to no device.

    Raises:
        ConfigurationError: the inventory cannot be read; the runner reports it.
    """
    try:
        path = find_inventory(place.inventory, place.workspace)
    except ConfigurationError as error:
        if place.inventory is not None:
            raise
        yield warning("no inventory yet; `toolkit demo` starts a local fleet", error.problems[0].remedy)
        return
    devices = load_inventory(path)
    yield good(f"{len(devices)} devices in {path}")
    keys = sorted({device.key_file for device in devices if device.key_file and not Path(device.key_file).is_file()})
    if keys:
        yield warning(f"key file not found: {', '.join(keys)}", "set ansible_ssh_private_key_file to an existing file")
    yield from _open_keys(devices)
    unpinned = [device.name for device in devices if not _pinned(device)]
    if unpinned:
        yield warning(
            f"host keys are not pinned, so connections are refused: {_some(unpinned)}",
            "append the output of `ssh-keyscan -p PORT HOST` to known_hosts beside the inventory, after comparing it on the "
            "device itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    else:
        yield good("every device's host key is pinned")


def _open_keys(devices: Sequence[Device]) -> Iterator[Finding]:
    """Check that others cannot read the private keys; ssh itself would refuse them."""
    files = {Path(device.key_file) for device in devices if device.key_file and Path(device.key_file).is_file()}
    for path in sorted(path for path in files if path.stat().st_mode & 0o077):
        yield warning(f"other users can read the private key {path}", f"chmod 600 {path}")


def _pinned(device: Device) -> bool:
    """Return whether a known_hosts file has a line for the device, hashed or not."""
    import paramiko

    known = paramiko.HostKeys()
    for path in filter(None, (device.known_hosts or str(Path.home() / ".ssh" / "known_hosts"),)):
        if Path(path).is_file():
            known.load(path)
    name = device.host if device.port == 22 else f"[{device.host}]:{device.port}"
    return known.lookup(name) is not None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


CHECK = Check("inventory", "deploy and bench", check)
