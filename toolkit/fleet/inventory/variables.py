"""What templates and vault-encrypted values of an inventory come to: Ansible itself is asked, for those that the toolkit reads.

`ansible-inventory` prints both as they were written. A vault's password is found as Ansible finds it: ANSIBLE_VAULT_PASSWORD_FILE,
or vault_password_file in ansible.cfg.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Secret
from toolkit.errors import Problem

CONNECTION = ("ansible_host", "ansible_port", "ansible_user", "ansible_ssh_private_key_file", "ansible_timeout")
"""The variables of Ansible's own that the toolkit reads."""
VAULT = "__ansible_vault"

Ask = Callable[[str], str]
"""Gives what `ansible all -m debug` prints for a message."""


def resolve_variables(
    hosts: Mapping[str, Mapping[str, Any]], ask: Ask, where: Path
) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Each host's variables with their values in place of templates and vaults, and what could not be resolved.

    The latter has no value then. Ansible is asked once, and not at all if there is nothing to resolve; `where` is the inventory.
    """
    resolved = {host: dict(values) for host, values in hosts.items()}
    open_names = {
        host: [name for name, value in values.items() if _is_open(name, value)] for host, values in hosts.items()
    }
    names = sorted({name for found in open_names.values() for name in found})
    if not names:
        return resolved, []
    problems = []
    answers = parse(ask(_message(names)))
    for host, wanted in open_names.items():
        said = answers.get(host, {"msg": "Ansible did not answer"})["msg"] if wanted else []
        if isinstance(said, str):
            listed = ", ".join(wanted)
            problems.append(Problem(f"{listed} cannot be read: {_gist(said)}", f"{where}: {host}", _remedy(said)))
        values = dict(zip(names, said, strict=False)) if isinstance(said, list) else {}
        for name in wanted:
            given = resolved[host].pop(name)
            if name in values:
                resolved[host][name] = Secret(values[name]) if isinstance(given, dict) else values[name]
    return resolved, problems


def _is_open(name: str, value: object) -> bool:
    """Whether the toolkit reads it and it is not yet a value."""
    read = name.startswith("toolkit_") or name in CONNECTION
    return read and ("{{" in str(value) or (isinstance(value, dict) and VAULT in value))


def _message(names: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return json.dumps({"msg": f"{{{{ query('vars', {listed}, default='') }}}}"})


def parse(said: str) -> dict[str, dict[str, Any]]:
    """From the output of `ansible`: a JSON object after each "HOST | RESULT => "."""
    decoder = json.JSONDecoder()
    heads = re.finditer(r"^(\S+) \| [\w!]+ => (?=\{)", said, re.MULTILINE)
    return {head.group(1): decoder.raw_decode(said, head.end())[0] for head in heads}


def _gist(message: str) -> str:
    """The last of the reasons that Ansible chains."""
    return re.split(r"(?:failed|template|value for 'msg'|variable): ", message)[-1].strip()


def _remedy(message: str) -> str:
    if "vault" in message or "decrypt" in message.lower():
        return "name the file with the vault's password: ANSIBLE_VAULT_PASSWORD_FILE, or vault_password_file in ansible.cfg"
    return "`ansible all -m debug -a var=NAME` shows what Ansible makes of it"
