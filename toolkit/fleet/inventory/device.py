"""From the variables of an inventory's host to a device, with every value checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Device, Secret
from toolkit.device.runtime import accelerators
from toolkit.errors import Problem
from toolkit.fleet.container_images import local
from toolkit.fleet.inventory.variables import (
    BECOME_PASSWORD,
    HOST,
    KEY_FILE,
    PASSWORD,
    PORT,
    SSH_ARGS,
    USER,
)
from toolkit.fleet.ssh.connection import TRANSPORTS
from toolkit.fleet.ssh.options import split_arguments

SYSTEM_PYTHON = "/usr/bin/python3"
"""Enough to receive and verify releases that run in a container image."""
_DEFAULTS = Device(name="", host="")
_SSH = {"ssh", "smart", "paramiko", "paramiko_ssh"}


def parse_device(
    name: str,
    values: Mapping[str, Any],
    groups: tuple[str, ...],
    inventory: Path,
    settings: Mapping[str, str],
    problems: list[Problem],
) -> Device:
    """Return the device of a host; `settings` are those of ansible.cfg. What is not valid is added to `problems`."""
    problems += _problems(name, values, inventory)
    port = str(_last(values, PORT, settings.get("remote_port", 22)))
    key = _last(values, KEY_FILE, settings.get("private_key_file"))
    image = values.get("toolkit_container_image")
    return Device(
        name=name,
        host=str(_last(values, HOST, name)),
        port=int(port) if port.isdigit() else 22,
        user=_text(_last(values, USER, settings.get("remote_user"))),
        key_file=str(Path(str(key)).expanduser()) if key else None,
        known_hosts=_known_hosts(values.get("toolkit_known_hosts"), inventory),
        password=_secret(_last(values, PASSWORD)),
        become_password=_secret(_last(values, BECOME_PASSWORD)),
        ssh_args=_ssh_args(values, settings),
        connection="local" if _connection(values) == "local" else "ssh",
        groups=groups,
        root=str(values.get("toolkit_root", _DEFAULTS.root)).rstrip("/") or "/",
        python=str(values.get("toolkit_python") or (SYSTEM_PYTHON if image else _DEFAULTS.python)),
        accelerator=str(values.get("toolkit_accelerator", _DEFAULTS.accelerator)),
        container_image=_text(image) or None,
        variables={key: _masked(key, value) for key, value in values.items()},
    )


def _last(values: Mapping[str, Any], names: tuple[str, ...], default: object = None) -> object:
    """Return the value of the last of a setting's names that is set, as Ansible does."""
    return next((values[name] for name in reversed(names) if name in values), default)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _secret(value: object) -> Secret | None:
    return None if value is None else Secret(value)


def _masked(name: str, value: object) -> object:
    return Secret(value) if name in {*PASSWORD, *BECOME_PASSWORD} else value


def _connection(values: Mapping[str, Any]) -> str:
    return str(values.get("ansible_connection", "ssh")).rpartition(".")[2]


def _ssh_args(values: Mapping[str, Any], settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return all arguments of ssh, those of a host before those of ansible.cfg for each variable."""
    texts = (str(values.get(name, settings.get(name.removeprefix("ansible_"), ""))) for name in SSH_ARGS)
    try:
        return tuple(argument for text in texts for argument in split_arguments(text))
    except ValueError:
        return ()  # reported by _problems


def _known_hosts(value: object, inventory: Path) -> str | None:
    """Return the file of pinned host keys: the given one, relative to the inventory's folder, else the one beside it."""
    folder = inventory if inventory.is_dir() else inventory.parent
    if value:
        return str((folder / Path(str(value)).expanduser()).absolute())
    beside = folder / "known_hosts"
    return str(beside.absolute()) if beside.exists() else None


def _problems(name: str, values: Mapping[str, Any], inventory: Path) -> Iterator[Problem]:
    """Yield a problem for each variable whose value is not valid."""
    where = f"{inventory}: {name}"
    port = str(_last(values, PORT, 22))
    if not (port.isdigit() and 0 < int(port) < 65536):
        yield Problem(f"ansible_port is {port!r}, not a port", where, "give a number from 1 to 65535")
    if _connection(values) not in {"local", *_SSH}:
        what = f"ansible_connection is {values['ansible_connection']!r}, which the toolkit cannot use"
        yield Problem(what, where, 'give "ssh" or "local"')
    for option in SSH_ARGS:
        yield from _argument_problems(option, str(values.get(option, "")), where)
    transport = str(values.get("toolkit_ssh_transport", "auto"))
    if transport not in TRANSPORTS:
        yield Problem(f"toolkit_ssh_transport is {transport!r}", where, f"give one of {', '.join(TRANSPORTS)}")
    root = str(values.get("toolkit_root", _DEFAULTS.root))
    if not root.startswith("/"):
        yield Problem(f"toolkit_root is {root!r}", where, "give an absolute path, such as /opt/toolkit")
    accelerator = str(values.get("toolkit_accelerator", _DEFAULTS.accelerator))
    if accelerator not in accelerators.CHOICES:
        yield Problem(f"toolkit_accelerator is {accelerator!r}", where, f"use one of {', '.join(accelerators.CHOICES)}")
    image = values.get("toolkit_container_image")
    if image and not local.is_name(str(image)):
        remedy = "give NAME:TAG, or REGISTRY/NAME@sha256:… to have it pulled"
        yield Problem(f"toolkit_container_image is {image!r}", where, remedy)


def _argument_problems(option: str, text: str, where: str) -> Iterator[Problem]:
    try:
        split_arguments(text)
    except ValueError as error:
        yield Problem(f"{option} cannot be split into arguments: {error}", where, "close its quotes")
