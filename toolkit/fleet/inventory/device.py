"""Create a device from the variables of an inventory's host, with every value checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Device, Secret
from toolkit.device.runtime import accelerators
from toolkit.errors import Problem
from toolkit.fleet.container_images import local
from toolkit.fleet.inventory.passwords import Passwords
from toolkit.fleet.inventory.variables import (
    BECOME_PASSWORD,
    CONNECTION,
    HOST,
    KEY_FILE,
    PASSWORD,
    PKCS11,
    PORT,
    PROGRAM,
    SSH_ARGS,
    TIMEOUT,
    UNFOLLOWED,
    USER,
)
from toolkit.fleet.ssh.connection import TRANSPORTS
from toolkit.fleet.ssh.options import known_hosts_files, split_arguments

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
    passwords: Passwords,
    problems: list[Problem],
) -> Device:
    """Return the device of a host; `settings` are those of ansible.cfg. What is not valid is added to `problems`.

    `passwords` are of hosts for which the inventory has none.
    """
    connection = str(_last(values, CONNECTION, settings.get("transport", "ssh"))).rpartition(".")[2]
    problems += _problems(name, values, connection, inventory)
    arguments = _ssh_args(values, settings)
    port = str(_last(values, PORT, settings.get("remote_port", 22)))
    key = _last(values, KEY_FILE, settings.get("private_key_file"))
    image = values.get("toolkit_container_image")
    return Device(
        name=name,
        host=str(_last(values, HOST, name)),
        port=int(port) if port.isdigit() else 22,
        user=_text(_last(values, USER, settings.get("remote_user"))),
        key_file=str(Path(str(key)).expanduser()) if key else None,
        known_hosts=_known_hosts(values.get("toolkit_known_hosts"), arguments, inventory),
        password=_secret(_last(values, PASSWORD, passwords.login)),
        become_password=_secret(_last(values, BECOME_PASSWORD, passwords.become)),
        ssh_args=arguments,
        ssh_program=_text(_last(values, PROGRAM, settings.get("ssh_executable"))) or "ssh",
        connect_timeout_s=_seconds(_last(values, TIMEOUT, settings.get("timeout"))) or _DEFAULTS.connect_timeout_s,
        connection="local" if connection == "local" else "ssh",
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


def _seconds(value: object) -> float | None:
    """Return a positive number of seconds; None for anything else, which _problems reports."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None


def _ssh_args(values: Mapping[str, Any], settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return all arguments of ssh, those of a host before those of ansible.cfg for each variable."""
    texts = (str(values.get(name, settings.get(name.removeprefix("ansible_"), ""))) for name in SSH_ARGS)
    provider = _last(values, PKCS11, settings.get("pkcs11_provider"))
    own = ("-o", f"PKCS11Provider={provider}") if provider else ()
    try:
        return (*own, *(argument for text in texts for argument in split_arguments(text)))
    except ValueError:
        return ()  # reported by _problems


def _known_hosts(value: object, arguments: tuple[str, ...], inventory: Path) -> str | None:
    """Return the file of pinned host keys: the given one, the one that ssh's arguments name, or the one beside the inventory.

    The given one is relative to the inventory's folder. None where the arguments name several.
    """
    folder = inventory if inventory.is_dir() else inventory.parent
    if value:
        return str((folder / Path(str(value)).expanduser()).absolute())
    if named := known_hosts_files(arguments):
        return str(Path(named[0]).expanduser().absolute()) if len(named) == 1 and "%" not in named[0] else None
    known_hosts = folder / "known_hosts"
    return str(known_hosts.absolute()) if known_hosts.exists() else None


def _problems(name: str, values: Mapping[str, Any], connection: str, inventory: Path) -> Iterator[Problem]:
    """Yield a problem for each variable whose value is not valid."""
    where = f"{inventory}: {name}"
    port = str(_last(values, PORT, 22))
    if not (port.isdigit() and 0 < int(port) < 65536):
        yield Problem(f"ansible_port is {port!r}, not a port", where, "give a number from 1 to 65535")
    if connection not in {"local", *_SSH}:
        what = f"ansible_connection is {connection!r}, which the toolkit cannot use"
        yield Problem(what, where, 'give "ssh" or "local"')
    timeout = _last(values, TIMEOUT)
    if timeout is not None and _seconds(timeout) is None:
        yield Problem(f"{TIMEOUT[-1]} is {timeout!r}, not a time", where, "give a number of seconds")
    for option in UNFOLLOWED.keys() & values.keys():
        yield Problem(f"{option} is set, which the toolkit cannot follow", where, UNFOLLOWED[option])
    for option in SSH_ARGS:
        yield from _argument_problems(option, str(values.get(option, "")), where)
    transport = str(values.get("toolkit_ssh_transport", "auto"))
    if transport not in TRANSPORTS:
        yield Problem(f"toolkit_ssh_transport is {transport!r}", where, f"give one of {', '.join(TRANSPORTS)}")
    root = str(values.get("toolkit_root", _DEFAULTS.root))
    if not root.startswith("/"):
        yield Problem(f"toolkit_root is {root!r}", where, f"give an absolute path, such as {_DEFAULTS.root}")
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
