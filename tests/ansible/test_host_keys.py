"""record-host-keys.yml against OpenSSH servers on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..fleet.ssh.servers import free_port, home_of_keys, sshd
from .conftest import Play, changed

pytestmark = pytest.mark.openssh


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with home_of_keys("host-keys") as home:
        yield home


def test_keys_are_pinned_and_a_missing_device_is_named(play: Play, home: Path, tmp_path: Path) -> None:
    """Beside the inventory where it names no file; hosts by their older variables too."""
    inventory, closed = tmp_path / "hosts.yml", free_port()
    with sshd(home, "plain", ("ed25519",), ()) as port, sshd(home, "rsa", ("rsa",), ()) as rsa_port:
        hosts = {
            "new": {"ansible_host": "127.0.0.1", "ansible_port": port},
            "older": {"ansible_ssh_host": "127.0.0.1", "ansible_ssh_port": port},
            "rsa": {"ansible_host": "127.0.0.1", "ansible_port": rsa_port},
            "off": {"ansible_host": "127.0.0.1", "ansible_port": closed},
        }
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        done = play("-i", inventory, "record-host-keys.yml")
        output = " ".join(done.stdout.split())
        assert done.returncode == 2, output
        assert "ok: [new]" in output
        key = " ".join((home / "host-ed25519.pub").read_text().split()[:2])
        assert (tmp_path / "known_hosts").read_text() == f"[127.0.0.1]:{port} {key}\n"
        for where in (closed, rsa_port):
            assert f"[127.0.0.1]:{where} presents no ed25519 host key" in output
        assert "off : ok=1 changed=0" in output
        assert "Traceback" not in output
        assert changed(play("-i", inventory, "record-host-keys.yml", "--limit", "new,older")) == 0
