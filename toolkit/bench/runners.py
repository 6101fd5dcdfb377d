"""Where the device code runs: on a device over SSH, or here as a process of its own. One interface.

Both keep the far side's stdin open for as long as they want the run: when it ends, because this process is stopped or
dies, or the cable is cut, the device code stops by itself.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import toolkit
from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.bench.plan import BenchSpec, Step, words
from toolkit.bench.targets import ImageSet, Prepared
from toolkit.bundle.release import with_container_image
from toolkit.errors import FleetError
from toolkit.fleet import Result, Shell, device_command
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.fleet.transfer import staging
from toolkit.fleet.transfer.tree import FileTree
from toolkit.workspace import Workspace

SLOWEST_QUERY_S = 10.0
"""A large network on a small device; what takes longer hangs."""
ANSWER_S = 20.0
"""What takes longer to answer nothing at all is gone."""
START_S = 600.0
"""A Neural Compute Stick takes minutes to load a large network."""


class Station(Protocol):
    """One device, ready to measure."""

    def measure(self, step: Step, prepared: Prepared, spec: BenchSpec) -> Result:
        """Run one step to its end."""

    def machine(self) -> str:
        """What tells one running machine from another: devices with the same take turns."""

    def answers(self) -> bool:
        """Whether it is still there."""


def patience_s(spec: BenchSpec, images: int) -> float:
    """How long to wait for one step."""
    return START_S + 4 * spec.seconds + SLOWEST_QUERY_S * max(spec.queries, images)


class RemoteStation:
    """A device over SSH: release and images are staged beside what it serves, which goes on undisturbed."""

    def __init__(self, shell: Shell, device: Device, container_image: ContainerImage | None = None) -> None:
        self._shell, self._device, self._container_image = shell, device, container_image
        self._staged: set[str] = set()

    def measure(self, step: Step, prepared: Prepared, spec: BenchSpec) -> Result:
        """Stage what is missing, then run the device code in the release's folder."""
        tree = self._with_container_image(prepared.release)
        release, images = f"releases/{tree.digest}", f"images/{prepared.images.digest}"
        self._stage(tree, release)
        self._stage(prepared.images.tree, images)
        root = self._device.root
        asked = words(step, spec, ".", f"{root}/{images}", root)
        ended = threading.Event()
        try:
            return self._shell.run(
                device_command.in_runtime(self._device, f"{root}/{release}", *asked, "--stop-on-eof"),
                stdin=_open_until(ended),
                timeout=patience_s(spec, len(prepared.images.tree.files)),
            )
        finally:
            ended.set()

    def machine(self) -> str:
        """The kernel's id of this boot, which containers and embedded devices share with their host."""
        words = ["cat", "/proc/sys/kernel/random/boot_id"]
        return self._shell.run(words).stdout.strip() or self._device.name

    def answers(self) -> bool:
        """Whether the connection still carries a command there and its end back."""
        try:
            return self._shell.run(["true"], timeout=ANSWER_S).code == 0
        except FleetError:
            return False

    def wait_until_idle(self, patience_s: float) -> None:
        """Let a benchmark end that a connection left behind; the next one says so if it has not."""
        lock = shlex.quote(f"{self._device.root}/bench.lock")
        self._shell.run(f"[ ! -e {lock} ] || flock -w {patience_s:.0f} {lock} true", timeout=patience_s + ANSWER_S)

    def _with_container_image(self, release: FileTree) -> FileTree:
        """The release as the device runs it; the container image that it runs in is brought there first."""
        container_image = self._container_image
        if container_image is None:
            return release
        if not self._staged:
            remote.ensure_image(
                self._device, self._shell, container_image, fleet.probe(self._device, self._shell).machine
            )
        return with_container_image(release, container_image.reference)

    def _stage(self, tree: FileTree, destination: str) -> None:
        if destination not in self._staged:
            staging.stage(self._shell, self._device, tree, destination)
            self._staged.add(destination)


def _open_until(ended: threading.Event) -> Iterator[bytes]:
    """An input that has nothing to say and stays open."""
    ended.wait()
    yield from ()


class LocalStation:
    """This machine: the same device code, from the toolkit's own folder, in a process of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def measure(self, step: Step, prepared: Prepared, spec: BenchSpec) -> Result:
        """Run the device code on the bundle where it lies."""
        images = laid_out(prepared.images, self._workspace)
        asked = words(step, spec, str(prepared.folder), str(images), str(self._workspace.folder("bench")))
        command = [sys.executable, "-B", "-m", "toolkit.device", *asked, "--stop-on-eof"]
        return _run(command)

    def machine(self) -> str:
        """There is only this one."""
        return "here"

    def answers(self) -> bool:
        """As this process does."""
        return True


def _run(command: list[str]) -> Result:
    """A process in a session of its own, so that Ctrl-C reaches this one alone, which then stops the other."""
    places = os.pathsep.join(filter(None, (str(Path(toolkit.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": places},
        )
        try:
            with process:
                output = process.stdout.read() if process.stdout else b""
                code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        errors.seek(0)
        return Result(output.decode(), errors.read().decode(errors="replace"), code)


def laid_out(images: ImageSet, workspace: Workspace) -> Path:
    """The set as a folder of links in the workspace, there whole or not at all."""
    folder = workspace.folder("bench", "images") / images.digest
    if folder.exists():
        return folder
    part = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    for name, source in images.sources.items():
        if isinstance(source, bytes):
            (part / name).write_bytes(source)
        else:
            (part / name).symlink_to(source.resolve())
    try:
        part.rename(folder)
    except OSError:  # another process was first
        _remove(part)
    return folder


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
