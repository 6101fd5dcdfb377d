"""OpenSSH servers on loopback, each with a configuration of its own, their keys, and agents."""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from toolkit.fleet.local_fleet.session import run_command
from toolkit.progress import Lines
from toolkit.virtual.tools import get_tools

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
    "tcsh": (("ed25519",), ('ForceCommand exec {home}/tcsh -c "$SSH_ORIGINAL_COMMAND"',)),
    "fish": (("ed25519",), ('ForceCommand exec {home}/fish -c "$SSH_ORIGINAL_COMMAND"',)),
    "trusts-ca": (("ed25519",), ("TrustedUserCAKeys {home}/ca.pub", "AuthorizedKeysFile none")),
}
"""Host keys and further settings of each server."""


@contextmanager
def home_of_keys(name: str) -> Iterator[Path]:
    """A folder with `make_keys`, right below /tmp: paths of sockets are at most 107 bytes long."""
    home = Path("/tmp") / f"toolkit-{name}-{os.getpid()}"
    home.mkdir(0o700)
    try:
        make_keys(home)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)  # an agent or server that still ends may write into it


def make_keys(home: Path) -> None:
    for name, kind in (("ed25519", "ed25519"), ("ecdsa", "ecdsa"), ("rsa", "rsa"), ("certified", "ed25519")):
        keygen("-t", kind, "-N", "", "-f", home / name)
    for name in ("stranger", "other", "third", "ca", "unrelated"):
        keygen("-t", "ed25519", "-N", "", "-f", home / name)
    keygen("-t", "rsa", "-m", "PEM", "-N", "", "-f", home / "pem")
    keygen("-t", "ecdsa", "-m", "PKCS8", "-N", "", "-f", home / "pkcs8")
    keygen("-t", "ed25519", "-N", "", "-f", home / "locked")
    shutil.copy(home / "locked", home / "unlocked")
    keygen("-p", "-P", "", "-N", "a passphrase", "-f", home / "locked")
    for kind in ("ed25519", "rsa", "ecdsa"):
        keygen("-t", kind, "-N", "", "-f", home / f"host-{kind}")
    keygen("-s", home / "ca", "-I", "user", "-n", USER, home / "certified.pub")
    keygen("-s", home / "ca", "-I", "host", "-h", "-n", "127.0.0.1", home / "host-ed25519.pub")
    names = ("ed25519", "ecdsa", "rsa", "pem", "pkcs8", "locked")
    (home / "authorized").write_text("".join((home / f"{name}.pub").read_text() for name in names))


def write_programs(home: Path) -> None:
    """Write the login shells of servers, and a program that passes its arguments to ssh."""
    tools = get_tools(Lines(), ("tcsh", "fish"))
    programs = {"tcsh": tools.command("tcsh"), "fish": tools.command("fish"), "own-ssh": ["ssh"]}
    for name, command in programs.items():
        log = f'echo "$@" >>{home}/{name}.log'
        (home / name).write_text(f'#!/bin/sh\n{log}\nexec {shlex.join(command)} "$@"\n')
        (home / name).chmod(0o755)


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def sshd(home: Path, name: str, host_keys: tuple[str, ...], settings: tuple[str, ...]) -> Iterator[int]:
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("no sshd: apt-get install openssh-server")
    port = free_port()
    own = [setting.format(home=home) for setting in settings]  # of a setting that is given twice, sshd takes the first
    keys = [f"HostKey {home}/host-{kind}" for kind in host_keys]
    (home / f"sshd-{name}").write_text("\n".join([f"Port {port}", *own, *keys, SSHD.format(home=home)]))
    with subprocess.Popen([program, "-D", "-e", "-f", home / f"sshd-{name}"], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield port
        finally:
            process.terminate()


@contextmanager
def password_server(home: Path) -> Iterator[int]:
    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return password == PASSWORD

    loop, port = asyncio.new_event_loop(), free_port()
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
def agent(home: Path, name: str, keys: list[str]) -> Iterator[None]:
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as spare:
        return int(spare.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
