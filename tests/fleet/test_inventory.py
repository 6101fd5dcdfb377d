from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.artifacts import Workspace
from toolkit.errors import ConfigurationError
from toolkit.fleet import load_inventory
from toolkit.fleet.inventory import find_inventory

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


def test_load_inventory_applies_ansibles_precedence_when_groups_nest(inventory: Path) -> None:
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
def test_load_inventory_limits_as_ansible_does_when_given_a_pattern(
    inventory: Path, limit: str, names: list[str]
) -> None:
    assert [device.name for device in load_inventory(inventory, limit)] == names


def test_load_inventory_names_the_devices_when_none_matches(inventory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no device matches --limit 'nobody'(.|\n)*pi-1, pi-2, till-1"):
        load_inventory(inventory, "nobody")


def test_load_inventory_explains_when_the_file_is_broken_or_missing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("all: [")
    with pytest.raises(ConfigurationError, match=r"broken\.yml: Ansible cannot read it: .*YAML parsing failed"):
        load_inventory(broken)
    with pytest.raises(ConfigurationError, match=r"missing\.yml: no such inventory"):
        load_inventory(tmp_path / "missing.yml")


def test_load_inventory_names_every_bad_value_when_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text(
        "all: {hosts: {a: {ansible_port: ssh, toolkit_accelerator: GPU},"
        " b: {toolkit_root: here, toolkit_python: '{{ python }}'}}}"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_inventory(path)
    whats = " | ".join(str(problem) for problem in caught.value.problems)
    assert len(caught.value.problems) == 4
    for part in ("a: ansible_port is 'ssh'", "'GPU'", "toolkit_root is 'here'", "toolkit_python is a template"):
        assert part in whats


def test_load_inventory_pins_to_the_file_beside_it_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "fleet.ini").write_text("[pis]\npi-1\n")
    (tmp_path / "known_hosts").touch()
    (device,) = load_inventory(tmp_path / "fleet.ini")
    assert device.known_hosts == str(tmp_path / "known_hosts")


def test_find_inventory_prefers_the_one_given_then_the_embedded_fleets(workspace: Workspace, tmp_path: Path) -> None:
    own, given = workspace.folder("fleet") / "inventory.yml", tmp_path / "mine.yml"
    own.touch()
    given.touch()
    assert find_inventory(given, workspace) == given
    assert find_inventory(None, workspace) == own
    with pytest.raises(ConfigurationError, match="toolkit fleet up"):
        find_inventory(tmp_path / "typo.yml", workspace)
