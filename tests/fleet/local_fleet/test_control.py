from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from toolkit.artifacts.fleet import Device
from toolkit.errors import MachineError, UsageError
from toolkit.fleet import connect
from toolkit.fleet.local_fleet import control
from toolkit.fleet.ssh.fabric_shell import SshShell
from toolkit.workspace import Workspace


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workspace]:
    """A fleet of the test's own, in a folder with a space; down when the test ends."""
    workspace = Workspace(tmp_path / "work space")
    yield workspace
    control.down(workspace)


@pytest.mark.slow
def test_up_does_nothing_when_running_and_keeps_ports_and_keys(own: Workspace) -> None:
    first = control.up(own, 2)
    assert first.started
    process = _server(own)
    again = control.up(own)
    assert (again.started, again.devices, _server(own)) == (False, first.devices, process)
    assert control.down(own)
    _wait_for_the_end(process["pid"])
    assert not control.down(own)
    third = control.up(own, 3)
    assert (third.started, third.devices[:2], len(third.devices)) == (True, first.devices, 3)
    with connect(third.devices[0]) as shell:
        assert shell.run("pwd").stdout.strip() == str(own.root / "fleet/devices/local-1")


@pytest.mark.slow
def test_up_takes_another_port_when_the_old_one_is_taken(own: Workspace) -> None:
    (device,) = control.up(own, 1).devices
    control.down(own)
    with socket.create_server(("127.0.0.1", device.port)):
        (moved,) = control.up(own, 1).devices
        assert moved.port != device.port
        with connect(moved) as shell:
            assert shell.run("true").code == 0


@pytest.mark.slow
def test_up_installs_allowed_signers_on_its_devices(own: Workspace, tmp_path: Path) -> None:
    control.up(own, 2)
    signers = tmp_path / "signers"
    signers.write_text("ci@example.org ssh-ed25519 AAAA\n")
    fleet = control.up(own, allowed_signers=signers)
    assert not fleet.started
    assert {(Path(device.root) / "allowed_signers").read_text() for device in fleet.devices} == {signers.read_text()}
    with pytest.raises(UsageError, match="nowhere: cannot be read"):
        control.up(own, allowed_signers=tmp_path / "nowhere")


def test_up_says_what_its_log_says_when_it_cannot_start(own: Workspace) -> None:
    (own.folder("fleet") / "keys").write_text("in the way")
    with pytest.raises(MachineError, match=r"the local fleet did not start: .*keys"):
        control.up(own, 1)


def test_down_ends_nothing_when_the_pid_file_is_stale(own: Workspace) -> None:
    (own.folder("fleet") / "server.pid").write_text(json.dumps({"pid": os.getpid(), "count": 3}))
    assert not control.down(own)


def test_login_key_is_for_its_owner_alone(local_fleet: control.LocalFleet) -> None:
    keys = local_fleet.inventory.parent / "keys"
    private = [path for path in keys.iterdir() if path.suffix != ".pub"]
    assert len(private) == 4
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in private)


def test_commands_have_a_clean_environment_in_the_devices_folder(local_fleet: control.LocalFleet) -> None:
    device = local_fleet.devices[1]
    with connect(device) as shell:
        names = shell.run("env | cut -d = -f 1 | sort | tr '\\n' ' '").stdout.split()
        home = shell.run('echo "$HOME"').stdout.strip()
    assert set(names) - {"PWD", "OLDPWD", "SHLVL", "_"} == {"HOME", "LANG", "PATH", "SHELL", "USER"}
    assert home == str(local_fleet.inventory.parent / "devices" / device.name)


@pytest.mark.slow
def test_a_command_is_ended_when_its_connection_drops(local_fleet: control.LocalFleet) -> None:
    shell = SshShell(local_fleet.devices[0])
    with shell.background("echo $$; trap '' HUP; sleep 120 & wait; sleep 120") as pid:
        assert Path(f"/proc/{pid}").exists()
        shell.close()
        _wait_for_the_end(int(pid))


def test_sftp_sees_absolute_paths_of_the_device_and_no_others(local_fleet: control.LocalFleet) -> None:
    import paramiko

    device = local_fleet.devices[2]
    home = local_fleet.inventory.parent / "devices" / device.name
    (home / "door").symlink_to("/etc")
    transport = paramiko.Transport((device.host, device.port))
    transport.connect(username="anyone", pkey=paramiko.Ed25519Key.from_private_key_file(str(device.key_file)))
    with transport:
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        with sftp.open("relative", "w") as stream:
            stream.write("hello")
        with sftp.open(str(home / "relative")) as stream:
            assert stream.read() == b"hello"
        for path in ("/etc/hostname", "../local-1/x", f"{home}/door/hostname"):
            with pytest.raises(PermissionError):
                sftp.open(path)


def test_a_signal_that_the_client_sends_reaches_the_command(local_fleet: control.LocalFleet) -> None:
    import asyncio

    device = local_fleet.devices[0]
    assert asyncio.run(_interrupt(device)) == ("caught\n", 9)


async def _interrupt(device: Device) -> tuple[str, int | None]:
    options = {"username": "toolkit", "client_keys": [device.key_file], "known_hosts": device.known_hosts}
    async with asyncssh.connect(device.host, device.port, **options) as connection:
        process = await connection.create_process("trap 'echo caught; exit 9' INT; echo ready; read line; sleep 60")
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("INT")
        done = await process.wait()
        return str(done.stdout), done.exit_status


def _server(workspace: Workspace) -> dict[str, int]:
    state: dict[str, int] = json.loads((workspace.root / "fleet/server.pid").read_text())
    return state


def _wait_for_the_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while _state(pid) != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _state(pid: int) -> str:
    """Its state as /proc shows it; "Z" also for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
