"""Situations in which a device is reached by SSH, or refused: each is asked by Ansible and by the toolkit, in one run of either.

All servers are OpenSSH's, each with a configuration of its own, except for passwords: those need an account that has one, so
a server of asyncssh answers there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.fleet import load_inventory
from toolkit.fleet.inventory.ansible import ansible_command

from .servers import PASSWORD, SERVERS, USER, agent, home_of_keys, keygen, password_server, sshd, write_programs

pytestmark = pytest.mark.openssh


@dataclass(frozen=True)
class Situation:
    """What an inventory says of a host, and what comes of it."""

    name: str
    server: str = "plain"
    variables: dict[str, Any] = field(default_factory=dict)
    """In place of the defaults; None removes one. {home} is the folder of keys, {port} the server's, {proxy} a ProxyCommand."""
    refused: str = ""
    """What the toolkit says; empty where both reach it."""
    transport: str = ""
    """How the toolkit's reason for its transport begins."""
    ansible: bool | None = None
    """Whether Ansible reaches it, where that differs."""


COMMON = "ansible_ssh_common_args"
KEY = "ansible_ssh_private_key_file"
NOT_REFUSED = "unknown hosts are refused"
TABLE = [
    Situation("plain", transport="fabric"),
    Situation("localhost", variables={"ansible_host": "localhost"}, transport="fabric"),
    Situation("old-host-and-port", variables={"ansible_host": None, "ansible_port": None, "ansible_ssh_host": "127.0.0.1", "ansible_ssh_port": "{port}"}),
    Situation("old-user", variables={"ansible_user": None, "ansible_ssh_user": USER}),
    Situation("two-hosts", variables={"ansible_host": "192.0.2.1", "ansible_ssh_host": "127.0.0.1"}),
    Situation("two-users", variables={"ansible_user": "nobody-here", "ansible_ssh_user": USER}),
    Situation("new-key-variable", variables={KEY: None, "ansible_private_key_file": "{home}/ed25519"}),
    Situation("template", variables={"own_port": "{port}", "ansible_port": "{{{{ own_port }}}}"}),
    Situation("unsafe", variables={"ansible_user": "!unsafe"}),
    Situation("timeout", variables={"ansible_timeout": 7}, transport="fabric"),
    Situation("local", variables={"ansible_connection": "local"}, transport="local"),
    Situation("ecdsa-key", variables={KEY: "{home}/ecdsa"}, transport="fabric"),
    Situation("rsa-key", variables={KEY: "{home}/rsa"}, transport="fabric"),
    Situation("pem-key", variables={KEY: "{home}/pem"}, transport="fabric"),
    Situation("pkcs8-key", variables={KEY: "{home}/pkcs8"}, transport="openssh: paramiko failed"),
    Situation("user-certificate", "trusts-ca", {KEY: "{home}/certified"}),
    Situation("proxy-command", variables={COMMON: "-o ProxyCommand='{proxy}'"}, transport="openssh: the inventory sets ProxyCommand"),
    Situation("extra-args", variables={"ansible_ssh_extra_args": "-o ProxyCommand='{proxy}'"}, transport="openssh: the inventory sets ProxyCommand"),
    Situation("proxy-jump", variables={COMMON: "-F {home}/config -J gate"}, transport="openssh"),
    Situation("own-config", variables={"ansible_host": "behind", COMMON: "-F {home}/config"}, transport="openssh: the inventory names the configuration"),
    Situation("proxy-fails", variables={COMMON: "-o ProxyCommand=/bin/false"}, refused="SSH failed"),
    Situation("identity-agent", variables={KEY: None, COMMON: "-o IdentityAgent={home}/agent"}, transport="openssh: the inventory sets IdentityAgent"),
    Situation("key-in-agent", variables={KEY: "{home}/locked", COMMON: "-o IdentityAgent={home}/agent"}, transport="openssh: the inventory sets IdentityAgent"),
    Situation("public-half", variables={KEY: "{home}/locked.pub", COMMON: "-o IdentityAgent={home}/agent"}, transport="openssh"),
    Situation("agent-of-the-user", variables={KEY: None}, transport="fabric"),
    Situation("many-keys", "few-tries", {KEY: None, COMMON: "-o IdentityAgent={home}/full-agent"}, refused="the agent offers too many keys"),
    Situation("many-keys-one-named", "few-tries", {COMMON: "-o IdentityAgent={home}/full-agent -o IdentitiesOnly=yes"}),
    Situation("locked-key", variables={KEY: "{home}/locked", COMMON: "-o IdentityAgent=none"}, refused="was refused"),
    Situation("no-key", variables={KEY: "{home}/missing", COMMON: "-o IdentityAgent=none"}, refused="was refused"),
    Situation("wrong-key", variables={KEY: "{home}/stranger"}, refused="with .*stranger was refused", ansible=True),  # by the agent
    Situation("wrong-user", variables={"ansible_user": "nobody-here"}, refused="login as nobody-here with .* was refused"),
    Situation("keys-forbidden", "no-keys", refused="was refused"),
    Situation("closed-port", variables={"ansible_port": 1}, refused="refuses connections"),
    Situation("unknown-name", variables={"ansible_host": "no-such-host.invalid"}, refused="cannot be resolved"),
    Situation("unknown-host-key", variables={"pinned": "empty"}, refused=NOT_REFUSED),
    Situation("changed-host-key", variables={"pinned": "changed"}, refused="another machine answers"),
    Situation("revoked-host-key", variables={"pinned": "revoked"}, refused="is revoked in known_hosts"),
    Situation("certified-host", "certified", {"pinned": "authority"}, transport="openssh: known_hosts has markers"),
    Situation("wildcard", variables={"pinned": "wildcard"}, transport="openssh: known_hosts has markers or patterns"),
    Situation("hashed", variables={"pinned": "hashed"}, transport="fabric"),
    Situation("byte-order-mark", variables={"pinned": "bom"}),
    Situation("other-kinds-pinned", "ed25519-and-rsa", {"pinned": "rsa-and-ecdsa"}, transport="fabric"),
    Situation("rsa-pinned", "three-keys", {"pinned": "rsa"}, transport="fabric"),
    Situation("host-key-alias", variables={"pinned": "alias", COMMON: "-o HostKeyAlias=kitchen"}, transport="openssh"),
    Situation("checks-switched-off", variables={"pinned": "empty", COMMON: "-o StrictHostKeyChecking=no"}, refused=NOT_REFUSED, ansible=True),
    Situation("one-session", "one-session", transport="fabric"),
    Situation("one-session-by-ssh", "one-session", {"toolkit_ssh_transport": "openssh"}, transport="openssh: toolkit_ssh_transport"),
    Situation("chacha", "chacha"),
    Situation("no-forwarding", "no-forwarding", transport="fabric"),
    Situation("noisy", "noisy", transport="fabric"),
    Situation("noisy-by-ssh", "noisy", {"toolkit_ssh_transport": "openssh"}),
    Situation("port-in-args", variables={"ansible_port": None, COMMON: "-o Port={port}"}, transport="openssh: the inventory sets Port"),
    Situation("user-in-args", variables={"ansible_user": None, COMMON: f"-o User={USER}"}, transport="openssh: the inventory sets User"),
    Situation("ciphers", variables={COMMON: "-o Ciphers=aes128-ctr"}, transport="openssh: the inventory sets Ciphers"),
    Situation("key-in-args", variables={KEY: None, COMMON: "-i {home}/ed25519"}, transport="openssh: the inventory sets -i"),
    Situation("identity-file", variables={KEY: None, COMMON: "-o IdentityFile={home}/ed25519"}, transport="openssh: the inventory sets IdentityFile"),
    Situation("login-in-args", variables={"ansible_user": None, COMMON: f"-l {USER}"}, transport="openssh: the inventory sets -l"),
    Situation("own-ssh-args", variables={"ansible_ssh_args": "-C -o ServerAliveInterval=5"}, transport="fabric"),
    Situation("host-name-in-args", variables={"ansible_host": "pi.invalid", COMMON: "-o HostName=127.0.0.1 -o CheckHostIP=no -o HostKeyAlias=[127.0.0.1]:{port}"}, transport="openssh"),
    Situation("timeout-of-ssh", variables={"ansible_ssh_timeout": 7}, transport="fabric"),
    Situation("own-ssh-program", variables={"ansible_ssh_executable": "{home}/own-ssh"}, transport="openssh: the inventory names the program"),
    Situation("pinned-in-args", variables={"toolkit_known_hosts": None}, transport="fabric"),
    Situation("pinned-nowhere-but-in-args", variables={"pinned": "empty", "toolkit_known_hosts": None}, refused=NOT_REFUSED),
    Situation("two-files-of-host-keys", variables={"toolkit_known_hosts": None, COMMON: "-o 'UserKnownHostsFile={home}/none {home}/pinned-all'"}, transport="openssh: the inventory names several files"),
    Situation("negated", variables={"pinned": "negated"}, refused=NOT_REFUSED),
    Situation("tcsh", "tcsh", transport="fabric"),
    Situation("tcsh-by-ssh", "tcsh", {"toolkit_ssh_transport": "openssh"}),
    Situation("fish", "fish", transport="fabric"),
    Situation("password", "password", {KEY: None, "ansible_password": PASSWORD, "ansible_user": "pi"}, transport="fabric"),
    Situation("password-by-ssh", "password", {KEY: None, "ansible_password": PASSWORD, "ansible_user": "pi", "toolkit_ssh_transport": "openssh"}),
    Situation("wrong-password", "password", {KEY: None, "ansible_ssh_pass": "guess", "ansible_user": "pi"}, refused="the inventory's password was refused"),
]  # fmt: skip


