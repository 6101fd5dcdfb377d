"""The inventory: readable, and every device of it with a key, a pinned host key and a way to log in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.artifacts.fleet import Device
from toolkit.doctor.finding import Check, Finding, Place, care, good
from toolkit.errors import ConfigurationError
from toolkit.fleet.inventory.load import find_inventory, load_inventory


def look(place: Place) -> Iterator[Finding]:
    """Asks no device.

    Raises:
        ConfigurationError: the inventory cannot be read; becomes a finding of its own.
    """
    try:
        path = find_inventory(place.inventory, place.workspace)
    except ConfigurationError as error:
        if place.inventory is not None:
            raise
        yield care("no inventory yet: `toolkit demo` starts a fleet of its own", error.problems[0].remedy)
        return
    devices = load_inventory(path)
    yield good(f"{len(devices)} devices in {path}")
    keys = sorted({device.key_file for device in devices if device.key_file and not Path(device.key_file).is_file()})
    if keys:
        yield care(f"no such key file: {', '.join(keys)}", "name one that is there by ansible_ssh_private_key_file")
    yield from _open_keys(devices)
    unpinned = [device.name for device in devices if not _pinned(device)]
    if unpinned:
        yield care(
            f"host keys not pinned: {_some(unpinned)}; these are refused",
            "write `ssh-keyscan -p PORT HOST` to known_hosts beside the inventory, once compared with what the device's own "
            "screen says: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    else:
        yield good("every device's host key is pinned")


def _open_keys(devices: Sequence[Device]) -> Iterator[Finding]:
    """Private keys that others may read; ssh itself would refuse them."""
    files = {Path(device.key_file) for device in devices if device.key_file and Path(device.key_file).is_file()}
    for path in sorted(path for path in files if path.stat().st_mode & 0o077):
        yield care(f"others may read the private key {path}", f"chmod 600 {path}")


def _pinned(device: Device) -> bool:
    """Whether a known_hosts file has a line for it, hashed or not."""
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


CHECK = Check("inventory", "deploy and bench", look)
