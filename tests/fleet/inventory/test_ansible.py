"""What lies beside an inventory counts as it does for Ansible."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.fleet import load_inventory

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of playbooks with an inventory of one host in the folder below it."""
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/fleet.ini").write_text("[lab]\none ansible_host=10.0.0.1\n")
    return tmp_path


def test_group_vars_beside_the_playbooks_count(project: Path) -> None:
    (project / "group_vars").mkdir()
    (project / "group_vars/lab.yml").write_text("ansible_port: 2222\ntoolkit_root: /srv/toolkit\n")
    (device,) = load_inventory(project / "inventory/fleet.ini")
    assert (device.host, device.port, device.root) == ("10.0.0.1", 2222, "/srv/toolkit")


def test_ansible_cfg_beside_the_playbooks_counts(project: Path) -> None:
    (project / "ansible.cfg").write_text("[defaults]\nremote_user = anna\nprivate_key_file = /keys/anna\n")
    (device,) = load_inventory(project / "inventory/fleet.ini")
    assert (device.user, device.key_file) == ("anna", "/keys/anna")


def test_list_of_hosts_is_an_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    assert [device.host for device in load_inventory(Path("10.0.0.1,10.0.0.2,"))] == ["10.0.0.1", "10.0.0.2"]
