"""What goes wrong while a release travels; each test's marker is a row of docs/reliability.md."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy import REQUIRED_GATES, RolloutResult, deploy, plan_rollout
from toolkit.deploy.gates.gate import Gate, IntegrityGate
from toolkit.fleet.local_fleet import control
from toolkit.workspace import Workspace

from .wire import Wire, wired

Devices = tuple[Device, ...]


class Aftermath(Protocol):
    def hold(
        self, devices: Devices, old: Path | None, new: Path, message: object, heal: Callable[[], object]
    ) -> None: ...


@dataclass(frozen=True)
class Scene:
    """A device that serves `old`, and the release that is to come."""

    device: Device
    old: Path
    new: Path
    gates: Sequence[Gate] = REQUIRED_GATES

    def deploy(self, device: Device | None = None, **more: object) -> RolloutResult:
        return deploy(self.new, (replace(device or self.device, variables=more),), gates=self.gates)

    def heal(self) -> None:
        assert not self.deploy().failed


@pytest.fixture
def scene(devices: Devices, bundle: Path, make_bundle: Callable[..., Path]) -> Scene:
    assert not deploy(bundle, devices[:1]).failed
    return Scene(devices[0], bundle, make_bundle("new", bias=0.5, padding_bytes=1_000_000))


@pytest.fixture
def wire(scene: Scene, tmp_path: Path) -> Iterator[Wire]:
    with wired(scene.device, tmp_path) as wire:
        yield wire


def why(result: RolloutResult) -> str:
    (problem,) = result.failed.values()
    return problem.what


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(
    "the connection is cut, at every tenth of the transfer",
    serves="old",
    reports="connection was lost|hung up|SSH failed",
)
def test_deploy_goes_on_when_it_was_cut_at_any_tenth(
    scene: Scene, wire: Wire, make_bundle: Callable[..., Path], aftermath: Aftermath
) -> None:
    scene = replace(scene, gates=(IntegrityGate(),))
    assert not scene.deploy(wire.device).failed
    whole, old, sent = wire.passed, scene.new, []
    wire.bytes_per_s = 1_000_000  # or all of it were on its way before the device looks at any
    for tenth in range(1, 10):
        part = replace(scene, old=old, new=make_bundle(f"cut-{tenth}", bias=tenth / 10, padding_bytes=1_000_000))
        wire.passed, wire.cut_at = 0, whole * tenth // 10
        message = why(part.deploy(wire.device))

        def heal(part: Scene = part) -> None:
            (healed,) = part.deploy().ok.values()
            sent.append(healed.sent_bytes)

        aftermath.hold((scene.device,), part.old, part.new, message, heal)
        old = part.new
    assert sent[0] > 1_000_000 > sent[-1], "what had come is not sent again"
    assert sent == sorted(sent, reverse=True)


@pytest.mark.slow
@pytest.mark.fault("a bit flips on the way", serves="old", reports="connection was lost|hung up|SSH failed|damaged")
def test_deploy_refuses_what_was_changed_on_the_way(scene: Scene, wire: Wire, aftermath: Aftermath) -> None:
    wire.flip_at = 600_000
    aftermath.hold((scene.device,), scene.old, scene.new, why(scene.deploy(wire.device)), scene.heal)


@pytest.mark.slow
@pytest.mark.fault("the device is reached at 10 kB/s", serves="new", reports="deployed")
def test_deploy_ends_when_the_line_is_slow(
    devices: Devices, bundle: Path, other_bundle: Path, tmp_path: Path, aftermath: Aftermath
) -> None:
    deploy(bundle, devices[:1])
    scene = Scene(devices[0], bundle, other_bundle)
    with wired(devices[0], tmp_path) as wire:
        wire.bytes_per_s = 10_000
        (done,) = scene.deploy(wire.device).ok.values()
    aftermath.hold(devices[:1], scene.old, scene.new, done.outcome, scene.heal)


@pytest.mark.slow
@pytest.mark.fault(
    "a file in the device's store was corrupted, which the old release shares", serves="new", reports="store/"
)
def test_deploy_sends_a_corrupted_file_again(
    devices: Devices, bundle: Path, make_bundle: Callable[..., Path], aftermath: Aftermath
) -> None:
    deploy(bundle, devices[:1])
    new = make_bundle("same images", padding_bytes=1000)
    path = Path(devices[0].root) / "current/golden/inputs.npy"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    scene = Scene(devices[0], bundle, new)
    (plan,) = plan_rollout(new, devices[:1]).ok.values()
    assert not scene.deploy().failed
    aftermath.hold(devices[:1], scene.old, scene.new, plan.damaged, scene.heal)


class Disk:
    """A small file system of the device's own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "toolkit-test", root], check=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self._root], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self._root], check=True)


@pytest.fixture
def disk(devices: Devices) -> Iterator[Disk]:
    disk = Disk(Path(devices[0].root))
    yield disk
    disk.close()


@pytest.fixture
def cramped(disk: Disk, devices: Devices, bundle: Path, make_bundle: Callable[..., Path]) -> Scene:
    device = replace(devices[0], variables={"toolkit_reserve_bytes": 0})
    assert not deploy(bundle, (device,)).failed
    return Scene(device, bundle, make_bundle("new", bias=0.5, padding_bytes=8_000_000))


@pytest.mark.root
@pytest.mark.fault("there is too little room on the device", serves="old", reports="no room: 8.* MB to send")
def test_deploy_sends_nothing_when_there_is_no_room(cramped: Scene, disk: Disk, aftermath: Aftermath) -> None:
    message = why(cramped.deploy(toolkit_reserve_bytes=0))
    assert not list(Path(cramped.device.root).glob("store/*.part"))
    aftermath.hold((cramped.device,), cramped.old, cramped.new, message, lambda: healed(cramped, disk, "size=64m"))


