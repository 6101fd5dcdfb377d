"""Resolve templates and vault-encrypted variables of an inventory with Ansible itself.

`ansible-inventory` prints both unresolved. The vault password comes from ANSIBLE_VAULT_PASSWORD_FILE, or from
vault_password_file in ansible.cfg.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Secret
from toolkit.errors import Problem

HOST = ("ansible_host", "ansible_ssh_host")
PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
KEY_FILE = ("ansible_private_key_file", "ansible_ssh_private_key_file")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
BECOME_PASSWORD = ("ansible_sudo_pass", "ansible_become_pass", "ansible_become_password")
SSH_ARGS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
PROGRAM = ("ansible_ssh_executable",)
PKCS11 = ("ansible_ssh_pkcs11_provider",)
CONNECTION = ("ansible_connection",)
"""The names of one setting each; of several that are set, Ansible takes the last."""
UNFOLLOWED = {
    "ansible_private_key": "name the key's file: ansible_ssh_private_key_file",
    "ansible_ssh_private_key": "name the key's file: ansible_ssh_private_key_file",
}
"""Variables that say how to connect and that the toolkit cannot follow, each with the remedy."""
READ = {
    *HOST,
    *PORT,
    *USER,
    *KEY_FILE,
    *PASSWORD,
    *BECOME_PASSWORD,
    *SSH_ARGS,
    *TIMEOUT,
    *PROGRAM,
    *PKCS11,
    *CONNECTION,
}
"""Ansible's own variables that the toolkit reads."""
UNSAFE = "__ansible_unsafe"
VAULT = "__ansible_vault"

Ask = Callable[[str], str]
"""Returns what `ansible all -m debug` prints for a message."""


def unwrap(value: Any) -> Any:
    """Return a value of `ansible-inventory --list` with `!unsafe` texts as plain ones."""
    if isinstance(value, dict):
        if set(value) == {UNSAFE}:
            return value[UNSAFE]
        return {key: unwrap(item) for key, item in value.items()}
    return [unwrap(item) for item in value] if isinstance(value, list) else value


def resolve_variables(
    hosts: Mapping[str, Mapping[str, Any]], ask: Ask, where: Path
) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Return each host's variables with templates and vaults resolved, and a problem for each that cannot be.

    A variable that cannot be resolved is left out. Ansible is run once, or not at all if there is nothing to resolve; `where`
    is the inventory.
    """
    resolved = {host: dict(values) for host, values in hosts.items()}
    unresolved = {
        host: [name for name, value in values.items() if _is_unresolved(name, value)] for host, values in hosts.items()
    }
    names = sorted({name for each in unresolved.values() for name in each})
    if not names:
        return resolved, []
    problems = []
    answers = parse(ask(_message(names)))
    for host, own in unresolved.items():
        answer = answers.get(host, {"msg": "Ansible did not answer"})["msg"] if own else []
        if isinstance(answer, str):
            what = f"{', '.join(own)} cannot be read: {_reason(answer)}"
            problems.append(Problem(what, f"{where}: {host}", _remedy(answer)))
        values = dict(zip(names, answer, strict=False)) if isinstance(answer, list) else {}
        for name in own:
            written = resolved[host].pop(name)
            if name in values:
                resolved[host][name] = Secret(values[name]) if isinstance(written, dict) else values[name]
    return resolved, problems


def _is_unresolved(name: str, value: object) -> bool:
    """Return whether the toolkit reads the variable and it is a template or vault-encrypted."""
    is_read = name.startswith("toolkit_") or name in READ
    return is_read and ("{{" in str(value) or (isinstance(value, dict) and VAULT in value))


def _message(names: Sequence[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return json.dumps({"msg": f"{{{{ query('vars', {quoted}, default='') }}}}"})


def parse(output: str) -> dict[str, dict[str, Any]]:
    """Parse the output of `ansible`: a JSON object after each "HOST | RESULT => "."""
    decoder = json.JSONDecoder()
    heads = re.finditer(r"^(\S+) \| [\w!]+ => (?=\{)", output, re.MULTILINE)
    return {head.group(1): decoder.raw_decode(output, head.end())[0] for head in heads}


def _reason(message: str) -> str:
    """Return the last of the reasons that Ansible chains."""
    return re.split(r"(?:failed|template|value for 'msg'|variable): ", message)[-1].strip()


def _remedy(message: str) -> str:
    if "vault" in message or "decrypt" in message.lower():
        return "name the file with the vault's password: ANSIBLE_VAULT_PASSWORD_FILE, or vault_password_file in ansible.cfg"
    return "`ansible all -m debug -a var=NAME` shows what Ansible makes of it"
