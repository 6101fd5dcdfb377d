"""Situations in which a device is reached by SSH, or refused: each is asked by Ansible and by the toolkit, in one run of either.

All servers are OpenSSH's, each with a configuration of its own, except for passwords: those need an account that has one, so
a server of asyncssh answers there.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.fleet import load_inventory
from toolkit.fleet.inventory.ansible import ansible_command
from toolkit.fleet.local_fleet.session import run_command

pytestmark = pytest.mark.openssh

USER = getpass.getuser()
PASSWORD = "correct horse"
SSHD = """
ListenAddress 127.0.0.1
AuthorizedKeysFile {home}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
LogLevel ERROR
MaxStartups 200
"""
SERVERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": (("ed25519",), ()),
    "three-keys": (("ed25519", "rsa", "ecdsa"), ()),
    "ed25519-and-rsa": (("ed25519", "rsa"), ()),
    "one-session": (("ed25519",), ("MaxSessions 1",)),
    "chacha": (("ed25519",), ("KexAlgorithms curve25519-sha256", "Ciphers chacha20-poly1305@openssh.com")),
    "no-forwarding": (("ed25519",), ("DisableForwarding yes",)),
    "few-tries": (("ed25519",), ("MaxAuthTries 2",)),
    "no-keys": (("ed25519",), ("PubkeyAuthentication no",)),
    "noisy": (("ed25519",), ("""ForceCommand echo hello from .bashrc; eval "$SSH_ORIGINAL_COMMAND\"""",)),
    "certified": (("ed25519",), ("HostCertificate {home}/host-ed25519-cert.pub",)),
    "trusts-ca": (("ed25519",), ("TrustedUserCAKeys {home}/ca.pub", "AuthorizedKeysFile none")),
}
"""Host keys and further settings of each server."""


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
    home = Path("/tmp") / f"toolkit-situations-{os.getpid()}"
    home.mkdir(0o700)
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        _make_keys(home)
        ports = {name: stack.enter_context(_sshd(home, name, *server)) for name, server in SERVERS.items()}
        ports["password"] = stack.enter_context(_password_server(home))
        for name, keys in (("agent", ["locked"]), ("full-agent", ["stranger", "other", "third", "ed25519"])):
            stack.enter_context(_agent(home, name, keys))
        stack.enter_context(_agent(home, "user-agent", ["ed25519"]))
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


def _make_keys(home: Path) -> None:
    for name, kind in (("ed25519", "ed25519"), ("ecdsa", "ecdsa"), ("rsa", "rsa"), ("certified", "ed25519")):
        _keygen("-t", kind, "-N", "", "-f", home / name)
    for name in ("stranger", "other", "third", "ca", "unrelated"):
        _keygen("-t", "ed25519", "-N", "", "-f", home / name)
    _keygen("-t", "rsa", "-m", "PEM", "-N", "", "-f", home / "pem")
    _keygen("-t", "ed25519", "-N", "", "-f", home / "locked")
    shutil.copy(home / "locked", home / "unlocked")
    _keygen("-p", "-P", "", "-N", "a passphrase", "-f", home / "locked")
    for kind in ("ed25519", "rsa", "ecdsa"):
        _keygen("-t", kind, "-N", "", "-f", home / f"host-{kind}")
    _keygen("-s", home / "ca", "-I", "user", "-n", USER, home / "certified.pub")
    _keygen("-s", home / "ca", "-I", "host", "-h", "-n", "127.0.0.1", home / "host-ed25519.pub")
    names = ("ed25519", "ecdsa", "rsa", "pem", "locked")
    (home / "authorized").write_text("".join((home / f"{name}.pub").read_text() for name in names))


def _keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def _sshd(home: Path, name: str, host_keys: tuple[str, ...], settings: tuple[str, ...]) -> Iterator[int]:
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.fail("no sshd: apt-get install openssh-server")
    port = _free_port()
    own = [setting.format(home=home) for setting in settings]  # of a setting that is given twice, sshd takes the first
    keys = [f"HostKey {home}/host-{kind}" for kind in host_keys]
    (home / f"sshd-{name}").write_text("\n".join([f"Port {port}", *own, *keys, SSHD.format(home=home)]))
    with subprocess.Popen([program, "-D", "-e", "-f", home / f"sshd-{name}"], stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for_port(port)
            yield port
        finally:
            process.terminate()


@contextmanager
def _password_server(home: Path) -> Iterator[int]:
    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return password == PASSWORD

    loop, port = asyncio.new_event_loop(), _free_port()
    options: dict[str, Any] = {"server_host_keys": [str(home / "host-ed25519")], "encoding": None}
    server = loop.run_until_complete(
        asyncssh.listen(
            "127.0.0.1",
            port,
            server_factory=Server,
            process_factory=lambda process: run_command(process, home),
            **options,
        )
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@contextmanager
def _agent(home: Path, name: str, keys: list[str]) -> Iterator[None]:
    with subprocess.Popen(["ssh-agent", "-D", "-a", home / name], stdout=subprocess.DEVNULL) as process:
        try:
            environment = os.environ | {"SSH_AUTH_SOCK": str(home / name)}
            while subprocess.run(["ssh-add", "-l"], env=environment, check=False, capture_output=True).returncode == 2:
                time.sleep(0.02)  # 2: no agent answers yet; its socket is there before it listens
            for key in keys:
                file = home / ("unlocked" if key == "locked" else key)
                subprocess.run(["ssh-add", "-q", file], env=environment, check=True, capture_output=True)
            yield
        finally:
            process.terminate()


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
            _keygen("-H", "-f", pinned)
    filled = {
        name: value.format(home=home, port=port, proxy=proxy) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }
    filled[COMMON] = f"-o UserKnownHostsFile={pinned} {filled.get(COMMON, '')}".strip()
    if "-F " not in filled[COMMON]:
        filled[COMMON] += " -F none"
    return filled | {"toolkit_known_hosts": str(pinned)}


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
        "bom": f"\ufeff# pinned by hand\n{place} {own}\n",
        "rsa-and-ecdsa": f"{place} {keys['rsa']}\n{place} {keys['ecdsa']}\n",
        "rsa": f"{place} {keys['rsa']}\n",
        "alias": f"kitchen {own}\n",
    }
    return lines[kind].encode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as spare:
        return int(spare.getsockname()[1])


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
