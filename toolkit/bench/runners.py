"""Runners of the device code, with one interface: on a device over SSH, or on this machine.

Both keep a worker process (`device bench-worker`) for as long as they measure, so that runs do not wait for Python to start. When
this process ends or the connection is lost, the worker's stdin ends and the worker stops.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

import toolkit
from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.bench.plan import BenchStep
from toolkit.bench.targets import BenchImages, PreparedTarget
from toolkit.bundle.release import with_container_image
from toolkit.device import layout
from toolkit.device.bench.spec import BenchSpec, RunOptions
from toolkit.device.runtime.accelerators import START_TIMEOUT_S
from toolkit.errors import FleetError
from toolkit.fleet import Shell, device_command
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.fleet.ssh.shell import Ask, LocalShell
from toolkit.fleet.transfer import staging
from toolkit.fleet.transfer.tree import FileTree
from toolkit.workspace import Workspace

SLOWEST_QUERY_S = 10.0
"""Timeout of one query: a large network on a small device."""
ANSWER_TIMEOUT_S = 20.0
"""Timeout of an empty command, after which a device counts as lost."""


class Runner(Protocol):
    """One device, ready to measure; close it by a with-block."""

    def measure(self, step: BenchStep, target: PreparedTarget, spec: BenchSpec) -> str:
        """Run one step to its end and return the device's JSON."""

    def machine(self) -> str:
        """An identifier of the running machine: devices that share one are measured one after the other."""

    def is_alive(self) -> bool:
        """Whether the device still answers."""


def run_timeout_s(spec: BenchSpec, images: int) -> float:
    """How long to wait for one step."""
    return START_TIMEOUT_S + 4 * spec.seconds + SLOWEST_QUERY_S * max(spec.queries, images)


class _Worker:
    """The worker process, started by the first request and again after it failed."""

    def __init__(self, start: Callable[[], AbstractContextManager[Ask]]) -> None:
        self._start, self._stack = start, ExitStack()
        self._ask: Ask | None = None

    def ask(self, arguments: list[str], timeout: float) -> str:
        """Perform the run that `arguments` of the device's bench command describe."""
        try:
            if self._ask is None:
                self._ask = self._stack.enter_context(self._start())
            return self._ask(json.dumps(arguments).encode(), timeout)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        self._ask = None
        self._stack.close()


def to_argv(step: BenchStep, spec: BenchSpec, release: str, images: str, root: str) -> list[str]:
    """The arguments of the device's bench command; paths as the device sees them."""
    options = RunOptions(step.scenario, step.accelerator, spec)
    return [release, f"--images={images}", f"--root={root}", *options.to_argv()]


class RemoteRunner:
    """A device over SSH: release and images are staged beside the current release, which keeps running."""

    def __init__(self, shell: Shell, device: Device, container_image: ContainerImage | None = None) -> None:
        self._shell, self._device, self._container_image = shell, device, container_image
        self._staged: set[str] = set()
        self._worker: _Worker | None = None
        self._worker_release = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._worker:
            self._worker.close()

    def measure(self, step: BenchStep, target: PreparedTarget, spec: BenchSpec) -> str:
        """Stage what is missing, then have the worker run the step."""
        tree = self._with_container_image(target.release)
        release, images = layout.release_path(tree.digest), f"{layout.IMAGES}/{target.images.digest}"
        self._stage(tree, release)
        self._stage(target.images.tree, images)
        root = self._device.root
        arguments = to_argv(step, spec, f"{root}/{release}", f"{root}/{images}", root)
        return self._worker_for(release).ask(arguments, run_timeout_s(spec, len(target.images.tree.files)))

    def machine(self) -> str:
        """The kernel's id of this boot, which containers and devices of a local fleet share with their host."""
        command = ["cat", "/proc/sys/kernel/random/boot_id"]
        return self._shell.run(command).stdout.strip() or self._device.name

    def is_alive(self) -> bool:
        """Return whether the connection still runs commands."""
        try:
            return self._shell.run(["true"], timeout=ANSWER_TIMEOUT_S).code == 0
        except FleetError:
            return False

    def wait_until_idle(self, timeout_s: float) -> None:
        """Wait for a benchmark left behind by a lost connection; if it does not end, the next run reports it."""
        lock = shlex.quote(f"{self._device.root}/{layout.BENCH_LOCK}")
        script = f"[ ! -e {lock} ] || flock -w {timeout_s:.0f} {lock} true"
        self._shell.run(script, timeout=timeout_s + ANSWER_TIMEOUT_S)

    def _worker_for(self, release: str) -> _Worker:
        """Return the worker for a release: all releases have the same device code, but a container only sees its own release."""
        if self._worker and (self._container_image is None or release == self._worker_release):
            return self._worker
        if self._worker:
            self._worker.close()
        command = device_command.in_runtime(self._device, f"{self._device.root}/{release}", "bench-worker")
        self._worker, self._worker_release = _Worker(lambda: self._shell.converse(command)), release
        return self._worker

    def _with_container_image(self, release: FileTree) -> FileTree:
        """The release as the device runs it; its container image is sent first."""
        image = self._container_image
        if image is None:
            return release
        if not self._staged:
            remote.ensure_image(self._device, self._shell, image, fleet.probe(self._device, self._shell).machine)
        return with_container_image(release, image.reference)

    def _stage(self, tree: FileTree, destination: str) -> None:
        if destination not in self._staged:
            staging.stage(self._shell, self._device, tree, destination)
            self._staged.add(destination)


class LocalRunner:
    """This machine: the same device code, from the toolkit's own folder."""

    def __init__(self, device: Device, workspace: Workspace) -> None:
        self._workspace, self._root = workspace, workspace.folder("bench")
        paths = os.pathsep.join(filter(None, (str(Path(toolkit.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
        command = ["env", f"PYTHONPATH={paths}", sys.executable, "-B", "-m", "toolkit.device", "bench-worker"]
        shell = LocalShell(replace(device, root=str(self._root.absolute())))
        self._worker = _Worker(lambda: shell.converse(command))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._worker.close()

    def measure(self, step: BenchStep, target: PreparedTarget, spec: BenchSpec) -> str:
        """Have the worker run the step on the bundle in the workspace."""
        images = materialize_images(target.images, self._workspace).absolute()
        arguments = to_argv(step, spec, str(target.folder.absolute()), str(images), str(self._root.absolute()))
        return self._worker.ask(arguments, run_timeout_s(spec, len(target.images.sources)))

    def machine(self) -> str:
        """Return a constant: there is only this machine."""
        return "local"

    def is_alive(self) -> bool:
        """Return True."""
        return True


def materialize_images(images: BenchImages, workspace: Workspace) -> Path:
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
