from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from toolkit.cli.output import print_json
from toolkit.errors import ConfigurationError
from toolkit.fleet import load_inventory
from toolkit.fleet.inventory.ansible import ansible_command
from toolkit.fleet.inventory.load import find_inventory
from toolkit.workspace import Workspace

pytestmark = pytest.mark.slow

INVENTORY = """
all:
  vars: {ansible_user: pi, toolkit_root: /srv/toolkit}
  children:
    lab:
      vars: {ansible_user: lab}
      children:
        bench:
          hosts:
            pi-1: {ansible_host: 10.0.0.1, ansible_port: 2222, toolkit_accelerator: MYRIAD}
            pi-2: {ansible_user: own, toolkit_known_hosts: keys/known}
    shop:
      hosts:
        till-1: {ansible_ssh_private_key_file: /keys/till}
        pi-2: {}
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inventory") / "fleet.yml"
    path.write_text(INVENTORY)
    return path


def test_load_inventory_applies_ansibles_precedence(inventory: Path) -> None:
    one, two, till = load_inventory(inventory)
    assert (one.name, one.host, one.port, one.user, one.root) == ("pi-1", "10.0.0.1", 2222, "lab", "/srv/toolkit")
    assert (one.accelerator, one.groups, one.known_hosts) == ("MYRIAD", ("bench", "lab"), None)
    assert (two.host, two.port, two.user, two.groups) == ("pi-2", 22, "own", ("bench", "lab", "shop"))
    assert two.known_hosts == str(inventory.parent / "keys" / "known")
    assert (till.user, till.key_file, till.python) == ("pi", "/keys/till", "/opt/toolkit/venv/bin/python")


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        ("till-*", ["till-1"]),
        ("lab:!pi-1", ["pi-2"]),
        ("lab:&shop", ["pi-2"]),
        ("pi-1,till-1", ["pi-1", "till-1"]),
    ],
)
def test_load_inventory_limits_as_ansible_does(inventory: Path, limit: str, names: list[str]) -> None:
    assert [device.name for device in load_inventory(inventory, limit)] == names


def test_load_inventory_names_the_devices_when_none_matches(inventory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no device matches --limit 'nobody'(.|\n)*pi-1, pi-2, till-1"):
        load_inventory(inventory, "nobody")


def test_load_inventory_explains_a_broken_or_missing_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("all: [")
    with pytest.raises(ConfigurationError, match=r"broken\.yml: Ansible cannot read it: .*YAML parsing failed"):
        load_inventory(broken)
    with pytest.raises(ConfigurationError, match=r"missing\.yml: no such inventory"):
        load_inventory(tmp_path / "missing.yml")


def test_load_inventory_names_every_invalid_value(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text(
        "all: {hosts: {a: {ansible_port: ssh, toolkit_accelerator: GPU},"
        " b: {toolkit_root: here, toolkit_python: '{{ python }}'}}}"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_inventory(path)
    whats = " | ".join(str(problem) for problem in caught.value.problems)
    assert len(caught.value.problems) == 4
    template = f"{path}: b: toolkit_python cannot be read: 'python' is undefined"
    for part in ("a: ansible_port is 'ssh'", "'GPU'", "toolkit_root is 'here'", template):
        assert part in whats


def test_load_inventory_pins_to_the_known_hosts_beside_it(tmp_path: Path) -> None:
    (tmp_path / "fleet.ini").write_text("[pis]\npi-1\n")
    (tmp_path / "known_hosts").touch()
    (device,) = load_inventory(tmp_path / "fleet.ini")
    assert device.known_hosts == str(tmp_path / "known_hosts")


def test_find_inventory_prefers_the_requested_one(workspace: Workspace, tmp_path: Path) -> None:
    own, chosen = workspace.folder("fleet") / "inventory.yml", tmp_path / "mine.yml"
    own.touch()
    chosen.touch()
    assert find_inventory(chosen, workspace) == chosen
    assert find_inventory(None, workspace) == own
    with pytest.raises(ConfigurationError, match="toolkit fleet up"):
        find_inventory(tmp_path / "typo.yml", workspace)


@pytest.fixture
def vaulted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory with vaults in each of the places where Ansible looks, and templates over them."""
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    (tmp_path / "password").write_text("open sesame\n")
    folder = tmp_path / "inventory"
    for name in ("group_vars", "host_vars"):
        (folder / name).mkdir(parents=True)
    (folder / "fleet.yml").write_text(
        "all: {vars: {toolkit_root: '{{ base }}/toolkit', base: /all, toolkit_known_hosts: '{{ inventory_dir }}/known_hosts'},"
        " children: {lab: {vars: {ansible_user: lab}, hosts: {a: {}, b: {base: /of-b}}}}}"
    )
    (folder / "group_vars/lab.yml").write_text("ansible_user: group\nbase: /lab\n")
    secret = encrypted(tmp_path, "encrypt_string", "--name", "toolkit_password", "from the host")
    (folder / "host_vars/a.yml").write_text(f"{secret}\nansible_user: host\n")
    (folder / "group_vars/all.yml").write_text("toolkit_password: from all\ntoolkit_python: /usr/bin/python3\n")
    encrypted(tmp_path, "encrypt", str(folder / "group_vars/all.yml"))
    return folder / "fleet.yml"


def encrypted(folder: Path, *argv: str) -> str:
    command = [*ansible_command("vault"), *argv[:1], "--vault-password-file", str(folder / "password"), *argv[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def test_load_inventory_resolves_vaults_and_templates(
    vaulted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    a, b = load_inventory(vaulted)
    assert (a.user, a.root, a.variables["toolkit_password"]) == ("host", "/lab/toolkit", "from the host")
    assert (b.user, b.root, b.variables["toolkit_password"]) == ("group", "/of-b/toolkit", "from all")
    assert (a.python, a.known_hosts) == ("/usr/bin/python3", str(vaulted.parent / "known_hosts"))
    print_json(a)
    assert "from the host" not in capsys.readouterr().out


def test_load_inventory_finds_the_vault_password_by_ansible_cfg(vaulted: Path, tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\nvault_password_file = {tmp_path}/password\n")
    assert [device.root for device in load_inventory(vaulted)] == ["/lab/toolkit", "/of-b/toolkit"]


def test_load_inventory_says_what_to_name_when_a_vault_is_closed(vaulted: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)fleet\.yml: Ansible cannot read it: .*vault secrets"):
        load_inventory(vaulted)
    (vaulted.parent / "group_vars/all.yml").unlink()
    with pytest.raises(
        ConfigurationError, match=r"(?s)a: .*toolkit_password.* cannot be read: .*ANSIBLE_VAULT_PASSWORD_FILE"
    ):
        load_inventory(vaulted)


def test_load_inventory_takes_the_example_as_it_stands() -> None:
    example = Path(__file__).parents[3] / "ansible/inventory/example.yml"
    kitchen, gate = load_inventory(example)
    assert (kitchen.groups, gate.groups) == (("pi4",), ("pi5",))
    assert kitchen.known_hosts == str(example.parent / "known_hosts")
