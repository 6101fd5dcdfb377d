from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncssh
import pytest

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet import LocalShell, Shell, connect
from toolkit.fleet.ssh.fabric_shell import LEAST_WINDOW_BYTES, SshShell, _window_bytes


@pytest.fixture(params=["ssh", "openssh", "local"])
def shell(request: pytest.FixtureRequest) -> Shell:
    """Both forms keep the same promises."""
    form: Shell = request.getfixturevalue(f"{request.param}_shell")
    return form


def test_run_gives_output_and_code_when_words_need_quoting(shell: Shell) -> None:
    result = shell.run(["printf", "%s|", "a b", "it's", "$HOME", "ü"])
    assert (result.stdout, result.stderr, result.code) == ("a b|it's|$HOME|ü|", "", 0)


def test_run_keeps_both_streams_and_the_code_when_a_script_fails(shell: Shell) -> None:
    result = shell.run("echo out; echo err >&2; exit 7")
    assert (result.stdout, result.stderr, result.code) == ("out\n", "err\n", 7)
    with pytest.raises(FleetError, match=rf"{shell.device.name}: trying failed \(exit code 7\): err"):
        result.check(shell.device, "trying")


def test_run_streams_stdin_when_it_is_large(shell: Shell) -> None:
    content = os.urandom(5_000_000)
    pieces = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
    output = shell.run("sha256sum; head -c 3000000 /dev/zero", stdin=pieces).stdout
    assert output.startswith(hashlib.sha256(content).hexdigest())
    assert output.count("\0") == 3_000_000


def test_run_does_not_wait_when_stdin_is_left_unread(ssh_shell: Shell) -> None:
    assert ssh_shell.run("exit 3", stdin=bytes(20_000_000)).code == 3


def test_run_gives_minus_one_when_a_signal_ends_the_command(shell: Shell) -> None:
    assert shell.run("kill -9 $$").code == -1


def test_run_raises_the_callers_error_when_its_input_fails(ssh_shell: Shell) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk here is gone")

    with pytest.raises(OSError, match="the disk here is gone"):
        ssh_shell.run("cat; sleep 20", stdin=broken())


@pytest.mark.slow
def test_run_gives_up_and_ends_the_command_when_time_is_up(shell: Shell, tmp_path: Path) -> None:
    since = time.monotonic()
    with pytest.raises(FleetError, match=r"no answer within 2 s"):
        shell.run(["sh", "-c", f"echo $$ > '{tmp_path}/pid'; exec sleep 60"], timeout=2)
    assert time.monotonic() - since < 30
    _wait_for(lambda: not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists())
    assert shell.run("echo still there").stdout == "still there\n"


def test_put_writes_a_file_whole_when_its_name_has_spaces(shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(200_000))
    shell.put(source, f"{tmp_path}/a file")
    shell.put(b"bytes", f"{tmp_path}/another")
    assert (tmp_path / "a file").read_bytes() == source.read_bytes()
    assert (tmp_path / "another").read_bytes() == b"bytes"
    with pytest.raises(FleetError, match="writing /nowhere/file failed"):
        shell.put(b"", "/nowhere/file")


def test_background_waits_for_the_end_when_the_block_fails(shell: Shell, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="meanwhile"),
        shell.background(f"echo here; cat > /dev/null; sleep 0.5; echo gone > '{tmp_path}/gone'"),
    ):
        raise ValueError("meanwhile")
    assert (tmp_path / "gone").exists()


def test_hold_keeps_the_command_until_the_block_ends(shell: Shell, tmp_path: Path) -> None:
    with shell.background(f"echo here; cat > /dev/null; echo gone > '{tmp_path}/gone'") as output:
        assert output == "here"
        assert shell.run("echo beside it").stdout == "beside it\n"
        assert not (tmp_path / "gone").exists()
    assert (tmp_path / "gone").exists()


def test_run_says_that_the_connection_was_lost_when_it_was(devices: tuple[Device, ...]) -> None:
    shell = SshShell(devices[0])
    threading.Timer(0.3, shell.close).start()
    with pytest.raises(FleetError, match=r"local-1: (the connection was lost|.*hung up)"):
        shell.run("sleep 20")


def test_connect_names_device_and_remedy_when_the_port_is_closed(devices: tuple[Device, ...]) -> None:
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        _refused(replace(devices[0], port=spare.getsockname()[1]), "refuses connections", "toolkit fleet up")


def test_connect_explains_when_the_name_is_unknown(devices: tuple[Device, ...]) -> None:
    _refused(replace(devices[0], host="no-such-host.invalid"), "cannot be resolved", "ansible_host")