@dataclass(frozen=True)
class Outcomes:
    """What Ansible and the toolkit said of every situation."""

    ansible: dict[str, bool]
    output: str
    transports: dict[str, str]
    problems: dict[str, str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        home = stack.enter_context(home_of_keys("situations"))
        write_programs(home)
        ports = {name: stack.enter_context(sshd(home, name, *server)) for name, server in SERVERS.items()}
        ports["password"] = stack.enter_context(password_server(home))
        for name, keys in (("agent", ["locked"]), ("full-agent", ["stranger", "other", "third", "ed25519"])):
            stack.enter_context(agent(home, name, keys))
        stack.enter_context(agent(home, "user-agent", ["ed25519"]))
        (home / "config").write_text(_config(home, ports["plain"]))
        (home / "user").mkdir()
        for name, value in (("HOME", home / "user"), ("SSH_AUTH_SOCK", home / "user-agent")):
            patch.setenv(name, str(value))
        patch.delenv("ANSIBLE_CONFIG", raising=False)
        inventory.write_text(_inventory(home, ports))
        yield _ask_both(inventory)


def _ask_both(inventory: Path) -> Outcomes:
    command = [*ansible_command("adhoc"), "-i", str(inventory), "all", "-m", "ping", "-f", "8"]
    settings = {
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",  # else hosts with one address share a connection
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_PASSWORD_MECHANISM": "ssh_askpass",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # ssh calls `ansible` for the password
    }
    devices = load_inventory(inventory)

    def ask(device: Device) -> str:
        with fleet.connect(device) as shell, shell.background("echo ready; cat > /dev/null") as line:
            assert line == "ready"
            result = shell.run(["printf", "%s|", "it's", "a\nb", "!"], stdin=b"unread")
            assert (result.stdout, result.code) == ("it's|a\nb|!|", 0), result
            return shell.transport

    result = fleet.fan_out(devices, ask, 4)
    # second, because without host key checks it pins what it sees
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=inventory.parent, env=os.environ | settings
    )
    reached = {device.name: f"{device.name} | SUCCESS" in done.stdout for device in devices}
    transports = {device.name: transport for device, transport in result.ok.items()}
    problems = {device.name: problem.what for device, problem in result.failed.items()}
    return Outcomes(reached, done.stdout + done.stderr, transports, problems)


