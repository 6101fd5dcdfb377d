"""What is written down of virtual devices. The tier `pi` starts real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import MachineError
from toolkit.fleet import load_inventory
from toolkit.fleet.ssh.keys import make_key
from toolkit.virtual import devices
from toolkit.virtual.seed import Seed
from toolkit.workspace import Workspace


def test_inventory_pins_host_keys_before_the_first_boot(tmp_path: Path) -> None:
    folder = tmp_path / "work space" / "virtual"
    folder.mkdir(parents=True)
    make_key(folder / "keys" / "client")
    machines = devices._machines(folder, 2)
    devices._describe(folder, machines)
    one, two = load_inventory(folder / "inventory.yml")
    assert (one.name, one.host, one.user, one.groups) == ("virtual-1", "127.0.0.1", "pi", ("virtual",))
    assert one.key_file == str(folder / "keys" / "client")
    pinned = Path(str(two.known_hosts)).read_text().splitlines()
    assert [line.split()[0] for line in pinned] == [f"[127.0.0.1]:{one.port}", f"[127.0.0.1]:{two.port}"]
    assert devices._machines(folder, 3)[:2] == machines


def test_describe_keeps_the_changed_key_of_a_device_that_ran(tmp_path: Path) -> None:
    make_key(tmp_path / "keys" / "client")
    machines = devices._machines(tmp_path, 3)
    devices._describe(tmp_path, machines)
    second = machines[1]
    second.folder.mkdir(parents=True)
    second.disk.touch()
    changed = f"[127.0.0.1]:{second.port} ssh-ed25519 CHANGED"
    known_hosts = tmp_path / "known_hosts"
    first, _, third = known_hosts.read_text().splitlines()
    known_hosts.write_text(f"{first}\n{changed}\n{third}\n")
    devices._describe(tmp_path, machines[:1])
    assert known_hosts.read_text().splitlines() == [first, changed, third]
    second.disk.unlink()
    devices._describe(tmp_path, machines)
    assert changed not in known_hosts.read_text()


def test_seed_holds_one_devices_own_and_is_closed_to_others() -> None:
    content = Seed("kitchen", "PRIVATE", "PUBLIC\n", ("ssh-ed25519 AAAA you", "ssh-ed25519 BBBB me")).archive()
    for text in (b"kitchen\n", b"PRIVATE", b"ssh-ed25519 AAAA you\nssh-ed25519 BBBB me\n", b"attach"):
        assert text in content
    assert content != Seed("kitchen", "PRIVATE", "PUBLIC\n", ()).archive()


def test_down_and_machine_say_so_when_there_is_none(workspace: Workspace) -> None:
    assert devices.down(workspace, remove=True) == ()
    with pytest.raises(MachineError, match="there is no virtual device virtual-7"):
        devices.machine(workspace, "virtual-7")
