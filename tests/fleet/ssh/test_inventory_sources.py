"""Where an inventory and its settings can come from: each is asked by Ansible and by the toolkit, in the same folder."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from toolkit import fleet
from toolkit.errors import ToolkitError
from toolkit.fleet.inventory.ansible import ansible_command
from toolkit.fleet.inventory.load import load_inventory

from .servers import PASSWORD, USER, home_of_keys, password_server, sshd, write_programs

pytestmark = pytest.mark.openssh

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Source:
    """The files of a project, and where Ansible and the toolkit are called."""

    name: str
    files: dict[str, str]
    """{home} is the folder of keys, {port} the plain server's, {password_port} that of the server that asks for passwords."""
    inventory: str = "hosts.yml"
    environment: dict[str, str] = field(default_factory=dict)
    cwd: str = "."
    executable: str = ""
    """A file to make executable."""
    refused: str = ""
    """What the toolkit says; empty where both reach it."""


ARGS = "-F none -o UserKnownHostsFile={home}/pinned"
KEY = "{home}/ed25519"
LOGIN = f"remote_user = {USER}\nremote_port = {{port}}\nprivate_key_file = {KEY}\n"
SSH = f"[ssh_connection]\nssh_common_args = {ARGS}\n"
CFG = f"[defaults]\n{LOGIN}{SSH}"
HOSTS = '{{"all": {{"hosts": {{"pi": {{"ansible_host": "127.0.0.1"}}}}}}}}'
VARS = f"ansible_user: {USER}\nansible_port: {{port}}\nansible_ssh_private_key_file: {KEY}\nansible_ssh_common_args: {ARGS}\n"
PI = '{{"ansible_host": "127.0.0.1"}}'
SCRIPT = (
    "#!/bin/sh\necho '"
    f'{{{{"lab": {{{{"hosts": ["pi"]}}}}, "_meta": {{{{"hostvars": {{{{"pi": {{{{"ansible_host": "127.0.0.1", '
    f'"ansible_port": {{port}}, "ansible_user": "{USER}", "ansible_ssh_private_key_file": "{KEY}", '
    f'"ansible_ssh_common_args": "{ARGS}"}}}}}}}}}}}}}}}}'
    "'\n"
)
CONSTRUCTED = (
    "plugin: ansible.builtin.constructed\nstrict: true\ncompose:\n"
    f"  ansible_port: base_port | int + 1\n  ansible_user: \"'{USER}'\"\n"
    "groups:\n  lab: inventory_hostname == 'pi'\n"
)
PASSWORDS = f"[defaults]\nremote_user = pi\nremote_port = {{password_port}}\nconnection_password_file = secret\n{SSH}"
SOURCES = [
    Source("ansible-cfg-here", {"hosts.yml": HOSTS, "ansible.cfg": CFG}),
    Source(
        "ansible-cfg-here-goes-first",
        {"inventory/hosts.yml": HOSTS, "ansible.cfg": CFG, "inventory/ansible.cfg": "[defaults]\nremote_port = 1\n"},
        "inventory/hosts.yml",
    ),
    Source("ansible-cfg-named", {"hosts.yml": HOSTS, "own/my.cfg": CFG}, environment={"ANSIBLE_CONFIG": "own/my.cfg"}),
    Source(
        "key-beside-ansible-cfg",
        {"hosts.yml": HOSTS, "ansible.cfg": CFG.replace(KEY, "keys/pi"), "keys/pi": "<key>"},
    ),
    Source(
        "quoted-ansible-cfg",
        {"hosts.yml": HOSTS, "ansible.cfg": CFG.replace(ARGS, f'"{ARGS}"')},
    ),
    Source(
        "environment",
        {"hosts.yml": HOSTS},
        environment={
            "ANSIBLE_REMOTE_USER": USER,
            "ANSIBLE_REMOTE_PORT": "{port}",
            "ANSIBLE_PRIVATE_KEY_FILE": KEY,
            "ANSIBLE_SSH_COMMON_ARGS": ARGS,
        },
    ),
    Source("group-vars-beside-it", {"hosts.yml": HOSTS, "group_vars/all.yml": VARS}),
    Source("host-vars-in-a-folder", {"hosts.yml": HOSTS, "host_vars/pi/main.yml": VARS}),
    Source(
        "group-vars-beside-playbooks",
        {"inventory/hosts.yml": HOSTS, "group_vars/all.yml": VARS, "site.yml": "[]"},
        "inventory/hosts.yml",
    ),
    Source("ini", {"hosts.ini": f"[lab]\npi ansible_host=127.0.0.1\n[lab:vars]\n{VARS.replace(': ', '=')}"}, "hosts.ini"),
    Source("folder", {"inv/1.yml": HOSTS, "inv/2.ini": "[lab]\npi\n", "inv/group_vars/lab.yml": VARS}, "inv"),
    Source("script", {"hosts": SCRIPT}, "hosts", executable="hosts"),
    Source(
        "constructed",
        {
            "inv/1.yml": HOSTS.replace(PI, '{{"ansible_host": "127.0.0.1", "base_port": "{below}"}}'),
            "inv/2.constructed.yml": CONSTRUCTED,
            "inv/group_vars/lab.yml": f"ansible_ssh_private_key_file: {KEY}\nansible_ssh_common_args: {ARGS}\n",
        },
        "inv",
    ),
    Source("host-on-the-command-line", {"ansible.cfg": CFG}, "127.0.0.1,"),
    Source("transport-local", {"hosts.yml": HOSTS, "ansible.cfg": "[defaults]\ntransport = local\n"}),
    Source(
        "own-ssh-program",
        {"hosts.yml": HOSTS, "ansible.cfg": f"{CFG}ssh_executable = {{home}}/own-ssh\n"},
    ),
    Source(
        "no-such-ssh-program",
        {"hosts.yml": HOSTS, "ansible.cfg": f"{CFG}ssh_executable = /no/such/ssh\n"},
        refused="the program /no/such/ssh is not installed",
    ),
    Source("timeout", {"hosts.yml": HOSTS, "ansible.cfg": CFG.replace("[defaults]", "[defaults]\ntimeout = 5")}),
    Source("password-file", {"hosts.yml": HOSTS, "ansible.cfg": PASSWORDS, "secret": f"{PASSWORD}\n"}),
    Source(
        "password-program",
        {"hosts.yml": HOSTS, "ansible.cfg": PASSWORDS, "secret": f"#!/bin/sh\necho '{PASSWORD}'\n"},
        executable="secret",
    ),
    Source(
        "password-file-missing",
        {"hosts.yml": HOSTS, "ansible.cfg": PASSWORDS},
        refused="the password file cannot be read: No such file or directory",
    ),
    Source(
        "key-in-the-inventory",
        {"hosts.yml": HOSTS, "group_vars/all.yml": f"{VARS}ansible_ssh_private_key: <key>\n"},
        refused="ansible_ssh_private_key is set, which the toolkit cannot follow",
    ),
    Source(
        "other-connection",
        {"hosts.yml": HOSTS, "group_vars/all.yml": "ansible_connection: community.docker.docker\n"},
        refused="ansible_connection is 'docker', which the toolkit cannot use",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The servers and their keys."""

    home: Path
    port: int
    password_port: int

    def fill(self, text: str) -> str:
        return text.format(home=self.home, port=self.port, below=self.port - 1, password_port=self.password_port)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        home = stack.enter_context(home_of_keys("sources"))
        write_programs(home)
        port = stack.enter_context(sshd(home, "plain", ("ed25519",), ()))
        password_port = stack.enter_context(password_server(home))
        key = " ".join((home / "host-ed25519.pub").read_text().split()[:2])
        (home / "pinned").write_text("".join(f"[127.0.0.1]:{each} {key}\n" for each in (port, password_port)))
        yield Place(home, port, password_port)


@pytest.fixture
def project(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Path]:
    def write(source: Source) -> Path:
        for name, text in source.files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text((place.home / "ed25519").read_text() if text == "<key>" else place.fill(text))
            file.chmod(0o755 if name == source.executable else 0o600)
        for name in ("ANSIBLE_CONFIG", "SSH_AUTH_SOCK", "ANSIBLE_INVENTORY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        for name, value in source.environment.items():
            monkeypatch.setenv(name, place.fill(value))
        monkeypatch.chdir(tmp_path / source.cwd)
        return Path(source.inventory)

    return write


def ping(inventory: Path) -> str:
    """What Ansible prints."""
    settings = {
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
        "ANSIBLE_SSH_PASSWORD_MECHANISM": "ssh_askpass",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    command = [*ansible_command("adhoc"), "-i", str(inventory), "all", "-m", "ping"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | settings, stdin=-3)
    return done.stdout + done.stderr


def reach(inventory: Path) -> str:
    """What the toolkit says that it cannot do; empty if it reaches the device."""
    try:
        (device,) = load_inventory(inventory)
        with fleet.connect(device) as shell:
            assert shell.run(["echo", "it's"]).stdout == "it's\n"
    except ToolkitError as error:
        return "; ".join(problem.what for problem in error.problems)
    return ""


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_ansible_and_the_toolkit_read_alike(project: Callable[[Source], Path], source: Source) -> None:
    inventory = project(source)
    problem = reach(inventory)
    output = ping(inventory)
    assert ("SUCCESS" in output) == (not source.refused), output
    assert bool(re.search(source.refused, problem)) if source.refused else not problem, problem


def test_own_ssh_program_is_the_one_that_connects(place: Place, project: Callable[[Source], Path]) -> None:
    inventory = project(next(source for source in SOURCES if source.name == "own-ssh-program"))
    (place.home / "own-ssh.log").unlink(missing_ok=True)
    (device,) = load_inventory(inventory)
    with fleet.connect(device) as shell:
        assert shell.transport == f"openssh: the inventory names the program {place.home}/own-ssh"
    assert "127.0.0.1" in (place.home / "own-ssh.log").read_text()


def test_probe_asks_for_the_password_on_a_terminal(place: Place, project: Callable[[Source], Path]) -> None:
    source = Source(
        "prompt", {"hosts.yml": HOSTS, "ansible.cfg": PASSWORDS.replace("connection_password_file = secret\n", "")}
    )
    inventory = project(source)
    assert "was refused" in reach(inventory)
    output = typed(
        PASSWORD, "fleet", "exec", "--ask-pass", "-i", str(inventory), "--fleet", "--json", "--", "echo", "it's"
    )
    assert "SSH password: " in output
    assert PASSWORD not in output
    assert json.loads(output[output.index("{") :])["devices"][0]["stdout"] == "it's\n", output


def typed(password: str, *argv: str) -> str:
    """Output of a command of the toolkit on a terminal of its own, at which somebody types the password."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(BIN / "toolkit", ["toolkit", *argv])
    output, answered = b"", False
    while True:
        try:
            output += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not answered and b"password: " in output:
            os.write(terminal, f"{password}\n".encode())
            answered = True
    os.waitpid(child, 0)
    return output.decode().replace("\r\n", "\n")