@pytest.mark.parametrize("situation", TABLE, ids=lambda situation: situation.name)
def test_ansible_and_the_toolkit_agree(outcomes: Outcomes, situation: Situation) -> None:
    import re

    problem = outcomes.problems.get(situation.name, "")
    expected = situation.ansible if situation.ansible is not None else not situation.refused
    assert outcomes.ansible[situation.name] == expected, outcomes.output
    if situation.refused:
        assert re.search(situation.refused, problem), problem
        assert "Error" not in problem
        assert "Exception" not in problem
        assert "\n" not in problem
    else:
        assert not problem
        assert outcomes.transports[situation.name].startswith(situation.transport)


def test_situations_are_at_least_forty() -> None:
    assert len(TABLE) >= 40


def _config(home: Path, port: int) -> str:
    common = f"  User {USER}\n  Port {port}\n  IdentityFile {home}/ed25519\n  UserKnownHostsFile {home}/pinned-all\n"
    own = f"  HostName 127.0.0.1\n{common}"
    return f"Host gate\n{own}Host behind\n{own}  HostKeyAlias [127.0.0.1]:{port}\n  CheckHostIP no\n"


def _inventory(home: Path, ports: dict[str, int]) -> str:
    """JSON is YAML, apart from !unsafe."""
    keys = {kind: " ".join((home / f"host-{kind}.pub").read_text().split()[:2]) for kind in ("ed25519", "rsa", "ecdsa")}
    everyone = "".join(
        f"[{host}]:{port} {keys[kind]}\n"
        for name, port in ports.items()
        for host in ("127.0.0.1", "localhost")
        for kind in SERVERS.get(name, (("ed25519",), ()))[0]
    )
    (home / "pinned-all").write_text(everyone)
    hosts = {each.name: _variables(each, home, ports[each.server], keys) for each in TABLE}
    text = json.dumps({"all": {"hosts": hosts}}, indent=1)
    return text.replace('"!unsafe"', f'!unsafe "{USER}"')


