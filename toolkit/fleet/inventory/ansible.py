"""Run Ansible's commands on an inventory, and read the connection settings of ansible.cfg."""

from __future__ import annotations

import configparser
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import MachineError

_SETTINGS = {
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_NOCOLOR": "1",
}
_MISSING_COMMAND = "install the extra: pip install 'edge-vision-toolkit[fleet]'"
CONNECTION_SETTINGS = {
    "remote_user": ("defaults", "ANSIBLE_REMOTE_USER"),
    "remote_port": ("defaults", "ANSIBLE_REMOTE_PORT"),
    "private_key_file": ("defaults", "ANSIBLE_PRIVATE_KEY_FILE"),
    "ssh_args": ("ssh_connection", "ANSIBLE_SSH_ARGS"),
    "ssh_common_args": ("ssh_connection", "ANSIBLE_SSH_COMMON_ARGS"),
    "ssh_extra_args": ("ssh_connection", "ANSIBLE_SSH_EXTRA_ARGS"),
    "ssh_executable": ("ssh_connection", "ANSIBLE_SSH_EXECUTABLE"),
    "pkcs11_provider": ("ssh_connection", "ANSIBLE_PKCS11_PROVIDER"),
    "timeout": ("defaults", "ANSIBLE_TIMEOUT"),
    "transport": ("defaults", "ANSIBLE_TRANSPORT"),
    "connection_password_file": ("defaults", "ANSIBLE_CONNECTION_PASSWORD_FILE"),
    "become_password_file": ("defaults", "ANSIBLE_BECOME_PASSWORD_FILE"),
}
_PATHS = {"private_key_file", "connection_password_file", "become_password_file"}
"""Ansible takes their quotes for a part of the name."""
"""Settings of ansible.cfg: the section of each, and the environment variable that goes first."""


def ansible_command(name: str) -> list[str]:
    """Return the argument vector of one of Ansible's commands ("inventory", "adhoc", …) in this Python.

    Raises:
        MachineError: Ansible is not installed.
    """
    if importlib.util.find_spec("ansible") is None:
        raise MachineError("ansible-core is not installed", where=sys.executable, remedy=_MISSING_COMMAND)
    return [sys.executable, "-m", "ansible", name]


def run_ansible(name: str, inventory: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's commands on an inventory, as if beside the playbooks that belong to it."""
    command = [*ansible_command(name), "-i", str(inventory), *arguments]
    if playbooks := _playbook_folder(inventory):
        command += ["--playbook-dir", str(playbooks)]
    config = configuration(inventory)
    environment = os.environ | _SETTINGS | ({"ANSIBLE_CONFIG": str(config)} if config else {})
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, stdin=subprocess.DEVNULL
    )


def connection_settings(inventory: Path) -> dict[str, str]:
    """Return what the environment and ansible.cfg set of CONNECTION_SETTINGS. Paths of the file start at its folder."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=(";",))
    config = configuration(inventory)
    if config:
        parser.read(config, encoding="utf-8-sig")
    values = {}
    for name, (section, variable) in CONNECTION_SETTINGS.items():
        value = str(parser.get(section, name, fallback=""))
        if name not in _PATHS:
            value = _unquoted(value)
        elif config and value:
            value = str(config.absolute().parent / Path(os.path.expandvars(value)).expanduser())
        values[name] = os.environ.get(variable) or value
    return {name: value for name, value in values.items() if value}


def _unquoted(value: str) -> str:
    """Return a value of ansible.cfg without the quotes around the whole of it."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def is_host_list(inventory: Path) -> bool:
    """Return whether the inventory is a list of hosts, such as "pi-1,pi-2" or "pi-1,"."""
    return "," in str(inventory) and not inventory.exists()


def _folder(inventory: Path) -> Path:
    return (inventory if inventory.is_dir() else inventory.parent).absolute()


def _playbook_folder(inventory: Path) -> Path | None:
    """Return the folder beside or above the inventory whose group_vars or host_vars belong to the playbooks."""
    folder = _folder(inventory)
    names = ("group_vars", "host_vars")
    return next((place for place in (folder.parent, folder) if any((place / name).is_dir() for name in names)), None)


def _own_config(inventory: Path) -> Path | None:
    """Return the ansible.cfg of the inventory's folder or of the one above it."""
    folder = _folder(inventory)
    return next((place / "ansible.cfg" for place in (folder, folder.parent) if (place / "ansible.cfg").exists()), None)


def configuration(inventory: Path) -> Path | None:
    """Return the configuration file that Ansible reads; one that lies by the inventory goes before the user's own."""
    if named := os.environ.get("ANSIBLE_CONFIG"):
        return Path(named) / "ansible.cfg" if Path(named).is_dir() else Path(named)
    here, *users = (Path("ansible.cfg"), Path.home() / ".ansible.cfg", Path("/etc/ansible/ansible.cfg"))
    places = (here, _own_config(inventory), *users)
    return next((place for place in places if place is not None and place.exists()), None)