def test_connect_explains_when_nobody_answers(devices: tuple[Device, ...]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as busy, ExitStack() as waiting:
        for _ in range(3):  # its queue is full: what comes after that is dropped, as by a device that is switched off
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(busy.getsockname())
        silent = replace(devices[0], port=busy.getsockname()[1], connect_timeout_s=1)
        _refused(silent, "does not answer", "switched on")


def test_connect_explains_when_it_is_no_ssh_server(devices: tuple[Device, ...]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=_hang_up_on_one, args=(server,), daemon=True).start()
        _refused(replace(devices[0], port=server.getsockname()[1]), "no SSH server answers|hung up", "")


def test_connect_refuses_a_changed_host_key_with_a_remedy(devices: tuple[Device, ...], tmp_path: Path) -> None:
    pinned = _known_hosts(tmp_path, devices[0], asyncssh.generate_private_key("ssh-ed25519"))
    _refused(pinned, "is not the pinned one: another machine answers, which shows SHA256:", "ssh-keygen -f .* -R")


def test_connect_refuses_an_unknown_host_key_with_a_remedy(devices: tuple[Device, ...], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    _refused(replace(devices[0], known_hosts=str(tmp_path / "empty")), "unknown hosts are refused", "ssh-keyscan")


def test_connect_explains_when_the_key_is_refused(devices: tuple[Device, ...], tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(stranger)
    _refused(replace(devices[0], key_file=str(stranger)), "login as toolkit with .*stranger was refused", "authorized")


def test_connect_explains_when_a_file_of_ours_is_missing(devices: tuple[Device, ...]) -> None:
    _refused(replace(devices[0], key_file="/no/key"), "cannot read /no/key", "ansible_ssh_private_key_file")
    _refused(replace(devices[0], known_hosts="/no/hosts"), "cannot read /no/hosts", "toolkit_known_hosts")


def _hang_up_on_one(server: socket.socket) -> None:
    caller, _ = server.accept()
    caller.close()


def _refused(device: Device, what: str, remedy: str) -> None:
    with pytest.raises(FleetError) as caught, connect(device):
        pass
    (problem,) = caught.value.problems
    assert problem.where == device.name
    assert re.search(what, problem.what), problem.what
    assert re.search(remedy, problem.remedy), problem.remedy


def _known_hosts(folder: Path, device: Device, key: Any) -> Device:
    path = folder / "known_hosts"
    kind, digits, *_ = key.export_public_key().decode().split()
    path.write_text(f"[{device.host}]:{device.port} {kind} {digits}\n")
    return replace(device, known_hosts=str(path))


def _wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_local_shell_starts_in_the_devices_root_when_it_is_there(local_device: Device) -> None:
    Path(local_device.root).mkdir(parents=True)
    assert LocalShell(local_device).run(["pwd"]).stdout.strip() == local_device.root


@pytest.mark.parametrize(
    ("server", "expected"), [("SSH-2.0-OpenSSH_10.0", LEAST_WINDOW_BYTES), ("SSH-2.0-AsyncSSH_2.21.0", None)]
)
def test_window_is_limited_for_openssh_alone(server: str, expected: int | None) -> None:
    """Others may ask for more only after a large part of what they allow, and would wait forever."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as near:
        assert _window_bytes(cast("Any", SimpleNamespace(sock=near, remote_version=server))) == expected


def test_window_is_the_servers_without_a_round_trip() -> None:
    near, far = socket.socketpair()
    with near, far:
        for connected in (near, object()):
            through = SimpleNamespace(sock=connected, remote_version="SSH-2.0-OpenSSH_10.0")
            assert _window_bytes(cast("Any", through)) is None


def test_converse_sends_blocks_between_lines(shell: Shell) -> None:
    content = os.urandom(5 << 20)
    blocks = [b"3\n", *(content[start : start + 100_000] for start in range(0, len(content), 100_000))]
    script = f"read a; echo got $a; read b; head -c {len(content)} | sha256sum; read c; echo got $c"
    with shell.converse(["/bin/bash", "-c", script]) as ask:
        assert ask(b"1", 60) == "got 1\n"
        assert ask(blocks, 60).split()[0] == hashlib.sha256(content).hexdigest()
        assert ask(b"2", 60) == "got 2\n"


def test_converse_raises_the_callers_error_when_its_blocks_fail(shell: Shell) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk here is gone")

    with pytest.raises(OSError, match="the disk here is gone"), shell.converse("cat; sleep 20") as ask:
        ask(broken(), 60)