def _variables(each: Situation, home: Path, port: int, keys: dict[str, str]) -> dict[str, Any]:
    proxy = f"ssh -F {home}/config -W %h:%p gate"
    values: dict[str, Any] = {
        "ansible_host": "127.0.0.1",
        "ansible_port": "{port}",
        "ansible_user": USER,
        "ansible_python_interpreter": sys.executable,
        KEY: "{home}/ed25519",
        **each.variables,
    }
    pinned = home / "pinned-all"
    if (kind := values.pop("pinned", None)) is not None:
        pinned = home / f"pinned-{each.name}"
        pinned.write_bytes(_known_hosts(kind, port, keys, home))
        if kind == "hashed":
            keygen("-H", "-f", pinned)
    filled = {
        name: value.format(home=home, port=port, proxy=proxy) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }
    if "UserKnownHostsFile" not in filled.get(COMMON, ""):
        filled[COMMON] = f"-o UserKnownHostsFile={pinned} {filled.get(COMMON, '')}".strip()
    if "-F " not in filled[COMMON]:
        filled[COMMON] += " -F none"
    return filled if "toolkit_known_hosts" in values else filled | {"toolkit_known_hosts": str(pinned)}


def _known_hosts(kind: str, port: int, keys: dict[str, str], home: Path) -> bytes:
    place, own = f"[127.0.0.1]:{port}", keys["ed25519"]
    other = " ".join((home / "unrelated.pub").read_text().split()[:2])
    authority = " ".join((home / "ca.pub").read_text().split()[:2])
    lines = {
        "empty": "",
        "changed": f"{place} {other}\n",
        "revoked": f"@revoked * {own}\n{place} {own}\n",
        "authority": f"@cert-authority {place} {authority}\n@cert-authority 127.0.0.1 {authority}\n",
        "wildcard": f"[127.0.0.?]:{port} {own}\n",
        "hashed": f"{place} {own}\n",
        "negated": f"!127.0.0.1,!{place},*:{port} {own}\n",
        "bom": f"\ufeff# pinned by hand\n{place} {own}\n",
        "rsa-and-ecdsa": f"{place} {keys['rsa']}\n{place} {keys['ecdsa']}\n",
        "rsa": f"{place} {keys['rsa']}\n",
        "alias": f"kitchen {own}\n",
    }
    return lines[kind].encode()
