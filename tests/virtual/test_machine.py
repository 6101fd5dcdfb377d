"""QEMU's words, and what is said of a machine that is not there. The tier `pi` boots real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import MachineError
from toolkit.virtual.disk_image import Disk
from toolkit.virtual.machine import (
    Machine,
    MachineSize,
    free_ports,
    is_running,
    qemu_arguments,
    send_command,
    stop,
    wait_for_ssh,
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (port,) = free_ports(1)
    return Machine("virtual-1", tmp_path, port)


def test_arguments_bind_ssh_to_loopback_and_share_the_kernel(machine: Machine, tmp_path: Path) -> None:
    command = qemu_arguments(
        machine, Disk(tmp_path / "disk"), MachineSize(cpus=3, memory_mib=700), ("tcg", "cortex-a72")
    )
    options = dict(zip(command[::2], command[1::2], strict=False))
    assert options["-netdev"] == f"user,id=net,hostfwd=tcp:127.0.0.1:{machine.port}-:22"
    assert (options["-smp"], options["-m"], options["-cpu"]) == ("3", "700", "cortex-a72")
    assert options["-kernel"] == str(tmp_path / "disk/vmlinuz")
    assert "systemd.mask=apt-daily.timer" in options["-append"]


def test_machine_that_never_ran_is_not_running(machine: Machine) -> None:
    machine.control.write_text("left from a crash")
    assert not is_running(machine)
    assert not stop(machine)
    assert send_command(machine, "query-status") is None


def test_wait_for_ssh_includes_the_last_console_lines(machine: Machine) -> None:
    machine.console.write_text("booting\nno root\npanic\n")
    with pytest.raises(MachineError, match="virtual-1 did not start: booting; no root; panic"):
        wait_for_ssh(machine)


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(5))) == 5
