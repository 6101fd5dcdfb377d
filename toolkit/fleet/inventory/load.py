"""The one list of devices, read as Ansible reads it: by `ansible-inventory`.

Precedence, groups, patterns and vaults mean here what they mean there. Variables of a host:

    ansible_host, ansible_port, ansible_user, ansible_ssh_private_key_file   how to reach a device
    toolkit_root, toolkit_python, toolkit_accelerator                        what it is
    toolkit_container_image                                                            what releases run in (toolkit.fleet.container_images.local)
    toolkit_known_hosts                                                      its pinned host key; beside the inventory
    toolkit_require_signature                                                whether only signed bundles are deployed to it
    toolkit_service, toolkit_restart, toolkit_health                         what runs a release there (toolkit.deploy)

Templates and vault-encrypted values of these are read as Ansible reads them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import ConfigurationError, MachineError, Problem
from toolkit.fleet.container_images import local
from toolkit.fleet.inventory.variables import resolve_variables
from toolkit.workspace import Workspace

DEFAULT_INVENTORY = Path("ansible/inventory/fleet.yml")
SYSTEM_PYTHON = "/usr/bin/python3"
"""What a device has anyway: where releases run in a container image, it takes them in and checks them, which needs no more."""
_DEFAULTS = Device(name="", host="")
_SETTINGS = {
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_NOCOLOR": "1",
}
_MISSING_COMMAND = "install the extra: pip install 'edge-vision-toolkit[fleet]'"


def load_inventory(path: Path, limit: str | None = None) -> tuple[Device, ...]:
    """The devices of an Ansible inventory (a file or a folder), in its own order; `limit` as Ansible's --limit.

    Raises:
        ConfigurationError: the file is missing, cannot be read, or has values that cannot be used (all of them named);
            or nothing matches `limit`.
        MachineError: ansible-inventory is not installed.
    """
    if not path.exists():
        raise ConfigurationError(
            "no such inventory", where=str(path), remedy="`toolkit fleet up` makes one, or give --inventory"
        )
    listing = _listing(path, limit)
    hosts, problems = resolve_variables(
        listing["_meta"]["hostvars"], lambda message: _asked(path, limit, message), path
    )
    names = list(dict.fromkeys(_hosts_of("all", listing)))
    if not names:
        raise _nobody(path, limit)
    devices = tuple(_device(name, hosts.get(name, {}), _groups_of(name, listing), path, problems) for name in names)
    if problems:
        raise ConfigurationError.from_problems(problems)
    return devices


def find_inventory(given: Path | None, workspace: Workspace) -> Path:
    """The inventory to use: the one that was asked for, else the local fleet's, the virtual one's, the repository's.

    Raises:
        ConfigurationError: there is none of them.
    """
    own = (workspace.root / folder / "inventory.yml" for folder in ("fleet", "virtual"))
    candidates = (given,) if given else (*own, DEFAULT_INVENTORY)
    for path in candidates:
        if path.exists():
            return path
    raise ConfigurationError(
        "no such inventory",
        where=" and ".join(str(path) for path in candidates),
        remedy="start a local fleet with `toolkit fleet up`, or give --inventory",
    )


def _listing(path: Path, limit: str | None) -> dict[str, Any]:
    """What `ansible-inventory --list` says."""
    command = [*ansible_command("inventory"), "-i", str(path), "--list"]
    if limit is not None:
        command += ["--limit", limit]
    answer = _run(command, path)
    if answer.returncode:
        raise ConfigurationError(
            f"Ansible cannot read it: {_gist(answer.stderr)}",
            where=str(path),
            remedy="check it with: ansible-inventory --list -i " + str(path),
        )
    listing: dict[str, Any] = json.loads(answer.stdout)
    return listing


def _asked(path: Path, limit: str | None, message: str) -> str:
    """What Ansible prints of a message, for each host; nothing is connected to."""
    command = [*ansible_command("adhoc"), "-i", str(path), "all", "-m", "ansible.builtin.debug", "-a", message]
    return _run([*command, *(("--limit", limit) if limit is not None else ())], path).stdout


def _run(command: Sequence[str], path: Path) -> subprocess.CompletedProcess[str]:
    """One of Ansible's commands with the settings that playbooks have which are run from the inventory's folder or the one above."""
    folder = (path if path.is_dir() else path.parent).absolute()
    own = next((place / "ansible.cfg" for place in (folder, folder.parent) if (place / "ansible.cfg").exists()), None)
    settings = ({"ANSIBLE_CONFIG": str(own)} if own else {}) | os.environ | _SETTINGS
    return subprocess.run(command, capture_output=True, text=True, env=settings, check=False, stdin=subprocess.DEVNULL)


def ansible_command(name: str) -> list[str]:
    """The words that run one of Ansible's commands ("inventory", "adhoc", …) in this Python.

    Raises:
        MachineError: Ansible is not installed here.
    """
    if importlib.util.find_spec("ansible") is None:
        raise MachineError("ansible-core is not installed", where=sys.executable, remedy=_MISSING_COMMAND)
    return [sys.executable, "-m", "ansible", name]


def _gist(stderr: str) -> str:
    """The lines that say why, without decoration and repetition."""
    noise = ("<<<", "[WARNING]: No inventory", "(source not shown")
    lines = (line.removeprefix("[ERROR]: ").removeprefix("[WARNING]: ").strip() for line in stderr.splitlines())
    return "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith(noise))) or "no reason given"


def _nobody(path: Path, limit: str | None) -> ConfigurationError:
    if limit is None:
        return ConfigurationError("lists no devices", where=str(path), remedy="add hosts to it")
    known = ", ".join(device.name for device in load_inventory(path))
    return ConfigurationError(f"no device matches --limit {limit!r}", where=str(path), remedy=f"it lists: {known}")


def _hosts_of(group: str, listing: Mapping[str, Any]) -> Iterator[str]:
    """A group's hosts, those of its children included."""
    entry = listing.get(group, {})
    yield from entry.get("hosts", ())
    for child in entry.get("children", ()):
        yield from _hosts_of(child, listing)


