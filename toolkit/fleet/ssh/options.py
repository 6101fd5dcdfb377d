"""The SSH options of an inventory: the arguments of `ssh`, and whether fabric supports them.

Arguments come from ansible_ssh_args, ansible_ssh_common_args and ansible_ssh_extra_args. Host keys are checked in any case:
StrictHostKeyChecking and BatchMode of the inventory have no effect.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from toolkit.artifacts.fleet import Device

_SHARING = {"controlmaster", "controlpersist", "controlpath"}
"""Options of Ansible's own connection sharing; the toolkit has its own."""
_FOLLOWED = _SHARING | {
    "stricthostkeychecking",
    "userknownhostsfile",
    "batchmode",
    "connecttimeout",
    "passwordauthentication",
    "serveraliveinterval",
    "serveralivecountmax",
    "identitiesonly",
    "preferredauthentications",
    "kbdinteractiveauthentication",
    "loglevel",
    "compression",
}
"""Options that fabric follows, or that make no difference to it."""
_PARAMETERS = "BbcDEeFIiJLlmOopQRSWw"
"""The options of ssh(1) that have a parameter."""
_KEY_MAGIC = b"openssh-key-v1\0"


def openssh_options(device: Device) -> list[str]:
    """Return the arguments of `ssh` for a device; of an option that is given twice, ssh takes the first."""
    arguments = ["-o", "StrictHostKeyChecking=yes", "-o", "ControlPersist=no", "-o", "ForwardAgent=no"]
    if not device.variables.get("toolkit_ssh_config") and not any(flag == "-F" for flag, _ in parse(device.ssh_args)):
        arguments += ["-F", "none"]
    if device.known_hosts is not None:
        arguments += ["-o", f'UserKnownHostsFile="{device.known_hosts}"', "-o", "GlobalKnownHostsFile=/dev/null"]
    if device.password is None:
        arguments += ["-o", "BatchMode=yes"]
    else:
        arguments += ["-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"]
        arguments += ["-o", "PasswordAuthentication=yes", "-o", "KbdInteractiveAuthentication=yes"]
    if device.key_file is not None:
        arguments += ["-i", device.key_file, "-o", "IdentitiesOnly=yes"]
    if device.user is not None:
        arguments += ["-l", device.user]
    if device.port != 22 or not _sets_port(device):
        arguments += ["-p", str(device.port)]
    arguments += ["-o", f"ConnectTimeout={max(1, round(device.connect_timeout_s))}"]
    arguments += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    for flag, value in parse(device.ssh_args):
        if flag == "-o" and value and _option_name(value) not in _SHARING | {"stricthostkeychecking", "batchmode"}:
            arguments += ["-o", value]
        elif flag not in {"-o", "-S", "-M", "-N", "-n", "-f", "-t", "-T"}:
            arguments += [flag] if value is None else [flag, value]
    return arguments


def parse(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield (flag, value) of the arguments of `ssh`, such as ("-o", "ProxyJump=gate") and ("-C", None)."""
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith("-") or len(argument) < 2:
            continue
        for position, letter in enumerate(argument[1:], start=1):
            if letter in _PARAMETERS:
                yield f"-{letter}", argument[position + 1 :] or next(remaining, "")
                break
            yield f"-{letter}", None


def split_arguments(text: str) -> tuple[str, ...]:
    """Return the words of an inventory's arguments.

    Raises:
        ValueError: a quote is not closed.
    """
    return tuple(shlex.split(text))


def known_hosts_files(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the files of host keys that arguments of `ssh` name (UserKnownHostsFile)."""
    values = (value for flag, value in parse(arguments) if flag == "-o" and _option_name(value) == "userknownhostsfile")
    first = _split_value(next(values, None))[-1]
    try:
        return split_arguments(first)
    except ValueError:  # ssh reports it
        return (first,)


def _sets_port(device: Device) -> bool:
    return any(flag == "-p" or _option_name(value) == "port" for flag, value in parse(device.ssh_args))


def _split_value(value: str | None) -> list[str]:
    """Return an option's name and value, such as ["ProxyJump", "gate"] for "ProxyJump=gate"."""
    return re.split(r"[=\s]+", (value or "").strip(), maxsplit=1)


def _option_name(value: str | None) -> str:
    return _split_value(value)[0].lower()


def needs_openssh(device: Device) -> str:
    """Return why a device has to be reached by the program `ssh`, or "" if fabric can do it."""
    return next(_reasons(device), "")


def _reasons(device: Device) -> Iterator[str]:
    for flag, value in parse(device.ssh_args):
        name = _option_name(value) if flag == "-o" else ""
        if flag == "-o" and name not in _FOLLOWED:
            yield f"the inventory sets {_split_value(value)[0]}"
        if flag in {"-J", "-i", "-I", "-b", "-B", "-c", "-m", "-W", "-w", "-4", "-6", "-l", "-p"}:
            yield f"the inventory sets {flag}"
        if flag == "-F" and value not in {"none", "/dev/null"}:
            yield f"the inventory names the configuration {value}"
    if device.ssh_program != "ssh":
        yield f"the inventory names the program {device.ssh_program}"
    if device.variables.get("toolkit_ssh_config"):
        yield "toolkit_ssh_config is set"
    if device.known_hosts is None and known_hosts_files(device.ssh_args):
        yield "the inventory names several files of host keys"
    if device.known_hosts is not None and _has_patterns(device.known_hosts, _changed_ns(device.known_hosts)):
        yield "known_hosts has markers or patterns"
    if device.key_file is not None and (kind := _special_key(Path(device.key_file))):
        yield f"its key is {kind}"


def _changed_ns(path: str) -> int:
    return Path(path).stat().st_mtime_ns if Path(path).exists() else 0


@lru_cache(maxsize=8)
def _has_patterns(known_hosts: str, changed_ns: int) -> bool:
    """Return whether a known_hosts file holds what paramiko does not read: markers, wildcards, negations."""
    if not changed_ns:
        return False
    text = Path(known_hosts).read_text(encoding="utf-8-sig", errors="replace")
    hosts = (line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return text.startswith("\ufeff") or any(host.startswith("@") or re.search(r"[*?!]", host) for host in hosts)


def _special_key(path: Path) -> str:
    """Return what a key file is that paramiko cannot use by itself; "" for a plain private key."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    if text.startswith(("ssh-", "ecdsa-", "sk-")):
        return "a public key, whose private half an agent holds"
    if "ENCRYPTED" in text:
        return "encrypted"
    match = re.search(r"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", text, re.DOTALL)
    try:
        content = base64.b64decode(match[1]) if match else b""
    except binascii.Error:
        return ""
    if content.startswith(_KEY_MAGIC) and not content.startswith(_KEY_MAGIC + b"\0\0\0\4none"):
        return "encrypted"
    return "a security key" if b"sk-ssh-" in content or b"sk-ecdsa-" in content else ""
