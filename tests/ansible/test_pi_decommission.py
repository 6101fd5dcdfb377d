"""Key rotation and decommissioning on a booted arm64 machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import Pi, Play, changed, connected

pytestmark = [pytest.mark.pi, pytest.mark.timeout(1200)]


def test_host_key_changes_and_the_new_one_is_pinned(play: Play, provisioned: Pi) -> None:
    known_hosts = Path(str(provisioned.device.known_hosts))
    before = known_hosts.read_text()
    assert (
        changed(
            play("-i", provisioned.inventory, "rotate-keys.yml", "-e", "rotate_host_keys=true", "--check", "--diff")
        )
        == 1
    )
    assert known_hosts.read_text() == before
    assert changed(play("-i", provisioned.inventory, "rotate-keys.yml", "-e", "rotate_host_keys=true")) > 0
    after = known_hosts.read_text()
    assert len(after.splitlines()) == len(before.splitlines())
    assert after != before
    assert connected(provisioned.device).run("true").rc == 0


def test_login_key_changes_and_the_old_one_is_refused(play: Play, provisioned: Pi, tmp_path: Path) -> None:
    old = f"{provisioned.device.key_file}.pub"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "new"], check=True)
    argv = ("rotate-keys.yml", "-e", f"rotate_login_key={tmp_path}/new", "-e", f"rotate_old_key={old}")
    done = play("-i", provisioned.inventory, *argv)
    assert changed(done) == 2
    assert "Set the new key in the inventory" in done.stdout
    with pytest.raises(RuntimeError, match="Permission denied"):
        connected(provisioned.device).run("true")
    described = yaml.safe_load(provisioned.inventory.read_text())
    described["virtual"]["vars"]["ansible_ssh_private_key_file"] = str(tmp_path / "new")
    ours = tmp_path / "fleet.yml"
    ours.write_text(yaml.safe_dump(described))
    back = ("-e", f"rotate_login_key={provisioned.device.key_file}", "-e", f"rotate_old_key={tmp_path}/new.pub")
    assert changed(play("-i", ours, "rotate-keys.yml", *back)) == 2  # over the new key; the old one had been removed


def test_decommission_is_refused_until_it_is_confirmed(play: Play, provisioned: Pi) -> None:
    done = play("-i", provisioned.inventory, "decommission.yml")
    assert done.returncode == 2
    assert "This removes every release from virtual-1" in " ".join(done.stdout.split())
    assert provisioned.host.file("/opt/toolkit/venv").exists


def test_decommission_removes_everything_and_is_idempotent(play: Play, provisioned: Pi) -> None:
    assert changed(play("-i", provisioned.inventory, "decommission.yml", "--check", "--diff")) > 0
    argv = ("decommission.yml", "-e", "decommission_confirmed=true")
    assert changed(play("-i", provisioned.inventory, *argv)) > 0
    assert not provisioned.host.file("/opt/toolkit").exists
    assert not provisioned.host.user("toolkit").exists
    assert provisioned.sh("systemctl list-unit-files --no-legend 'toolkit-*' || true") == ""
    assert provisioned.sh("systemctl --failed --no-legend") == ""
    left = provisioned.sh("find /etc /opt /usr/local /var/lib /var/log -name '*toolkit*'").splitlines()
    assert set(left) == {"/etc/apt/apt.conf.d/52toolkit-updates", "/etc/ssh/sshd_config.d/10-toolkit.conf"}
    assert changed(play("-i", provisioned.inventory, *argv)) == 0
