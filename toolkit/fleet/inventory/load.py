"""Load the devices of an Ansible inventory, read by `ansible-inventory`, so that it means the same to both programs.

Precedence, groups, patterns, templates and vaults mean what they mean to Ansible. Variables of a host:

    ansible_host, ansible_port, ansible_user, ansible_ssh_private_key_file   how to reach a device; also by their old names
    ansible_password, ansible_become_password                                the passwords of the login and of sudo
    ansible_ssh_args, ansible_ssh_common_args, ansible_ssh_extra_args        further arguments of ssh
    ansible_connection                                                       "ssh", or "local" for this machine
    toolkit_root, toolkit_python, toolkit_accelerator                        what the device is
    toolkit_container_image                                                  what releases run in (see container_images)
    toolkit_known_hosts                                                      its pinned host key; beside the inventory
    toolkit_ssh_config, toolkit_ssh_transport                                see toolkit.fleet.ssh.connection
    toolkit_require_signature                                                whether only signed bundles are deployed to it
    toolkit_service, toolkit_restart, toolkit_health                         what runs a release there (see toolkit.deploy)

    ansible_ssh_timeout, ansible_ssh_executable, ansible_ssh_pkcs11_provider as for Ansible

What ansible.cfg sets of these applies as well, and its connection_password_file and become_password_file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import ConfigurationError
from toolkit.fleet.inventory.ansible import connection_settings, is_host_list, run_ansible
from toolkit.fleet.inventory.device import parse_device
from toolkit.fleet.inventory.passwords import Passwords, complete
from toolkit.fleet.inventory.variables import resolve_variables, unwrap
from toolkit.workspace import Workspace

DEFAULT_INVENTORY = Path("ansible/inventory/fleet.yml")


def load_inventory(path: Path, limit: str | None = None, prompted: Passwords | None = None) -> tuple[Device, ...]:
    """Return the devices of an inventory (a file, a folder, or hosts such as "pi-1,"); `limit` is Ansible's --limit.

    `prompted` are passwords for hosts of which the inventory has none.

    Raises:
        ConfigurationError: the file is missing or cannot be read, values are not valid (all of them are named), or no
            device matches `limit`.
        MachineError: Ansible is not installed.
    """
    if not path.exists() and not is_host_list(path):
        raise ConfigurationError(
            "no such inventory", where=str(path), remedy="create one with `toolkit fleet up`, or give --inventory"
        )
    listing = _list(path, limit)
    hosts, problems = resolve_variables(
        listing["_meta"]["hostvars"], lambda message: _debug(path, limit, message), path
    )
    names = list(dict.fromkeys(_hosts_of("all", listing)))
    if not names:
        raise _no_devices(path, limit)
    settings = connection_settings(path)
    passwords = complete(prompted or Passwords(), settings)
    groups = _groups_by_host(listing)
    devices = tuple(
        parse_device(name, hosts.get(name, {}), groups.get(name, ()), path, settings, passwords, problems)
        for name in names
    )
    if problems:
        raise ConfigurationError.from_problems(problems)
    return devices


def find_inventory(requested: Path | None, workspace: Workspace) -> Path:
    """Return the requested inventory, else that of the local fleet, of the virtual fleet, or the repository's.

    Raises:
        ConfigurationError: none of them exists.
    """
    own = (workspace.root / folder / "inventory.yml" for folder in ("fleet", "virtual"))
    candidates = (requested,) if requested else (*own, DEFAULT_INVENTORY)
    for path in candidates:
        if path.exists() or is_host_list(path):
            return path
    raise ConfigurationError(
        "no such inventory",
        where=" and ".join(str(path) for path in candidates),
        remedy="start a local fleet with `toolkit fleet up`, or give --inventory",
    )


def _list(path: Path, limit: str | None) -> dict[str, Any]:
    """Return the output of `ansible-inventory --list`."""
    answer = run_ansible("inventory", path, ["--list", *_limit(limit)])
    if answer.returncode:
        raise ConfigurationError(
            f"Ansible cannot read it: {_reasons(answer.stderr)}",
            where=str(path),
            remedy="check it with: ansible-inventory --list -i " + str(path),
        )
    listing: dict[str, Any] = unwrap(json.loads(answer.stdout))
    return listing


def _debug(path: Path, limit: str | None, message: str) -> str:
    """Return what Ansible prints of a message for each host, without connecting to any."""
    return run_ansible("adhoc", path, ["all", "-m", "ansible.builtin.debug", "-a", message, *_limit(limit)]).stdout


def _limit(limit: str | None) -> list[str]:
    return [] if limit is None else ["--limit", limit]


def _reasons(stderr: str) -> str:
    """Return the lines that name the cause, without decoration and repetition."""
    noise = ("<<<", "[WARNING]: No inventory", "(source not shown")
    lines = (line.removeprefix("[ERROR]: ").removeprefix("[WARNING]: ").strip() for line in stderr.splitlines())
    return "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith(noise))) or "no reason given"


def _no_devices(path: Path, limit: str | None) -> ConfigurationError:
    if limit is None:
        return ConfigurationError("lists no devices", where=str(path), remedy="add hosts to it")
    known = ", ".join(device.name for device in load_inventory(path))
    return ConfigurationError(f"no device matches --limit {limit!r}", where=str(path), remedy=f"it lists: {known}")


def _hosts_of(group: str, listing: Mapping[str, Any]) -> Iterator[str]:
    """Yield a group's hosts, including those of its children."""
    entry = listing.get(group, {})
    yield from entry.get("hosts", ())
    for child in entry.get("children", ()):
        yield from _hosts_of(child, listing)


def _groups_by_host(listing: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the groups that contain each host at any depth, except "all" and "ungrouped"."""
    groups: dict[str, tuple[str, ...]] = {}
    for group in sorted(listing.keys() - {"_meta", "all", "ungrouped"}):
        for name in dict.fromkeys(_hosts_of(group, listing)):
            groups[name] = (*groups.get(name, ()), group)
    return groups