@pytest.mark.root
@pytest.mark.fault("the disk becomes full during the transfer", serves="old", reports="No space left on device")
def test_deploy_keeps_the_old_release_when_the_disk_becomes_full(
    cramped: Scene, disk: Disk, aftermath: Aftermath
) -> None:
    message = why(cramped.deploy(toolkit_reserve_bytes=-(1 << 40)))
    aftermath.hold((cramped.device,), cramped.old, cramped.new, message, lambda: healed(cramped, disk, "size=64m"))


@pytest.mark.root
@pytest.mark.fault("the device runs out of inodes", serves="old", reports="no room: .* free inodes")
def test_deploy_sends_nothing_when_there_are_no_inodes(cramped: Scene, disk: Disk, aftermath: Aftermath) -> None:
    seen = os.statvfs(cramped.device.root)
    disk.remount(f"size=64m,nr_inodes={seen.f_files - seen.f_ffree + 5}")
    message = why(cramped.deploy(toolkit_reserve_bytes=0))
    aftermath.hold(
        (cramped.device,), cramped.old, cramped.new, message, lambda: healed(cramped, disk, "nr_inodes=100k")
    )


@pytest.mark.root
@pytest.mark.fault("the file system is read-only", serves="old", reports="cannot be written: .* read-only")
def test_deploy_keeps_the_old_release_when_the_disk_is_read_only(
    cramped: Scene, disk: Disk, aftermath: Aftermath
) -> None:
    disk.remount("ro,size=64m")
    message = why(cramped.deploy(toolkit_reserve_bytes=0))
    aftermath.hold((cramped.device,), cramped.old, cramped.new, message, lambda: healed(cramped, disk, "rw,size=64m"))


def healed(scene: Scene, disk: Disk, options: str) -> None:
    disk.remount(options)
    assert not scene.deploy(toolkit_reserve_bytes=0).failed


class Machine:
    """A device of its own whose power can be cut: every process of it is killed at once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        (self.device,) = control.up(workspace, 1).devices
        self.root = Path(self.device.root)

    def cut_power(self) -> None:
        pid_file = self._workspace.root / "fleet/server.pid"
        server = json.loads(pid_file.read_text())["pid"]
        for pid in (server, *self._children()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with pid_file.open() as lock:  # a busy machine takes a while to end what was killed
            fcntl.flock(lock, fcntl.LOCK_SH)

    def _children(self) -> Iterator[int]:
        """Whatever a login has started: its HOME is the device's folder."""
        home = f"HOME={self.root.parents[1]}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if home in path.read_bytes().split(b"\0"):
                    yield int(path.parent.name)

    def cut_power_when(self, sign: Callable[[], bool]) -> threading.Thread:
        """From a thread of its own, as soon as there is a sign."""

        def watch() -> None:
            while not sign():
                time.sleep(0.0005)
            self.cut_power()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread

    def start(self) -> None:
        """Up again: locks that are there are from before its last start."""
        for boot in self.root.glob("*.lock/boot"):
            boot.write_text("before the cut\n")
        control.up(self._workspace, 1)

    def stop(self) -> None:
        control.down(self._workspace)


@pytest.fixture
def machine(workspace: Workspace, bundle: Path) -> Iterator[Machine]:
    machine = Machine(workspace)
    try:
        assert not deploy(bundle, (machine.device,)).failed
        yield machine
    finally:
        machine.stop()


def cut_and_healed(
    machine: Machine, old: Path, new: Path, aftermath: Aftermath, sign: Callable[[], bool]
) -> RolloutResult:
    scene = Scene(machine.device, old, new)
    thread = machine.cut_power_when(sign)
    result = scene.deploy()
    thread.join(60)

    def heal() -> None:
        machine.start()
        scene.heal()

    aftermath.hold((machine.device,), old, new, [why(result)] if result.failed else ["done"], heal)
    return result


@pytest.mark.slow
@pytest.mark.fault(
    "the power is cut during the transfer", serves="old", reports="connection was lost|hung up|SSH failed"
)
def test_deploy_heals_when_the_power_was_cut_during_the_transfer(
    machine: Machine, bundle: Path, make_bundle: Callable[..., Path], aftermath: Aftermath
) -> None:
    new = make_bundle("new", padding_bytes=60_000_000)
    cut_and_healed(machine, bundle, new, aftermath, lambda: any(machine.root.glob("store/*.part")))


@pytest.mark.slow
@pytest.mark.fault(
    "the power is cut at the switch", serves="old or new", reports="lost|hung up|SSH failed|refuses|done"
)
def test_deploy_heals_when_the_power_was_cut_at_the_switch(
    machine: Machine, bundle: Path, other_bundle: Path, aftermath: Aftermath
) -> None:
    names = (".previous.new", "previous", ".current.new")
    sign = lambda: any((machine.root / name).is_symlink() for name in names)  # noqa: E731
    cut_and_healed(machine, bundle, other_bundle, aftermath, sign)


@pytest.mark.slow
@pytest.mark.fault(
    "the power is cut right after the switch", serves="old or new", reports="lost|hung up|SSH failed|refuses|done"
)
def test_deploy_heals_when_the_power_was_cut_after_the_switch(
    machine: Machine, bundle: Path, other_bundle: Path, aftermath: Aftermath
) -> None:
    current = machine.root / "current"
    old = current.readlink()
    cut_and_healed(machine, bundle, other_bundle, aftermath, lambda: current.is_symlink() and current.readlink() != old)