def _groups_of(name: str, listing: Mapping[str, Any]) -> tuple[str, ...]:
    """The groups that hold it, at any depth; not those that hold everything or what is left over."""
    groups = (group for group in listing if group not in {"_meta", "all", "ungrouped"})
    return tuple(sorted(group for group in groups if name in _hosts_of(group, listing)))


def _device(
    name: str, values: Mapping[str, Any], groups: tuple[str, ...], path: Path, problems: list[Problem]
) -> Device:
    """One host; what is wrong with its values is added to `problems`."""
    problems += _problems(name, values, path)
    port = str(values.get("ansible_port", 22))
    key = values.get("ansible_ssh_private_key_file")
    return Device(
        name=name,
        host=str(values.get("ansible_host", name)),
        port=int(port) if port.isdigit() else 22,
        user=_text(values.get("ansible_user")),
        key_file=str(Path(str(key)).expanduser()) if key else None,
        known_hosts=_known_hosts(values.get("toolkit_known_hosts"), path),
        groups=groups,
        root=str(values.get("toolkit_root", _DEFAULTS.root)).rstrip("/") or "/",
        python=str(
            values.get("toolkit_python")
            or (SYSTEM_PYTHON if values.get("toolkit_container_image") else _DEFAULTS.python)
        ),
        accelerator=str(values.get("toolkit_accelerator", _DEFAULTS.accelerator)),
        container_image=_text(values.get("toolkit_container_image")) or None,
        variables=dict(values),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _known_hosts(value: object, inventory: Path) -> str | None:
    """Where the host keys are pinned: as given (from the inventory's folder), else the file beside the inventory."""
    folder = inventory if inventory.is_dir() else inventory.parent
    if value:
        return str((folder / Path(str(value)).expanduser()).absolute())
    beside = folder / "known_hosts"
    return str(beside.absolute()) if beside.exists() else None


def _problems(name: str, values: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """What of the variables that the toolkit reads cannot be used."""
    where = f"{path}: {name}"
    port = str(values.get("ansible_port", 22))
    if not (port.isdigit() and 0 < int(port) < 65536):
        yield Problem(f"ansible_port is {port!r}, not a port", where, "give a number from 1 to 65535")
    root = str(values.get("toolkit_root", _DEFAULTS.root))
    if not root.startswith("/"):
        yield Problem(f"toolkit_root is {root!r}", where, "give an absolute path, such as /opt/toolkit")
    accelerator = str(values.get("toolkit_accelerator", _DEFAULTS.accelerator))
    if accelerator not in {"CPU", "MYRIAD", "AUTO"}:
        yield Problem(f"toolkit_accelerator is {accelerator!r}", where, 'give "CPU", "MYRIAD" or "AUTO"')
    container_image = values.get("toolkit_container_image")
    if container_image and not local.is_name(str(container_image)):
        yield Problem(
            f"toolkit_container_image is {container_image!r}",
            where,
            "give NAME:TAG, or REGISTRY/NAME@sha256:… to have it pulled",
        )
